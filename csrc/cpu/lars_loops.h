// The two loops over a piece of a tensor: sums of squares, and the update.
// Memory bounds the sums, so they also fetch what comes next; a prefetch never faults.
#pragma once
#include <cstdint>

#include "../shared/vector.h"
#include "lars_formula.h"

namespace mflag::lars {

constexpr int LANES = 32;

// LANES values, `bytes` after p, into L2.
template <class T>
MFLAG_INLINED void fetch(const T* p, int64_t bytes = 0) {
  const char* from = reinterpret_cast<const char*>(p) + bytes;
  for (unsigned line = 0; line < LANES * sizeof(T); line += 64)
    __builtin_prefetch(from + line, 0, 2);
}

// g, g + beta w, or the new buffer.
template <class T, Norm norm>
MFLAG_INLINED T normed_value(T w, T g, [[maybe_unused]] T m, T f, T beta, T mu) {
  T x = f * g;
  if constexpr (norm != Norm::separate) x += beta * w;
  if constexpr (norm == Norm::momentum) x = mu * m + (1 - mu) * x;
  return x;
}

// Sum of w^2 and of normed_value^2.
template <class T, Norm norm>
MFLAG_INLINED Sums sums_of(const T* w, const T* g, const T* m, int64_t n, const Rule& r) {
  const T f = static_cast<T>(r.grad_factor), beta = static_cast<T>(r.weight_decay);
  const T mu = static_cast<T>(r.momentum);
  T acc_w[LANES] = {}, acc_x[LANES] = {};
  const auto add = [&](int64_t i, int lane) __attribute__((always_inline)) {
    const T moment = norm == Norm::momentum ? m[i] : 0;
    const T x = normed_value<T, norm>(w[i], g[i], moment, f, beta, mu);
    acc_w[lane] += w[i] * w[i];
    acc_x[lane] += x * x;
  };
  const auto add_group = [&](int64_t i) __attribute__((always_inline)) {
    fetch(w + i, 2048);
    fetch(g + i, 2048);
    // A third stream costs nothing beside two, and the update then finds m in cache.
    if (norm != Norm::momentum && m) fetch(m + i);
    for (int lane = 0; lane < LANES; ++lane) add(i + lane, lane);
  };
  // Two places at once: more reads are under way, and it is their number that bounds the speed.
  const int64_t half = n / (2 * LANES) * LANES;
  for (int64_t i = 0; i < half; i += LANES) {
    add_group(i);
    add_group(half + i);
  }
  int64_t i = 2 * half;
  for (; i + LANES <= n; i += LANES) add_group(i);
  for (int lane = 0; i < n; ++i, ++lane) add(i, lane);
  Sums total;
  for (int lane = 0; lane < LANES; ++lane) {
    total.w += acc_w[lane];
    total.x += acc_x[lane];
  }
  return total;
}

template <class T, bool decay, bool momentum, bool nesterov>
MFLAG_INLINED void update_as(T* __restrict w, const T* __restrict g, T* __restrict m, int64_t n,
                             const Coefficients& k) {
  const T a = static_cast<T>(k.a), d = static_cast<T>(k.d), c = static_cast<T>(k.c);
  const T mu = static_cast<T>(k.mu), step = static_cast<T>(k.step);
  const auto one = [&](int64_t i) __attribute__((always_inline)) {
    T s = a * g[i];
    if constexpr (decay) s += d * w[i];
    if constexpr (momentum) {
      const T next = mu * m[i] + c * s;
      m[i] = next;
      s = nesterov ? s + mu * next : next;
    }
    w[i] -= step * s;
  };
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
#pragma GCC ivdep
    for (int64_t j = i; j < i + LANES; ++j) one(j);
  for (; i < n; ++i) one(i);
}

template <class T>
MFLAG_VECTORISED Sums sums(const T* w, const T* g, const T* m, int64_t n, const Rule& r) {
  if (r.norm == Norm::separate) return sums_of<T, Norm::separate>(w, g, m, n, r);
  if (r.norm == Norm::decayed) return sums_of<T, Norm::decayed>(w, g, m, n, r);
  return sums_of<T, Norm::momentum>(w, g, m, n, r);
}

template <class T>
MFLAG_VECTORISED void update(T* w, const T* g, T* m, int64_t n, const Coefficients& k,
                             bool nesterov) {
  const bool decay = k.d != 0;
  if (!m && decay) update_as<T, true, false, false>(w, g, m, n, k);
  if (!m && !decay) update_as<T, false, false, false>(w, g, m, n, k);
  if (m && nesterov && decay) update_as<T, true, true, true>(w, g, m, n, k);
  if (m && nesterov && !decay) update_as<T, false, true, true>(w, g, m, n, k);
  if (m && !nesterov && decay) update_as<T, true, true, false>(w, g, m, n, k);
  if (m && !nesterov && !decay) update_as<T, false, true, false>(w, g, m, n, k);
}

}  // namespace mflag::lars
