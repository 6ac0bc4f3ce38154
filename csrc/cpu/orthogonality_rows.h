// The inner loops, each over one piece of a row: plain code that the compiler vectorises.
// Sums are double: a column of 1,024 squares would lose three bits in float.
#pragma once
#include <cstdint>

#include "../shared/vector.h"

namespace mflag {

template <typename T>
MFLAG_VECTORISED void add_values(double* sum, const T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<double>(x[i]);
}

template <typename T>
MFLAG_VECTORISED void add_squares(double* sum, const T* x, double weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += weight * static_cast<double>(x[i]) * static_cast<double>(x[i]);
}

// The same, and Σ x² of this piece in 16 fixed lanes.
template <typename T>
MFLAG_VECTORISED double add_and_total_squares(double* sum, const T* x, int64_t n) {
  constexpr int64_t lanes = 16;
  double total[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const double square = static_cast<double>(x[i + lane]) * static_cast<double>(x[i + lane]);
      sum[i + lane] += square;
      total[lane] += square;
    }
  for (; i < n; ++i) {
    const double square = static_cast<double>(x[i]) * static_cast<double>(x[i]);
    sum[i] += square;
    total[i % lanes] += square;
  }
  double all = 0;
  for (double lane : total) all += lane;
  return all;
}

template <typename T>
MFLAG_VECTORISED void add_deviations(double* sum, const T* x, const double* mean, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double deviation = static_cast<double>(x[i]) - mean[i];
    sum[i] += deviation * deviation;
  }
}

template <typename T>
MFLAG_VECTORISED void add_products(double* sum, const T* x, const T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
}

// h += weight·(y − cosine·x) per column, and the sums of h and of x·h.
template <typename T>
MFLAG_VECTORISED void add_residuals(T* h, const T* x, const T* y, const T* weight, const T* cosine, double* sum, double* radial,
                                    int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    h[i] += weight[i] * (y[i] - cosine[i] * x[i]);
    sum[i] += static_cast<double>(h[i]);
    radial[i] += static_cast<double>(x[i]) * static_cast<double>(h[i]);
  }
}

// out = (x − shift)·scale per column, rounded once.
template <typename T>
MFLAG_VECTORISED void shift_and_scale(T* out, const T* x, const double* shift, const double* scale, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>((static_cast<double>(x[i]) - shift[i]) * scale[i]);
}

// h = (h − shift + multiple·x)·scale per column.
template <typename T>
MFLAG_VECTORISED void combine_columns(T* h, const T* x, const T* shift, const T* multiple, const T* scale, int64_t n) {
  for (int64_t i = 0; i < n; ++i) h[i] = (h[i] - shift[i] + multiple[i] * x[i]) * scale[i];
}

// h += weight·multiple·x, a multiple per column.
template <typename T>
MFLAG_VECTORISED void add_multiples(T* h, const T* x, const T* multiple, T weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) h[i] += weight * multiple[i] * x[i];
}

// h = (h + multiple·x)·scale, one multiple for the row.
template <typename T>
MFLAG_VECTORISED void combine_row(T* h, const T* x, T multiple, T scale, int64_t n) {
  for (int64_t i = 0; i < n; ++i) h[i] = (h[i] + multiple * x[i]) * scale;
}

// Σ x·y·weight in 16 fixed lanes; weight may be null.
template <typename T>
MFLAG_VECTORISED double dot(const T* x, const T* y, const double* weight, int64_t n) {
  constexpr int64_t lanes = 16;
  double sum[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const double product = static_cast<double>(x[i + lane]) * static_cast<double>(y[i + lane]);
      sum[lane] += weight ? product * weight[i + lane] : product;
    }
  for (; i < n; ++i) {
    const double product = static_cast<double>(x[i]) * static_cast<double>(y[i]);
    sum[i % lanes] += weight ? product * weight[i] : product;
  }
  double total = 0;
  for (double lane : sum) total += lane;
  return total;
}

// k = k·weight·weights in place.
template <typename T>
MFLAG_VECTORISED void scale_row(T* k, const double* weights, double weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) k[i] = static_cast<T>(static_cast<double>(k[i]) * weight * weights[i]);
}

}  // namespace mflag
