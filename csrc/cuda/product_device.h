// The device of ops around torch's products.
#pragma once
#include "launch.h"
#include "products.h"

namespace mflag {

class ProductDevice : public Device {
 public:
  explicit ProductDevice(const Tensor& z) : Device(z), index_(z.get_device()) {}

  void* memory(int64_t bytes) {
    memory_ = empty(bytes, torch::headeronly::ScalarType::Byte);
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
    return torch::stable::detail::from(
        torch::stable::from_blob(const_cast<float*>(m.data), sizes, strides, device, torch::headeronly::ScalarType::Float));
  }

  const int32_t index_;
  Tensor memory_;
};

inline Type type_of(const Tensor& z) {
  using torch::headeronly::ScalarType;
  const ScalarType type = z.scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::BFloat16 || type == ScalarType::Half,
                  "z must be float32, bfloat16 or float16");
  if (type == ScalarType::Float) return Type::float32;
  return type == ScalarType::BFloat16 ? Type::bfloat16 : Type::float16;
}

}  // namespace mflag
