// The inner loops, each over one row: plain code that the compiler vectorises. Sums are double.
#pragma once
#include <bit>
#include <cstdint>

#include "../shared/vector.h"

namespace mflag {

struct BFloat16 {
  uint16_t bits;
};

struct Half {
  uint16_t bits;
};

MFLAG_INLINED float widen(float x) { return x; }
MFLAG_INLINED double widen(double x) { return x; }
MFLAG_INLINED float widen(BFloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

// By hand: gcc 12 has no vector form of it, nor of a choice by ?: in here. Subnormals by a product, which
// flush-to-zero leaves alone.
MFLAG_INLINED float widen(Half x) {
  const uint32_t magnitude = x.bits & 0x7fffu, sign = (x.bits & 0x8000u) << 16;
  const uint32_t is_infinite = -static_cast<uint32_t>(magnitude >= 0x7c00u), is_subnormal = -static_cast<uint32_t>(magnitude < 0x400u);
  const uint32_t normal = (magnitude << 13) + (112u << 23) + (is_infinite & 112u << 23);
  const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  return std::bit_cast<float>((subnormal & is_subnormal) | (normal & ~is_subnormal) | sign);
}

// out = x, widened and without gaps.
template <typename O, typename X>
MFLAG_VECTORISED void widen_row(O* out, const X* x, int64_t stride, int64_t n) {
  if (stride == 1)
    for (int64_t i = 0; i < n; ++i) out[i] = widen(x[i]);
  else
    for (int64_t i = 0; i < n; ++i) out[i] = widen(x[i * stride]);
}

struct Sums {
  double aa, tt, at;  // ‖a‖², ‖t‖², ⟨a, t⟩
};

// In 16 fixed lanes.
template <typename A, typename T>
MFLAG_VECTORISED Sums sums(const A* a, const T* t, int64_t n) {
  constexpr int64_t lanes = 16;
  double aa[lanes] = {}, tt[lanes] = {}, at[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const double x = a[i + lane], y = t[i + lane];
      aa[lane] += x * x;
      tt[lane] += y * y;
      at[lane] += x * y;
    }
  for (int64_t lane = 0; i < n; ++i, ++lane) {
    const double x = a[i], y = t[i];
    aa[lane] += x * x;
    tt[lane] += y * y;
    at[lane] += x * y;
  }
  Sums total{};
  for (int64_t lane = 0; lane < lanes; ++lane) {
    total.aa += aa[lane];
    total.tt += tt[lane];
    total.at += at[lane];
  }
  return total;
}

// out = (other − multiple·own)·scale, rounded once.
template <typename O, typename X, typename Y>
MFLAG_VECTORISED void project_row(O* out, const X* own, const Y* other, double multiple, double scale, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = static_cast<O>((static_cast<double>(other[i]) - multiple * static_cast<double>(own[i])) * scale);
}

}  // namespace mflag
