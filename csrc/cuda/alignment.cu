// Host side of the alignment loss on CUDA: types, alignment of the rows, one launch.
#include "alignment_kernels.cuh"

#include <algorithm>
#include <optional>
#include <tuple>

#include "launch.h"

namespace mflag {
namespace alignment {
namespace {

using torch::headeronly::ScalarType;

constexpr int64_t max_blocks = 2048;  // fills every GPU; the bits depend on it, not on the GPU

struct Call {
  const Tensor &z_a, &z_t;
  const std::optional<Tensor>& index;
  double factor;
  Tensor &loss, &gradient_a, &gradient_t;
};

bool is_aligned(const Tensor& z, int64_t width) {
  const auto address = reinterpret_cast<uintptr_t>(z.const_data_ptr());
  return z.stride(1) == 1 && z.stride(0) % width == 0 && address % (width * z.element_size()) == 0;
}

template <typename O>
O* place(const Tensor& gradient) {
  return gradient.numel() ? static_cast<O*>(gradient.mutable_data_ptr()) : nullptr;
}

template <typename A, typename T, typename O>
void run(const Call& call) {
  const Tensor &z_a = call.z_a, &z_t = call.z_t;
  Device device(z_a);
  const int64_t rows = z_a.size(0), columns = z_a.size(1), blocks = std::min(rows, max_blocks);
  const Tensor partials = device.empty(blocks, ScalarType::Double);
  const Parameters<A, T, O> p{
      static_cast<const A*>(z_a.const_data_ptr()), z_a.stride(0), z_a.stride(1),
      static_cast<const T*>(z_t.const_data_ptr()), z_t.stride(0), z_t.stride(1),
      call.index ? static_cast<const int64_t*>(call.index->const_data_ptr()) : nullptr,
      call.index ? call.index->stride(0) : 0, z_t.size(0), rows, columns, call.factor,
      static_cast<double*>(partials.mutable_data_ptr()), device.counters(1),
      static_cast<O*>(call.loss.mutable_data_ptr()), place<O>(call.gradient_a), place<O>(call.gradient_t)};
  constexpr int width = 16 / std::max(sizeof(A), sizeof(T));
  const bool is_wide = columns % width == 0 && is_aligned(z_a, width) && is_aligned(z_t, width);
  const int64_t vectors = is_wide ? columns / width : columns;
  const auto threads = static_cast<unsigned>(std::min<int64_t>(max_threads, (vectors + 31) / 32 * 32));
  device.launch(is_wide ? alignment_kernel<width, A, T, O> : alignment_kernel<1, A, T, O>, static_cast<unsigned>(blocks), threads, 0, p);
}

template <typename A, typename O>
void run_for_text(const Call& call) {
  switch (call.z_t.scalar_type()) {
    case ScalarType::Half: return run<A, __half, O>(call);
    case ScalarType::BFloat16: return run<A, __nv_bfloat16, O>(call);
    case ScalarType::Double: return run<A, double, O>(call);
    default: return run<A, float, O>(call);
  }
}

// Shapes and dtypes are checked in Python. The last result is −1: the device itself looks at the index.
std::tuple<Tensor, Tensor, Tensor, int64_t> alignment(const Tensor& z_a, const Tensor& z_t, std::optional<Tensor> index,
                                                      double factor, bool need_grad_a, bool need_grad_t) {
  const auto wide = z_a.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const std::array<int64_t, 2> shape{z_a.size(0), z_a.size(1)};
  const std::array<int64_t, 1> nothing{0};
  const auto empty = [&](bool is_needed) {
    return is_needed ? torch::stable::new_empty(z_a, shape, wide) : torch::stable::new_empty(z_a, nothing, wide);
  };
  Tensor loss = torch::stable::new_empty(z_a, {}, wide), gradient_a = empty(need_grad_a), gradient_t = empty(need_grad_t);
  const Call call{z_a, z_t, index, factor, loss, gradient_a, gradient_t};
  switch (z_a.scalar_type()) {
    case ScalarType::Half: run_for_text<__half, float>(call); break;
    case ScalarType::BFloat16: run_for_text<__nv_bfloat16, float>(call); break;
    case ScalarType::Double: run_for_text<double, double>(call); break;
    default: run_for_text<float, float>(call);
  }
  return {loss, gradient_a, gradient_t, -1};
}

}  // namespace
}  // namespace alignment
}  // namespace mflag

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CUDA, m) { m.impl("alignment", TORCH_BOX(&mflag::alignment::alignment)); }
