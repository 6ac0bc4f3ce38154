// LARS over a list of tensors, CPU, float32 and float64; and the schema that CUDA shares.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <utility>
#include <vector>

#include "../shared/lars_lists.h"
#include "lars_formula.h"
#include "lars_tasks.h"

namespace mflag::lars {
namespace {

template <class T>
void run_step(const Lists& lists, const Rule& rule) {
  const auto& [params, grads, buffers, started] = lists;
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

bool fits(const Lists& lists, const Rule& rule) {
  if (!lists.have_lengths(rule.needs_buffers()) || !lists.params[0].is_cpu()) return false;
  const auto dtype = lists.params[0].scalar_type();
  if (dtype != ScalarType::Float && dtype != ScalarType::Double) return false;
  return lists.pair_up({dtype, dtype, dtype});
}

bool is_number(const std::optional<Tensor>& x) {
  return !x || (x->is_cpu() && x->numel() == 1 &&
                x->scalar_type() == ScalarType::Double);
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
  const Lists lists{std::move(params), std::move(grads), std::move(buffers), std::move(started)};
  if (!fits(lists, rule)) return false;
  if (value_or(found_inf, 0) != 0) return true;
  if (lists.params[0].scalar_type() == ScalarType::Double)
    run_step<double>(lists, rule);
  else
    run_step<float>(lists, rule);
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
