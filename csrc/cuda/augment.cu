// The augmentation, CUDA: launches and registration; the schema stands in csrc/cpu/augment.cpp.
#include "augment_kernels.cuh"
#include "launch.h"

namespace mflag::augment {
namespace {

Shape shape_of(const Tensor& images, const Tensor& out) {
  const int64_t size = out.size(2), tiles = (size * size + TILE - 1) / TILE;
  const int64_t span = (tiles + MAX_SLOTS - 1) / MAX_SLOTS, slots = (tiles + span - 1) / span;
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  return {images.stride(0), images.stride(2), narrow(images.size(2)), narrow(images.size(3)),
          narrow(size),     narrow(tiles),    narrow(slots),          narrow(span)};
}

template <typename T, int channels>
void run(const Tensor& images, const Tensor& theta, const Tensor& brightness, const Tensor& contrast, Tensor& out,
         double mean, double std) {
  const Device device(images);
  const Shape shape = shape_of(images, out);
  const auto values = [](const Tensor& x) { return static_cast<const float*>(x.const_data_ptr()); };
  const auto* source = static_cast<const uint8_t*>(images.const_data_ptr());
  const auto batch = static_cast<unsigned>(images.size(0));
  Workspace workspace;
  const int64_t place = workspace.take<double>(int64_t{batch} * shape.slots);
  workspace.allocate(device);
  auto* partials = workspace.at<double>(place);
  device.launch(sum_kernel, batch * shape.slots, THREADS, 0, source, values(theta), partials, shape);
  device.launch(write_kernel<T, channels>, batch * shape.tiles, THREADS, 0, source, values(theta), values(brightness),
                values(contrast), partials, static_cast<T*>(out.mutable_data_ptr()), mean, std, shape);
}

void augment(const Tensor& images, const Tensor& theta, const Tensor& brightness, const Tensor& contrast, Tensor out,
             double mean, double std) {
  const bool is_float = out.scalar_type() == torch::headeronly::ScalarType::Float, is_grey = out.size(1) == 1;
  const auto chosen = is_float ? (is_grey ? run<float, 1> : run<float, 3>)
                               : (is_grey ? run<__nv_bfloat16, 1> : run<__nv_bfloat16, 3>);
  chosen(images, theta, brightness, contrast, out, mean, std);
}

}  // namespace
}  // namespace mflag::augment

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CUDA, m) { m.impl("augment", TORCH_BOX(&mflag::augment::augment)); }
