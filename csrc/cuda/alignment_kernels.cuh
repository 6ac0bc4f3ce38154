// Alignment loss and its gradients in one launch: a block a row.
//
//   L = f/B Σ_b (2 − 2 cos_b),  cos = ⟨a, t⟩/(r_a r_t),  r = max(‖·‖, ε),  t = table[index[b]] or z_t[b]
//   ∂L/∂a = −2f/B (t − q a)/(r_a r_t),  q = ⟨a, t⟩/‖a‖²  (‖a‖ < ε: q = 0),  and by symmetry ∂L/∂t
//
// A row is read once: it stays in registers from the sums to the gradient (the first 4 vectors a thread:
// up to 4096 float32 columns; the rest is read again). Sums and the projection are double; near cos = 1
// the gradient is what is left of two equal vectors, and with q, not cos, the radial part is rounded once.
#pragma once
#include "device.cuh"

#ifndef MFLAG_ON_HOST
// What assert() calls; under NDEBUG no header declares it, and assert() is empty.
extern "C" __host__ __device__ void __assert_fail(const char*, const char*, unsigned, const char*) noexcept __attribute__((noreturn));
#endif

namespace mflag {
namespace alignment {

constexpr double eps = 1e-12;
constexpr int kept = 4, max_threads = 256;

// B × D, with any strides of the inputs; the gradients are contiguous. index, gradient_a and gradient_t may be null.
template <typename A, typename T, typename O>
struct Parameters {
  const A* a;
  int64_t a_stride, a_step;
  const T* t;
  int64_t t_stride, t_step;
  const int64_t* index;
  int64_t index_step, table_rows;
  int64_t rows, columns;
  double factor;
  double* partials;  // one a block
  unsigned* counter;
  O *loss, *gradient_a, *gradient_t;
};

// The device fails, as torch's own indexing does: no launch of its own and no copy to the host.
#ifndef MFLAG_ON_HOST
__device__ inline void fail_outside() {
  __assert_fail("index is outside of the table", "mflag::alignment", 0, "");
}
#else
void fail_outside();
#endif

__device__ inline double to_double(double value) { return value; }
template <typename T>
__device__ inline double to_double(T value) {
  return to_float(value);
}

// V elements in one access: V is above 1 only where the rows are aligned to it and have no gaps.
template <typename T, int V>
struct alignas(sizeof(T) * V) Vector {
  T values[V];
};

template <int V, typename T>
__device__ inline Vector<T, V> load(const T* row, int64_t step, int64_t place) {
  if constexpr (V > 1)
    return reinterpret_cast<const Vector<T, V>*>(row)[place];
  else
    return {row[place * step]};
}

struct Sums {
  double aa = 0, tt = 0, at = 0;

  template <typename A, typename T, int V>
  __device__ void add(const Vector<A, V>& a, const Vector<T, V>& t) {
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const double x = to_double(a.values[i]), y = to_double(t.values[i]);
      aa += x * x;
      tt += y * y;
      at += x * y;
    }
  }
};

// Over the block; all threads get it. `scratch`: three places a warp.
__device__ inline Sums block_sums(Sums own, double* scratch) {
  own = {warp_sum(own.aa), warp_sum(own.tt), warp_sum(own.at)};
  __syncthreads();  // the scratch may still be read for the row before
  double* place = scratch + threadIdx.x / 32 * 3;
  if (threadIdx.x % 32 == 0) place[0] = own.aa, place[1] = own.tt, place[2] = own.at;
  __syncthreads();
  Sums total;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) {
    total.aa += scratch[3 * i];
    total.tt += scratch[3 * i + 1];
    total.at += scratch[3 * i + 2];
  }
  return total;
}

struct Weights {
  double q_a, q_t, scale, value;  // value: 2 − 2 cos
};

__device__ inline Weights weights_of(const Sums& s, double slope) {
  const bool a_is_short = s.aa < eps * eps, t_is_short = s.tt < eps * eps;  // NaN is not short, and stays NaN
  const double inverse = 1 / ((a_is_short ? eps : sqrt(s.aa)) * (t_is_short ? eps : sqrt(s.tt)));
  return {a_is_short ? 0 : s.at / s.aa, t_is_short ? 0 : s.at / s.tt, slope * inverse, 2 - 2 * s.at * inverse};
}

// out = (other − q·own)·scale, rounded once.
template <typename O, typename X, typename Y, int V>
__device__ inline void store(O* out, int64_t place, const Vector<X, V>& own, const Vector<Y, V>& other, double q, double scale) {
  Vector<O, V> result;
#pragma unroll
  for (int i = 0; i < V; ++i) result.values[i] = static_cast<O>((to_double(other.values[i]) - q * to_double(own.values[i])) * scale);
  reinterpret_cast<Vector<O, V>*>(out)[place] = result;
}

// 2 − 2 cos of a row, known to all threads, and its gradients.
template <int V, typename A, typename T, typename O>
__device__ double align_row(const Parameters<A, T, O>& p, int64_t row, double slope, double* scratch) {
  int64_t source = row;
  if (p.index != nullptr) {
    source = p.index[row * p.index_step];
    if (source < 0 || source >= p.table_rows) fail_outside();
  }
  const A* a_row = p.a + row * p.a_stride;
  const T* t_row = p.t + source * p.t_stride;
  const int64_t vectors = p.columns / V, far = threadIdx.x + kept * int64_t{blockDim.x};
  Vector<A, V> a[kept] = {};
  Vector<T, V> t[kept] = {};
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    const int64_t place = threadIdx.x + k * int64_t{blockDim.x};
    if (place < vectors) a[k] = load<V>(a_row, p.a_step, place), t[k] = load<V>(t_row, p.t_step, place);
  }
  Sums own;
#pragma unroll
  for (int k = 0; k < kept; ++k) own.add(a[k], t[k]);
  for (int64_t place = far; place < vectors; place += blockDim.x)
    own.add(load<V>(a_row, p.a_step, place), load<V>(t_row, p.t_step, place));
  const Weights w = weights_of(block_sums(own, scratch), slope);

  const auto store_both = [&](int64_t place, const Vector<A, V>& x, const Vector<T, V>& y) {
    if (p.gradient_a != nullptr) store(p.gradient_a + row * p.columns, place, x, y, w.q_a, w.scale);
    if (p.gradient_t != nullptr) store(p.gradient_t + row * p.columns, place, y, x, w.q_t, w.scale);
  };
#pragma unroll
  for (int k = 0; k < kept; ++k) {
    const int64_t place = threadIdx.x + k * int64_t{blockDim.x};
    if (place < vectors) store_both(place, a[k], t[k]);
  }
  if (p.gradient_a != nullptr || p.gradient_t != nullptr)
    for (int64_t place = far; place < vectors; place += blockDim.x)
      store_both(place, load<V>(a_row, p.a_step, place), load<V>(t_row, p.t_step, place));
  return w.value;
}

template <int V, typename A, typename T, typename O>
__global__ void __launch_bounds__(max_threads) alignment_kernel(Parameters<A, T, O> p) {
  __shared__ double scratch[3 * max_threads / 32];
  const double slope = -2 * p.factor / p.rows;
  double total = 0;
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) total += align_row<V>(p, row, slope, scratch);
  if (threadIdx.x == 0) p.partials[blockIdx.x] = total;
  if (!is_last_block(p.counter, gridDim.x)) return;
  double own = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) own += __ldcg(p.partials + i);
  const double sum = block_sum(own, scratch);
  if (threadIdx.x == 0) *p.loss = static_cast<O>(p.factor * (sum / p.rows));
}

}  // namespace alignment
}  // namespace mflag
