// LARS over a list of tensors, CPU, float32 and float64; and the schema that CUDA shares.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "lars_formula.h"
#include "lars_tasks.h"

using torch::stable::Tensor;

namespace mflag::lars {
namespace {

using Tensors = std::vector<Tensor>;

template <class T>
void run_step(const Tensors& params, const Tensors& grads, const Tensors& buffers,
              const Tensors& started, const Rule& rule) {
  std::vector<Item<T>> items;
  items.reserve(params.size());
  for (size_t i = 0; i < params.size(); ++i)
    items.push_back({static_cast<T*>(params[i].mutable_data_ptr()),
                     static_cast<const T*>(grads[i].const_data_ptr()),
                     buffers.empty() ? nullptr : static_cast<T*>(buffers[i].mutable_data_ptr()),
                     started.empty() ? nullptr : static_cast<float*>(started[i].mutable_data_ptr()),
                     params[i].numel(), rule.is_plain(params[i].dim()), 0, {}});
  Step<T>(std::move(items), rule).run();
}

// Whether x fills its memory without gaps or overlaps, in whatever order of dimensions.
bool is_dense(const Tensor& x) {
  if (x.is_contiguous()) return true;
  std::vector<std::pair<int64_t, int64_t>> dims;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (x.size(d) > 1) dims.emplace_back(x.stride(d), x.size(d));
  std::sort(dims.begin(), dims.end());
  int64_t filled = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != filled) return false;
    filled *= size;
  }
  return true;
}

// Whether the values of x and w pair up by their order in memory.
bool pairs_with(const Tensor& x, const Tensor& w) {
  if (!x.is_cpu() || x.scalar_type() != w.scalar_type() || x.dim() != w.dim()) return false;
  const auto size = w.sizes(), stride = w.strides(), x_size = x.sizes(), x_stride = x.strides();
  for (size_t d = 0; d < size.size(); ++d)
    if (x_size[d] != size[d] || (size[d] > 1 && x_stride[d] != stride[d])) return false;
  return true;
}

bool is_flag(const Tensor& x) {
  return x.is_cpu() && x.numel() == 1 && x.scalar_type() == torch::headeronly::ScalarType::Float;
}

// Whether a list belongs to n weights; a list that the rule does not need may be left out.
bool has_length(const Tensors& list, size_t n, bool is_needed) {
  return list.size() == n || (list.empty() && !is_needed);
}

bool fits(const Tensors& params, const Tensors& grads, const Tensors& buffers,
          const Tensors& started, const Rule& rule) {
  using torch::headeronly::ScalarType;
  const bool needs_buffers = rule.momentum != 0 || rule.norm == Norm::momentum;
  if (!has_length(grads, params.size(), true) || !has_length(started, params.size(), false) ||
      !has_length(buffers, params.size(), needs_buffers))
    return false;
  const auto dtype = params[0].scalar_type();
  if (dtype != ScalarType::Float && dtype != ScalarType::Double) return false;
  for (size_t i = 0; i < params.size(); ++i) {
    const auto& w = params[i];
    if (!w.is_cpu() || w.scalar_type() != dtype || !is_dense(w)) return false;
    if (!pairs_with(grads[i], w) || (!buffers.empty() && !pairs_with(buffers[i], w))) return false;
    if (!started.empty() && !is_flag(started[i])) return false;
  }
  return true;
}

bool is_number(const std::optional<Tensor>& x) {
  return !x || (x->is_cpu() && x->numel() == 1 &&
                x->scalar_type() == torch::headeronly::ScalarType::Double);
}

double value_or(const std::optional<Tensor>& x, double otherwise) {
  return x ? *static_cast<const double*>(x->const_data_ptr()) : otherwise;
}

// False: tensors that this kernel does not take, also of another device; nothing was written.
bool lars_step_(Tensors params, Tensors grads, Tensors buffers, Tensors started, Tensor lr,
                std::optional<Tensor> grad_scale, std::optional<Tensor> found_inf, double momentum,
                double dampening, double weight_decay, bool nesterov, double trust_coefficient,
                double eps, int64_t norm, bool zero_is_plain, bool trust_clip, bool clip_zero_norm,
                int64_t exclude, bool adapt_without_decay, bool lr_in_momentum, bool maximize) {
  if (params.empty()) return true;
  if (!is_number(lr) || !is_number(grad_scale) || !is_number(found_inf)) return false;
  const double sign = maximize ? -1 : 1;
  const Rule rule{value_or(lr, 0), sign / value_or(grad_scale, 1), momentum, dampening,
                  weight_decay, trust_coefficient, eps, static_cast<Norm>(norm), nesterov,
                  zero_is_plain, trust_clip, clip_zero_norm, adapt_without_decay, lr_in_momentum,
                  exclude};
  if (!fits(params, grads, buffers, started, rule)) return false;
  if (value_or(found_inf, 0) != 0) return true;
  if (params[0].scalar_type() == torch::headeronly::ScalarType::Double)
    run_step<double>(params, grads, buffers, started, rule);
  else
    run_step<float>(params, grads, buffers, started, rule);
  return true;
}

}  // namespace
}  // namespace mflag::lars

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) {
  m.def(
      "lars_step_(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] momentum_buffers,"
      " Tensor(c!)[] started, Tensor lr, Tensor? grad_scale, Tensor? found_inf, float momentum,"
      " float dampening, float weight_decay, bool nesterov, float trust_coefficient, float eps,"
      " int norm, bool zero_is_plain, bool trust_clip, bool clip_zero_norm, int exclude,"
      " bool adapt_without_decay, bool lr_in_momentum, bool maximize) -> bool");
}

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) {
  m.impl("lars_step_", TORCH_BOX(&mflag::lars::lars_step_));
}
