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
    // Tiles of columns: wide for a fast product, narrow where a tile is read three times from the L2 cache.
    wide = std::clamp<int64_t>((int64_t{1} << 18) / B / 32 * 32, 64, 256);
    narrow = std::clamp<int64_t>((int64_t{1} << 15) / B / 32 * 32, 32, 256);
  }

  bool is_projected_by_column() const { return f.norm == Norm::feature || f.norm == Norm::standardize; }
  bool has_column_norm() const { return is_projected_by_column() || f.norm == Norm::center; }
  bool needs_d() const { return !is_dual || !f.is_whole(); }  // else the d_i drop out

  Matrix<T> rows() const { return {x, B, N, N, 1}; }

  template <typename F>
  void for_tiles(int64_t width, const F& work) {
    parallel((N + width - 1) / width, 1, [&](int64_t tile) { work(tile * width, std::min(width, N - tile * width)); });
  }

  void normalise() {
    row_weight.assign(B, 1.0);
    out_weight.assign(B, 1.0);
    if (has_column_norm()) {
      prepare_columns();
      for_tiles(narrow, [&](int64_t begin, int64_t n) { normalise_columns(begin, n); });
    } else if (f.norm == Norm::sample) {
      normalise_rows();
    }
    if (!has_column_norm() && needs_d()) sum_columns();
  }

  // What normalise_columns needs; it is for columns of any range, in any order.
  void prepare_columns() {
    take_buffer();
    r.resize(N);
    if (is_dual) pieces = allocate<double>((N + narrow - 1) / narrow * B);
  }

  void normalise_columns(int64_t begin, int64_t n) {
    std::vector<double> mean(n, 0.0), inverse(n), squares(n, 0.0);
    if (f.norm != Norm::feature) {
      for (int64_t b = 0; b < B; ++b) add_values(mean.data(), z + b * N + begin, n);
      for (double& value : mean) value /= B;
    }
    if (f.norm != Norm::center) {
      for (int64_t b = 0; b < B; ++b) add_deviations(squares.data(), z + b * N + begin, mean.data(), n);
    }
    for (int64_t i = 0; i < n; ++i) {
      r[begin + i] = column_radius(squares[i]);
      inverse[i] = 1 / r[begin + i].r;
    }
    std::fill(squares.begin(), squares.end(), 0.0);
    for (int64_t b = 0; b < B; ++b) {
      T* row = x + b * N + begin;
      shift_and_scale(row, z + b * N + begin, mean.data(), inverse.data(), n);
      const double total = add_and_total_squares(squares.data(), row, n);
      if (is_dual) pieces.get()[begin / narrow * B + b] = total;
    }
    for (int64_t i = 0; i < n; ++i) d[begin + i] = squares[i] / f.s;
  }

  // ‖x_b‖² of every row
  void row_squares(double* out) const {
    const auto square = [&](int64_t b) { out[b] = row_square(b); };
    if (pieces.size() == 0) return parallel(B, 8, square);
    for (int64_t b = 0; b < B; ++b) square(b);
  }

  const Formula f;
  T* const z;
  T* x;
  const int64_t B, N;
  const bool is_dual;
  int64_t wide = 0, narrow = 0;
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

  // d_i = Σ_b x_bi²/s, and what the rows have in this tile
  void sum_columns() {
    const bool needs_pieces = is_dual && f.norm == Norm::none;
    if (needs_pieces) pieces = allocate<double>((N + narrow - 1) / narrow * B);
    for_tiles(narrow, [&](int64_t begin, int64_t n) {
      for (int64_t b = 0; b < B; ++b) {
        const T* row = x + b * N + begin;
        if (needs_pieces)
          pieces.get()[begin / narrow * B + b] = add_and_total_squares(d.data() + begin, row, n);
        else
          add_squares(d.data() + begin, row, row_weight[b] * row_weight[b], n);
      }
      for (int64_t i = begin; i < begin + n; ++i) d[i] /= f.s;
    });
  }

  double row_square(int64_t b) const {
    const T* row = x + b * N;
    if (f.norm == Norm::sample) {
      // λ = δ = 1: the norm of a unit row is exact. Infinity becomes NaN.
      if (f.is_whole() && r[b].is_projected && std::isfinite(squared[b])) return 1;
      return is_copied ? dot<T>(row, row, nullptr, N) : squared[b] * row_weight[b] * row_weight[b];
    }
    if (pieces.size() == 0) return dot<T>(row, row, nullptr, N);
    double total = 0;
    for (int64_t i = b; i < pieces.size(); i += B) total += pieces.get()[i];
    return total;
  }

  bool is_copied = false;
  Buffer<T> buffer;
  Buffer<double> pieces;  // Σ x² of a row in a tile of columns, (tiles, B)
  std::vector<double> squared;
};

}  // namespace mflag
