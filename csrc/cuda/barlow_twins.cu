// mflag_native::barlow_twins for CUDA: float32, bfloat16 and float16; loss and gradients float32.
#include <tuple>

#include "barlow_twins_steps.h"
#include "product_device.h"

namespace mflag {
namespace {

std::tuple<Tensor, Tensor, Tensor> run(const Tensor& z_a, const Tensor& z_b, double offdiag_weight, bool need_grad) {
  using torch::headeronly::ScalarType;
  const auto is_batch = [](const Tensor& z) { return z.dim() == 2 && z.numel() > 0 && z.is_contiguous(); };
  STD_TORCH_CHECK(is_batch(z_a) && is_batch(z_b), "barlow_twins: z must be (B, N), contiguous, not empty");
  const bool is_equal = z_a.size(0) == z_b.size(0) && z_a.size(1) == z_b.size(1) && z_a.scalar_type() == z_b.scalar_type() &&
                        z_a.get_device() == z_b.get_device();
  STD_TORCH_CHECK(is_equal, "barlow_twins: the views must have one shape, dtype and device");
  const Type type = type_of(z_a);
  ProductDevice device(z_a);
  const std::array<int64_t, 2> shape{z_a.size(0), z_a.size(1)};
  const auto gradient = [&] { return need_grad ? torch::stable::new_empty(z_a, shape, ScalarType::Float) : device.empty(0, ScalarType::Float); };
  const auto place = [&](const Tensor& gradient) { return need_grad ? static_cast<float*>(gradient.mutable_data_ptr()) : nullptr; };
  Tensor loss = torch::stable::new_empty(z_a, {}, ScalarType::Float), gradient_a = gradient(), gradient_b = gradient();
  barlow_twins::Steps<ProductDevice>(device, offdiag_weight, type, shape[0], shape[1], static_cast<float*>(loss.mutable_data_ptr()),
                                     place(gradient_a), place(gradient_b))
      .run(z_a.const_data_ptr(), z_b.const_data_ptr());
  return {loss, gradient_a, gradient_b};
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CUDA, m) { m.impl("barlow_twins", TORCH_BOX(&mflag::run)); }
