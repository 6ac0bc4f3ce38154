// Drives csrc/cuda/alignment_kernels.cuh for one pair of types.
#include "cuda_on_host.h"

#include "alignment_kernels.cuh"

namespace {

bool has_failed;

template <int V, typename A, typename T, typename O>
int run(const int64_t* sizes, const int64_t* strides, void** pointers, double factor, int64_t order) {
  using namespace mflag::alignment;
  const Parameters<A, T, O> p{static_cast<const A*>(pointers[0]),
                              strides[0],
                              strides[1],
                              static_cast<const T*>(pointers[1]),
                              strides[2],
                              strides[3],
                              static_cast<const int64_t*>(pointers[2]),
                              strides[4],
                              sizes[2],
                              sizes[0],
                              sizes[1],
                              factor,
                              static_cast<double*>(pointers[3]),
                              static_cast<unsigned*>(pointers[4]),
                              static_cast<O*>(pointers[5]),
                              static_cast<O*>(pointers[6]),
                              static_cast<O*>(pointers[7])};
  return cuda_on_host::guarded([&] {
    cuda_on_host::Order guard(static_cast<int>(order));
    has_failed = false;
    cuda_on_host::launch(alignment_kernel<V, A, T, O>, static_cast<unsigned>(sizes[3]), static_cast<unsigned>(sizes[4]), 0, p);
    if (has_failed) throw std::runtime_error("index is outside of the table");
  });
}

}  // namespace

// The thread ends here, as on the device.
void mflag::alignment::fail_outside() {
  has_failed = true;
  cuda_on_host::machine.current->wait = cuda_on_host::Wait::exited;
  _longjmp(cuda_on_host::machine.scheduler, 1);
}

#define DRIVER(name, V, A, T, O)                                                                                   \
  extern "C" int name(const int64_t* sizes, const int64_t* strides, void** pointers, double factor, int64_t order) { \
    return run<V, A, T, O>(sizes, strides, pointers, factor, order);                                               \
  }

DRIVER(float32_float32_4, 4, float, float, float)
DRIVER(float32_float32_1, 1, float, float, float)
DRIVER(float32_float16_4, 4, float, __half, float)
DRIVER(float32_float16_1, 1, float, __half, float)
DRIVER(bfloat16_float16_8, 8, __nv_bfloat16, __half, float)
DRIVER(float16_bfloat16_1, 1, __half, __nv_bfloat16, float)
DRIVER(float64_float64_2, 2, double, double, double)
DRIVER(float64_float32_1, 1, double, float, double)
