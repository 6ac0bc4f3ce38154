// A small kernel for tests/bench/test_compiled.py: a template, a plain one, and one that spills.
#pragma once

namespace test {

template <typename T, int COUNT>
__global__ void pair_sum(const T* x, T* out) {
  __shared__ T part[COUNT];
  part[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = part[threadIdx.x] * part[COUNT - 1 - threadIdx.x] + x[0];
}

__global__ void spilling(const float* x, float* out, int count) {
  float own[64];
  for (int i = 0; i < 64; ++i) own[i] = x[i * count];
  float sum = 0;
  for (int i = 0; i < count; ++i) sum += own[(i * count) % 64];
  out[0] = sum;
}

}  // namespace test
