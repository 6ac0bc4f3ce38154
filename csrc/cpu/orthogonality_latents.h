// A batch z, normalised to x, with the sums of squares of its rows and columns in double.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "orthogonality_gram.h"
#include "orthogonality_rows.h"

namespace mflag {

constexpr double variance_eps = 1e-5;

enum class Norm { none, center, sample, feature, standardize };

inline Norm norm_of(const std::string& name) {
  if (name == "none") return Norm::none;
  if (name == "center") return Norm::center;
  if (name == "sample") return Norm::sample;
  return name == "feature" ? Norm::feature : Norm::standardize;
}

struct Formula {
  Norm norm;
  double s, t, lambda, a, eps, delta;

  bool is_whole() const { return lambda == 1 && delta == 1; }  // L = a ‖C − t‖²
};

struct Radius {  // r and whether x lies on the unit sphere; NaN is neither, and stays NaN
  double r;
  bool is_projected;
};

inline Radius radius(double squared, double eps) {
  const bool is_short = squared < eps * eps;
  return {is_short ? eps : std::sqrt(squared), !is_short};
}

template <typename T>
class Latents {
 public:
  Latents(const Formula& formula, T* z, int64_t rows, int64_t columns)
      : f(formula), z(z), x(z), B(rows), N(columns), is_dual(rows < columns), d(columns) {
    wide = std::clamp<int64_t>((int64_t{1} << 18) / B / 32 * 32, 64, 256);
  }

  bool is_projected_by_column() const { return f.norm == Norm::feature || f.norm == Norm::standardize; }
  bool has_column_norm() const { return is_projected_by_column() || f.norm == Norm::center; }
  bool needs_d() const { return !is_dual || !f.is_whole(); }  // else the d_i drop out

  Matrix<T> rows() const { return {x, B, N, N, 1}; }

  void normalise() {
    row_weight.assign(B, 1.0);
    out_weight.assign(B, 1.0);
    if (has_column_norm()) return normalise_columns();
    if (f.norm == Norm::sample) normalise_rows();
    if (needs_d()) sum_squares();
  }

  // sums = Σ_b of what `add` puts into N of them for each row. By whole rows: down a tile of columns,
  // rows whose length is a power of two throw one another out of the cache. The chunks of rows
  // depend on the shape alone.
  template <typename F>
  void sum_over_rows(std::vector<double>& sums, const F& add) const {
    const int64_t size = std::max<int64_t>(32, (B + 63) / 64), chunks = (B + size - 1) / size;
    const auto partial = allocate<double>(chunks * N);
    parallel(chunks, 1, [&](int64_t chunk) {
      double* sum = partial.get() + chunk * N;
      std::fill(sum, sum + N, 0.0);
      for (int64_t b = chunk * size; b < std::min(B, (chunk + 1) * size); ++b) add(sum, b);
    });
    sums.assign(N, 0.0);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) add_values(sums.data(), partial.get() + chunk * N, N);
  }

  // ‖x_b‖² of every row
  void row_squares(double* out) const {
    parallel(B, 64, [&](int64_t b) { out[b] = row_square(b); });
  }

  const Formula f;
  T* const z;
  T* x;
  const int64_t B, N;
  const bool is_dual;
  int64_t wide = 0;  // columns of a tile of the product
  // row_weight: x_b is this times what stands in x; out_weight: 1/r_b, for sample.
  std::vector<double> d, row_weight, out_weight;
  std::vector<Radius> r;

 private:
  void take_buffer() {
    buffer = allocate<T>(B * N);
    x = buffer.get();
  }

  // Dual: x stays z, with the weights 1/r; but products of very long or short rows leave float's range.
  void normalise_rows() {
    squared.resize(B);
    r.resize(B);
    parallel(B, 8, [&](int64_t b) {
      squared[b] = dot<T>(z + b * N, z + b * N, nullptr, N);
      r[b] = radius(squared[b], f.eps);
      out_weight[b] = 1 / r[b].r;
    });
    const auto is_extreme = [](double square) { return square > 1e36 || (square > 0 && square < 1e-30); };
    is_copied = !is_dual || std::any_of(squared.begin(), squared.end(), is_extreme);
    if (!is_copied) {
      row_weight = out_weight;
      return;
    }
    take_buffer();
    parallel(B, 8, [&](int64_t b) {
      for (int64_t i = 0; i < N; ++i) x[b * N + i] = static_cast<T>(z[b * N + i] / r[b].r);
    });
  }

  Radius column_radius(double squared) const {
    if (f.norm == Norm::center) return {1, false};
    return f.norm == Norm::feature ? radius(squared, f.eps) : Radius{std::sqrt(squared / B + variance_eps), true};
  }

  void normalise_columns() {
    take_buffer();
    std::vector<double> mean(N, 0.0), squares(N, 0.0), inverse(N);
    if (f.norm != Norm::feature) {
      sum_over_rows(mean, [&](double* sum, int64_t b) { add_values(sum, z + b * N, N); });
      for (double& value : mean) value /= B;
    }
    if (f.norm != Norm::center)
      sum_over_rows(squares, [&](double* sum, int64_t b) { add_deviations(sum, z + b * N, mean.data(), N); });
    r.resize(N);
    for (int64_t i = 0; i < N; ++i) {
      r[i] = column_radius(squares[i]);
      inverse[i] = 1 / r[i].r;
    }
    squared.resize(B);
    sum_over_rows(d, [&](double* sum, int64_t b) {
      shift_and_scale(x + b * N, z + b * N, mean.data(), inverse.data(), N);
      squared[b] = add_and_total_squares(sum, x + b * N, N);
    });
    for (double& value : d) value /= f.s;
  }

  // d_i = Σ_b x_bi²/s, and ‖x_b‖² on the way.
  void sum_squares() {
    if (f.norm == Norm::none) squared.resize(B);
    sum_over_rows(d, [&](double* sum, int64_t b) {
      if (f.norm == Norm::none)
        squared[b] = add_and_total_squares(sum, x + b * N, N);
      else
        add_squares(sum, x + b * N, row_weight[b] * row_weight[b], N);
    });
    for (double& value : d) value /= f.s;
  }

  double row_square(int64_t b) const {
    const T* row = x + b * N;
    if (f.norm == Norm::sample) {
      // λ = δ = 1: the norm of a unit row is exact. Infinity becomes NaN.
      if (f.is_whole() && r[b].is_projected && std::isfinite(squared[b])) return 1;
      return is_copied ? dot<T>(row, row, nullptr, N) : squared[b] * row_weight[b] * row_weight[b];
    }
    return squared.empty() ? dot<T>(row, row, nullptr, N) : squared[b];
  }

  bool is_copied = false;
  Buffer<T> buffer;
  std::vector<double> squared;  // ‖z_b‖² for sample, else ‖x_b‖²
};

}  // namespace mflag
