// Drives the shared device code of csrc/cuda/device.cuh, and kernels that are wrong on purpose.
#include "cuda_on_host.h"

#include "device.cuh"

namespace {

using namespace mflag;

// Σ values: a partial a block, the last block to finish adds them up in order.
__global__ void sum_kernel(const float* values, int64_t n, double* partials, unsigned* counter, double* total) {
  __shared__ double scratch[32];
  double own = 0;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x) own += values[i];
  own = block_sum(own, scratch);
  if (threadIdx.x == 0) partials[blockIdx.x] = own;
  if (!is_last_block(counter, gridDim.x)) return;
  if (threadIdx.x > 0) return;
  *total = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) *total += __ldcg(partials + i);
}

// Block-wide reversal through dynamic shared memory.
__global__ void reverse_kernel(float* values, bool has_barrier) {
  DYNAMIC_SHARED(float, memory);
  memory[threadIdx.x] = values[threadIdx.x];
  if (has_barrier) __syncthreads();
  values[threadIdx.x] = memory[blockDim.x - 1 - threadIdx.x];
}

__global__ void divergent_kernel() {
  if (threadIdx.x != 7) __syncthreads();
}

__global__ void half_warp_kernel(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = warp_sum(1.0f);
}

template <typename T>
__global__ void widen_kernel(const T* from, float* to) {
  to[threadIdx.x] = to_float(from[threadIdx.x]);
}

}  // namespace

extern "C" {

int sum(const float* values, int64_t n, int64_t blocks, double* partials, unsigned* counter, double* total, int64_t order) {
  return cuda_on_host::guarded([&] {
    cuda_on_host::Order guard(order);
    cuda_on_host::launch(sum_kernel, blocks, 96, 0, values, n, partials, counter, total);
  });
}

int reverse(float* values, int64_t n, int64_t shared, int64_t has_barrier, int64_t order) {
  return cuda_on_host::guarded([&] {
    cuda_on_host::Order guard(order);
    cuda_on_host::launch(reverse_kernel, 1, n, shared, values, has_barrier);
  });
}

int divergent() {
  return cuda_on_host::guarded([] { cuda_on_host::launch(divergent_kernel, 1, 64, 0); });
}

int half_warp(float* out) {
  return cuda_on_host::guarded([&] { cuda_on_host::launch(half_warp_kernel, 1, 32, 0, out); });
}

int widen(const void* from, float* to, int64_t n, int64_t is_half) {
  return cuda_on_host::guarded([&] {
    if (is_half)
      cuda_on_host::launch(widen_kernel<__half>, 1, n, 0, static_cast<const __half*>(from), to);
    else
      cuda_on_host::launch(widen_kernel<__nv_bfloat16>, 1, n, 0, static_cast<const __nv_bfloat16*>(from), to);
  });
}
}
