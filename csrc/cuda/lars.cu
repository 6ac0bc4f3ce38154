// LARS over a list of tensors, CUDA; the schema stands in ../cpu/lars.cpp.
#include <optional>
#include <utility>
#include <vector>

#include "../shared/lars_lists.h"
#include "lars_kernels.cuh"
#include "launch.h"

namespace mflag::lars {
namespace {

bool is_number(const std::optional<Tensor>& x, const Tensor& w) {
  return !x || (is_beside(*x, w) && x->numel() == 1 &&
                (x->scalar_type() == ScalarType::Float || x->scalar_type() == ScalarType::Double));
}

Scalar scalar(const std::optional<Tensor>& x) {
  if (!x) return {nullptr, false};
  return {x->const_data_ptr(), x->scalar_type() == ScalarType::Double};
}

uint64_t address(const Tensor& x) { return reinterpret_cast<uint64_t>(x.const_data_ptr()); }

std::vector<Row> rows_of(const Lists& lists, const Rule& rule) {
  const auto& [params, grads, buffers, started] = lists;
  std::vector<Row> rows;
  rows.reserve(params.size());
  for (size_t i = 0; i < params.size(); ++i)
    rows.push_back({address(params[i]), address(grads[i]), buffers.empty() ? 0 : address(buffers[i]),
                    started.empty() ? 0 : address(started[i]), params[i].numel(), rule.is_plain(params[i].dim())});
  return rows;
}

template <typename W, typename G, typename M>
void launch_norms(const Device& device, const Arguments& args) {
  if (args.rule.norm == Norm::separate) device.launch(norms_kernel<W, G, M, Norm::separate>, args.chunks, THREADS, 0, args);
  if (args.rule.norm == Norm::decayed) device.launch(norms_kernel<W, G, M, Norm::decayed>, args.chunks, THREADS, 0, args);
  if (args.rule.norm == Norm::momentum) device.launch(norms_kernel<W, G, M, Norm::momentum>, args.chunks, THREADS, 0, args);
}

// Two launches for the tensors that fit into an argument, and so on.
template <typename W, typename G, typename M>
void run_step(const Lists& lists, Arguments& args) {
  Device device(lists.params[0]);
  const std::vector<Row> rows = rows_of(lists, args.rule);
  const int64_t most = most_tensors(args.has_started);
  int64_t chunks = 0;
  for (const Row& row : rows) chunks += row.chunks();
  Workspace workspace;
  const int64_t partials = workspace.take<Sums>(chunks);
  const int64_t coefficients = workspace.take<Coefficients>(most);
  workspace.allocate(device);
  args.partials = workspace.at<Sums>(partials);
  args.coefficients = workspace.at<Coefficients>(coefficients);
  args.counters = device.counters(most);
  for (size_t begin = 0; begin < rows.size();) {
    begin = take_tensors(args, rows.data(), rows.size(), begin);
    launch_norms<W, G, M>(device, args);
    device.launch(update_kernel<W, G, M>, args.chunks, THREADS, 0, args);
  }
}

using Run = void (*)(const Lists&, Arguments&);

// Null: dtypes without a kernel.
Run kernel_for(const Dtypes& dtypes) {
  constexpr auto f32 = ScalarType::Float, bf16 = ScalarType::BFloat16, f16 = ScalarType::Half;
  if (dtypes == Dtypes{f32, f32, f32}) return run_step<float, float, float>;
  if (dtypes == Dtypes{bf16, bf16, bf16}) return run_step<__nv_bfloat16, __nv_bfloat16, __nv_bfloat16>;
  if (dtypes == Dtypes{bf16, bf16, f32}) return run_step<__nv_bfloat16, __nv_bfloat16, float>;
  if (dtypes == Dtypes{f16, f16, f16}) return run_step<__half, __half, __half>;
  if (dtypes == Dtypes{f16, f16, f32}) return run_step<__half, __half, float>;
  return nullptr;
}

// False: tensors that these kernels do not take; nothing was written.
bool lars_step_(Tensors params, Tensors grads, Tensors buffers, Tensors started, Tensor lr,
                std::optional<Tensor> grad_scale, std::optional<Tensor> found_inf, double momentum,
                double dampening, double weight_decay, bool nesterov, double trust_coefficient,
                double eps, int64_t norm, bool zero_is_plain, bool trust_clip, bool clip_zero_norm,
                int64_t exclude, bool adapt_without_decay, bool lr_in_momentum, bool maximize) {
  if (params.empty()) return true;
  const Lists lists{std::move(params), std::move(grads), std::move(buffers), std::move(started)};
  Arguments args{};
  args.rule = {0, 0, momentum, dampening, weight_decay, trust_coefficient, eps,
               static_cast<Norm>(norm), nesterov, zero_is_plain, trust_clip, clip_zero_norm,
               adapt_without_decay, lr_in_momentum, exclude};
  const auto& w = lists.params[0];
  if (!w.is_cuda() || !lists.have_lengths(args.rule.needs_buffers())) return false;
  if (!is_number(lr, w) || !is_number(grad_scale, w) || !is_number(found_inf, w)) return false;
  const Dtypes dtypes = lists.first_dtypes();
  const Run run = kernel_for(dtypes);
  if (run == nullptr || !lists.pair_up(dtypes)) return false;
  args.lr = scalar(lr);
  args.grad_scale = scalar(grad_scale);
  args.found_inf = scalar(found_inf);
  args.is_negated = maximize;
  args.has_momentum = !lists.buffers.empty();
  args.has_started = !lists.started.empty();
  run(lists, args);
  return true;
}

}  // namespace
}  // namespace mflag::lars

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CUDA, m) {
  m.impl("lars_step_", TORCH_BOX(&mflag::lars::lars_step_));
}
