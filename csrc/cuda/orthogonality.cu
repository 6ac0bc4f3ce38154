// mflag_native::orthogonality for CUDA: float32, bfloat16 and float16, loss and gradient float32.
#include <string>
#include <tuple>

#include "launch.h"
#include "orthogonality_steps.h"

namespace mflag {
namespace {

using orthogonality::Matrix;
using torch::headeronly::ScalarType;

class OrthogonalityDevice : public Device {
 public:
  explicit OrthogonalityDevice(const Tensor& z) : Device(z), index_(z.get_device()) {}

  void* memory(int64_t bytes) {
    memory_ = empty(bytes, ScalarType::Byte);
    return memory_.mutable_data_ptr();
  }

  // From here on a quarter of K fills a GPU with tiles of 128 x 64 or smaller. Not yet measured.
  static int64_t least_triangle() { return 1024; }

  // IEEE float32, unless the caller allows TF32 (mflag/ops/float32_products.py).
  void multiply(const Matrix& a, const Matrix& b, const Matrix& out) const {
    std::array<StableIValue, 3> stack{wrap(a), wrap(b), wrap(out)};
    STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
    torch::stable::detail::to<Tensor>(stack[0]);  // takes the handle, and frees it
  }

 private:
  StableIValue wrap(const Matrix& m) const {
    const std::array<int64_t, 2> sizes{m.rows, m.columns}, strides{m.row_stride, m.column_stride};
    const torch::stable::Device device(torch::headeronly::DeviceType::CUDA, index_);
    return torch::stable::detail::from(torch::stable::from_blob(const_cast<float*>(m.data), sizes, strides, device, ScalarType::Float));
  }

  const int32_t index_;
  Tensor memory_;
};

orthogonality::Norm norm_of(const std::string& name) {
  const std::array<const char*, 5> names{"none", "center", "sample", "feature", "standardize"};
  for (size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return static_cast<orthogonality::Norm>(i);
  STD_TORCH_CHECK(false, "orthogonality: there is no norm " + name);
}

orthogonality::Type type_of(const Tensor& z) {
  const ScalarType type = z.scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::BFloat16 || type == ScalarType::Half,
                  "orthogonality: z must be float32, bfloat16 or float16");
  if (type == ScalarType::Float) return orthogonality::Type::float32;
  return type == ScalarType::BFloat16 ? orthogonality::Type::bfloat16 : orthogonality::Type::float16;
}

std::tuple<Tensor, Tensor> run(const Tensor& z, std::string norm, double scale, double target, double offdiag_weight, double factor,
                               double eps, double diagonal_weight, bool need_grad) {
  STD_TORCH_CHECK(z.dim() == 2 && z.numel() > 0 && z.is_contiguous(), "orthogonality: z must be (B, N), contiguous, not empty");
  const orthogonality::Formula formula{norm_of(norm), scale, target, offdiag_weight, factor, eps, diagonal_weight};
  OrthogonalityDevice device(z);
  Tensor loss = torch::stable::new_empty(z, {}, ScalarType::Float);
  const std::array<int64_t, 2> shape{z.size(0), z.size(1)};
  Tensor gradient = need_grad ? torch::stable::new_empty(z, shape, ScalarType::Float) : device.empty(0, ScalarType::Float);
  orthogonality::Steps<OrthogonalityDevice>(device, formula, z.const_data_ptr(), type_of(z), shape[0], shape[1],
                                            static_cast<float*>(loss.mutable_data_ptr()),
                                            need_grad ? static_cast<float*>(gradient.mutable_data_ptr()) : nullptr)
      .run();
  return {loss, gradient};
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CUDA, m) { m.impl("orthogonality", TORCH_BOX(&mflag::run)); }
