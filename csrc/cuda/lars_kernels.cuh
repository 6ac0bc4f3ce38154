// LARS on the device: norms, then update. A block takes one chunk of one tensor.
//   u = a g + d w;  m <- mu m + c u;  w <- w - step (m, or u + mu m with nesterov, or u without m)
#pragma once
#include "device.cuh"
#include "lars_arguments.h"

namespace mflag::lars {

constexpr int THREADS = 256;
// Values that a thread takes at once: one load of 16 bytes in 16-bit types, two in float.
constexpr int GROUP = 8;
__device__ inline double value_of(const Scalar& x, double otherwise) {
  if (x.place == nullptr) return otherwise;
  return x.is_double ? *static_cast<const double*>(x.place) : *static_cast<const float*>(x.place);
}

struct Place {
  int32_t tensor;
  uint32_t first, count;  // chunks of the tensor
  int64_t start;          // of this chunk in the tensor
  int size;               // values in this chunk
  bool is_plain;
};

__device__ inline uint32_t first_chunk(const Arguments& args, int32_t tensor) {
  return tensor == args.tensors ? args.chunks : static_cast<uint32_t>(args.words[4 * tensor + 3] >> 32);
}

__device__ inline Place place_of(const Arguments& args, uint32_t chunk) {
  int32_t low = 0, high = args.tensors;
  while (high - low > 1) {
    const int32_t middle = (low + high) / 2;
    (first_chunk(args, middle) <= chunk ? low : high) = middle;
  }
  const uint32_t first = first_chunk(args, low), end = first_chunk(args, low + 1);
  const auto packed = static_cast<uint32_t>(args.words[4 * low + 3]);
  const int size = chunk + 1 == end ? static_cast<int>(packed >> 1) : static_cast<int>(CHUNK);
  return {low, first, end - first, int64_t{chunk - first} * CHUNK, size, (packed & 1) != 0};
}

template <typename T>
__device__ inline T* pointer(const Arguments& args, const Place& at, int which) {
  return reinterpret_cast<T*>(args.words[4 * at.tensor + which]) + at.start;
}

__device__ inline void narrow(float value, float& out) { out = value; }
__device__ inline void narrow(float value, __half& out) { out = __float2half_rn(value); }
__device__ inline void narrow(float value, __nv_bfloat16& out) { out = __float2bfloat16_rn(value); }

template <typename T>
struct alignas(16) Packet {
  T values[16 / sizeof(T)];
};

__device__ inline bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// GROUP values from p + i, zeros from p + size on. Which thread takes which value does not depend
// on the address, so neither do the bits.
template <typename T>
__device__ inline void load(const T* p, int i, int size, bool is_aligned, float (&out)[GROUP]) {
  constexpr int n = 16 / sizeof(T);
  if (is_aligned && i + GROUP <= size) {
#pragma unroll
    for (int part = 0; part < GROUP / n; ++part) {
      const Packet<T> packet = *reinterpret_cast<const Packet<T>*>(p + i + part * n);
#pragma unroll
      for (int j = 0; j < n; ++j) out[part * n + j] = to_float(packet.values[j]);
    }
  } else {
#pragma unroll
    for (int j = 0; j < GROUP; ++j) out[j] = i + j < size ? to_float(p[i + j]) : 0.0f;
  }
}

template <typename T>
__device__ inline void store(T* p, int i, int size, bool is_aligned, const float (&value)[GROUP]) {
  constexpr int n = 16 / sizeof(T);
  if (is_aligned && i + GROUP <= size) {
#pragma unroll
    for (int part = 0; part < GROUP / n; ++part) {
      Packet<T> packet;
#pragma unroll
      for (int j = 0; j < n; ++j) narrow(value[part * n + j], packet.values[j]);
      *reinterpret_cast<Packet<T>*>(p + i + part * n) = packet;
    }
  } else {
#pragma unroll
    for (int j = 0; j < GROUP; ++j)
      if (i + j < size) narrow(value[j], p[i + j]);
  }
}

__device__ inline Rule rule_of(const Arguments& args) {
  Rule rule = args.rule;
  rule.lr = value_of(args.lr, 0);
  rule.grad_factor = (args.is_negated ? -1 : 1) / value_of(args.grad_scale, 1);
  return rule;
}

template <typename W, typename G, typename M, Norm norm>
__device__ Sums sums_of(const Arguments& args, const Place& at, const Rule& rule) {
  const W* w = pointer<W>(args, at, 0);
  const G* g = pointer<G>(args, at, 1);
  const M* m = norm == Norm::momentum ? pointer<M>(args, at, 2) : nullptr;
  const bool w_aligned = is_aligned(w), g_aligned = is_aligned(g), m_aligned = is_aligned(m);
  const float f = static_cast<float>(rule.grad_factor), beta = static_cast<float>(rule.weight_decay);
  const float mu = static_cast<float>(rule.momentum), rest = static_cast<float>(1 - rule.momentum);
  float sum_w = 0, sum_x = 0;
#pragma unroll 2
  for (int i = threadIdx.x * GROUP; i < at.size; i += THREADS * GROUP) {
    float own_w[GROUP], own_g[GROUP], own_m[GROUP] = {};
    load(w, i, at.size, w_aligned, own_w);
    load(g, i, at.size, g_aligned, own_g);
    if constexpr (norm == Norm::momentum) load(m, i, at.size, m_aligned, own_m);
#pragma unroll
    for (int j = 0; j < GROUP; ++j) {
      float x = f * own_g[j];
      if (norm != Norm::separate && beta != 0) x += beta * own_w[j];
      if constexpr (norm == Norm::momentum) x = mu * own_m[j] + rest * x;
      sum_w += own_w[j] * own_w[j];
      sum_x += x * x;
    }
  }
  return {sum_w, sum_x};
}

// The last block of a tensor: its partial sums in a fixed order, its coefficients, its flag.
__device__ inline void finish(const Arguments& args, const Place& at, const Rule& rule, double* scratch) {
  Sums own;
  if (!at.is_plain)
    for (uint32_t i = threadIdx.x; i < at.count; i += THREADS) {
      own.w += __ldcg(&args.partials[at.first + i].w);
      own.x += __ldcg(&args.partials[at.first + i].x);
    }
  const Sums total{block_sum(own.w, scratch), block_sum(own.x, scratch)};
  if (threadIdx.x != 0) return;
  bool has_started = true;
  if (args.has_started) {
    float* flag = reinterpret_cast<float*>(args.words[4 * args.tensors + at.tensor]);
    has_started = *flag != 0;
    *flag = 1;
  }
  args.coefficients[at.tensor] = coefficients(total, at.is_plain, has_started, rule);
}

template <typename W, typename G, typename M, Norm norm>
__global__ void __launch_bounds__(THREADS) norms_kernel(const __grid_constant__ Arguments args) {
  __shared__ double scratch[THREADS / 32];
  if (value_of(args.found_inf, 0) != 0) return;
  const Place at = place_of(args, blockIdx.x);
  const Rule rule = rule_of(args);
  if (!at.is_plain) {
    const Sums own = sums_of<W, G, M, norm>(args, at, rule);
    const Sums sums{block_sum(own.w, scratch), block_sum(own.x, scratch)};
    if (threadIdx.x == 0) args.partials[blockIdx.x] = sums;
  }
  if (is_last_block(args.counters + at.tensor, at.count)) finish(args, at, rule, scratch);
}

// Backwards: what the norms read last is still in L2.
template <typename W, typename G, typename M>
__global__ void __launch_bounds__(THREADS) update_kernel(const __grid_constant__ Arguments args) {
  if (value_of(args.found_inf, 0) != 0) return;
  const Place at = place_of(args, gridDim.x - 1 - blockIdx.x);
  const Coefficients k = args.coefficients[at.tensor];
  const float a = static_cast<float>(k.a), d = static_cast<float>(k.d), c = static_cast<float>(k.c);
  const float mu = static_cast<float>(k.mu), step = static_cast<float>(k.step);
  W* w = pointer<W>(args, at, 0);
  const G* g = pointer<G>(args, at, 1);
  M* m = args.has_momentum ? pointer<M>(args, at, 2) : nullptr;
  const bool w_aligned = is_aligned(w), g_aligned = is_aligned(g), m_aligned = is_aligned(m);
#pragma unroll 1
  for (int i = threadIdx.x * GROUP; i < at.size; i += THREADS * GROUP) {
    float own_w[GROUP], s[GROUP], own_m[GROUP];
    load(w, i, at.size, w_aligned, own_w);
    load(g, i, at.size, g_aligned, s);
    if (m != nullptr) load<M>(m, i, at.size, m_aligned, own_m);
#pragma unroll
    for (int j = 0; j < GROUP; ++j) {
      s[j] *= a;
      if (d != 0) s[j] += d * own_w[j];  // without decay a non-finite weight does not spread
      if (m != nullptr) {
        own_m[j] = mu * own_m[j] + c * s[j];
        s[j] = args.rule.nesterov ? s[j] + mu * own_m[j] : own_m[j];
      }
      own_w[j] -= step * s[j];
    }
    if (m != nullptr) store(m, i, at.size, m_aligned, own_m);
    store(w, i, at.size, w_aligned, own_w);
  }
}

}  // namespace mflag::lars
