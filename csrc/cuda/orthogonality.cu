// mflag_native::orthogonality for CUDA: float32, bfloat16 and float16, loss and gradient float32.
#include <string>
#include <tuple>

#include "orthogonality_steps.h"
#include "product_device.h"

namespace mflag {
namespace {

using torch::headeronly::ScalarType;

orthogonality::Norm norm_of(const std::string& name) {
  const std::array<const char*, 5> names{"none", "center", "sample", "feature", "standardize"};
  for (size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return static_cast<orthogonality::Norm>(i);
  STD_TORCH_CHECK(false, "orthogonality: there is no norm " + name);
}

std::tuple<Tensor, Tensor> run(const Tensor& z, std::string norm, double scale, double target, double offdiag_weight, double factor,
                               double eps, double diagonal_weight, bool need_grad) {
  STD_TORCH_CHECK(z.dim() == 2 && z.numel() > 0 && z.is_contiguous(), "orthogonality: z must be (B, N), contiguous, not empty");
  const orthogonality::Formula formula{norm_of(norm), scale, target, offdiag_weight, factor, eps, diagonal_weight};
  ProductDevice device(z);
  Tensor loss = torch::stable::new_empty(z, {}, ScalarType::Float);
  const std::array<int64_t, 2> shape{z.size(0), z.size(1)};
  Tensor gradient = need_grad ? torch::stable::new_empty(z, shape, ScalarType::Float) : device.empty(0, ScalarType::Float);
  orthogonality::Steps<ProductDevice>(device, formula, z.const_data_ptr(), type_of(z), shape[0], shape[1],
                                            static_cast<float*>(loss.mutable_data_ptr()),
                                            need_grad ? static_cast<float*>(gradient.mutable_data_ptr()) : nullptr)
      .run();
  return {loss, gradient};
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CUDA, m) { m.impl("orthogonality", TORCH_BOX(&mflag::run)); }
