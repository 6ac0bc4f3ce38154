// What kernels of several ops share on the device. No torch; compiles with nvcc, and on the host
// after tests/native/cuda_on_host.h.
#pragma once
#ifndef MFLAG_ON_HOST
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// The dynamic shared memory of the block, from its first byte, 16-byte aligned.
#define DYNAMIC_SHARED(type, name)                         \
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[]; \
  type* const name = reinterpret_cast<type*>(dynamic_shared_memory)
#endif

#include <cstdint>

namespace mflag {

constexpr unsigned whole_warp = 0xffffffffu;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

// The order of the sum is that of the tree, in every launch. All lanes get it.
template <typename T>
__device__ inline T warp_sum(T value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(whole_warp, value, step);
  return value;
}

// Over a one-dimensional block of whole warps; `scratch`: shared, one place a warp. All threads get it.
template <typename T>
__device__ inline T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  __syncthreads();  // the scratch may still be read for the sum before
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  T total = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) total += scratch[warp];
  return total;
}

// Whether this block is the last of `blocks` to come here; what all of them wrote before is then
// visible to it (read by __ldcg: the L1 cache may be stale). The counter is zero again afterwards.
__device__ inline bool is_last_block(unsigned* counter, unsigned blocks) {
  __shared__ unsigned ticket;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) ticket = atomicInc(counter, blocks - 1);
  __syncthreads();
  __threadfence();
  return ticket == blocks - 1;
}

}  // namespace mflag
