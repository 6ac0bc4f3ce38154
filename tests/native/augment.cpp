// Drives csrc/cuda/augment_kernels.cuh on the host.
#include "cuda_on_host.h"

#include "augment_kernels.cuh"

namespace {

using namespace mflag::augment;

struct Call {
  const uint8_t* images;
  const float *theta, *brightness, *contrast;
  double* partials;
  float mean, std;
  Shape shape;
  int64_t batch;
};

template <typename T, int channels>
void run(const Call& call, void* out) {
  const Shape& shape = call.shape;
  cuda_on_host::launch(sum_kernel, call.batch * shape.slots, THREADS, 0, call.images, call.theta, call.partials, shape);
  cuda_on_host::launch(write_kernel<T, channels>, call.batch * shape.tiles, THREADS, 0, call.images, call.theta,
                       call.brightness, call.contrast, call.partials, static_cast<T*>(out), call.mean, call.std, shape);
}

}  // namespace

// partials: (batch, 64). The fewer slots are allowed, the more tiles each has.
extern "C" int augment(const uint8_t* images, const float* theta, const float* brightness, const float* contrast,
                       double* partials, void* out, double mean, double std, int64_t batch, int64_t height, int64_t width,
                       int64_t image_stride, int64_t row_stride, int64_t size, int64_t channels, int64_t is_float,
                       int64_t max_slots, int64_t order) {
  return cuda_on_host::guarded([&] {
    cuda_on_host::Order guard(order);
    const int tiles = static_cast<int>((size * size + TILE - 1) / TILE), most = static_cast<int>(max_slots);
    const int span = (tiles + most - 1) / most, slots = (tiles + span - 1) / span;
    const Shape shape{image_stride, row_stride, static_cast<int>(height), static_cast<int>(width), static_cast<int>(size),
                      tiles, slots, span};
    const Call call{images, theta, brightness, contrast, partials, static_cast<float>(mean), static_cast<float>(std), shape, batch};
    if (is_float)
      channels == 1 ? run<float, 1>(call, out) : run<float, 3>(call, out);
    else
      channels == 1 ? run<__nv_bfloat16, 1>(call, out) : run<__nv_bfloat16, 3>(call, out);
  });
}
