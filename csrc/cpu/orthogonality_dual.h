// B < N: the loss by K = x xᵀ, of all rows or of some, and the M of ∂L/∂x = M x + left_out·x.
// Multiples of x_b (sample) and of x_i (feature, standardize) vanish in the backward of the norm; M
// leaves them out.
#pragma once
#include <vector>

#include "orthogonality_latents.h"

namespace mflag {

template <typename T>
class Dual {
 public:
  // The rows `first` to `first + length` of K, and of the gradient.
  Dual(const Latents<T>& latents, int64_t first, int64_t length)
      : in(latents), f(in.f), first(first), length(length), left_out(in.N), B(in.B), N(in.N), g(allocate<T>(length * B)) {}

  // Σ K_bc², b one of the rows, c ≠ b any. With `need_grad` K becomes M·4a/s.
  double squares(bool need_grad) {
    multiply_rows();
    sum_rows();
    off_diagonal.resize(length);
    parallel(length, 16, [&](int64_t b) {
      T* row = g.get() + b * B;
      if (f.norm == Norm::sample) scale_row(row, in.row_weight.data(), in.row_weight[first + b], B);
      row[first + b] = 0;
      off_diagonal[b] = dot<T>(row, row, nullptr, B);
      if (need_grad) prepare_row(b);
    });
    double total = 0;
    for (double row : off_diagonal) total += row;
    if (need_grad) leave_out();
    return total;
  }

  // L/a; `squares` of all rows.
  double value(double squares) {
    double trace = 0;
    for (double square : diagonal) {
      squares += square * square;
      trace += square;
    }
    squares /= f.s * f.s;
    if (!in.needs_d()) return squares - 2 * f.t * trace / f.s + static_cast<double>(N) * f.t * f.t;
    double excess = 0, d_squares = 0;
    for (double d : in.d) {
      excess += (d - f.t) * (d - f.t);
      d_squares += d * d;
    }
    const double total = f.delta * excess + f.lambda * (squares - d_squares);
    is_difference = total < f.lambda * squares / 3;
    return total;
  }

  // A small δ, and a few columns that carry nearly everything: value and gradient are small
  // differences of large products.
  bool needs_double() const { return is_difference && f.delta < f.lambda / 4; }

  Matrix<T> matrix() const { return {g.get(), length, B, B, 1}; }

  // What sample has beside M x, for n columns of the rows.
  void finish_product(T* out, int64_t begin, int64_t n) const {
    if (f.norm != Norm::sample || !in.needs_d()) return;
    for (int64_t b = 0; b < length; ++b) {
      const T weight = static_cast<T>(in.row_weight[first + b] * in.out_weight[first + b]);
      add_multiples(out + b * N + begin, in.x + (first + b) * N + begin, left_out.data() + begin, weight, n);
    }
  }

  const Latents<T>& in;
  const Formula& f;
  const int64_t first, length;
  std::vector<T> left_out;

 private:
  void multiply_rows() {
    if (length == B) return gram(in.rows(), g.get());
    const Matrix<T> own = in.rows().block(first, length, 0, N);
    constexpr int64_t side = 64;
    parallel_products((B + side - 1) / side, [&](int64_t tile) {
      const int64_t begin = tile * side, n = std::min(side, B - begin);
      multiply(own, in.rows().block(begin, n, 0, N).transposed(), matrix().block(0, length, begin, n));
    });
  }

  void sum_rows() {
    diagonal.resize(B);
    in.row_squares(diagonal.data());
    double mean = 0;
    for (double square : diagonal) mean += square / B;
    alpha = f.is_whole() && f.norm == Norm::none ? f.t * f.s : mean;
  }

  void prepare_row(int64_t own) {
    const int64_t b = first + own;
    const double outer = 4 * f.a / f.s, inner = f.lambda / f.s, w = in.row_weight[b];
    double kept = inner * (diagonal[b] - alpha);
    if (f.norm == Norm::sample) {
      kept = inner * diagonal[b] - f.delta * f.t;
      if (in.r[b].is_projected) {
        kept = -inner * off_diagonal[own];
        if (in.needs_d()) kept -= (f.delta - f.lambda) * w * w * dot<T>(in.x + b * N, in.x + b * N, in.d.data(), N);
      }
    }
    T* row = g.get() + own * B;
    scale_row(row, in.row_weight.data(), outer * inner * in.out_weight[b], B);
    row[b] = static_cast<T>(outer * kept * w * in.out_weight[b]);
  }

  void leave_out() {
    const double outer = 4 * f.a / f.s, inner = f.lambda / f.s;
    for (int64_t i = 0; i < N; ++i) {
      const double c = in.needs_d() ? f.delta * (in.d[i] - f.t) - f.lambda * in.d[i] : -f.t;
      left_out[i] = static_cast<T>(outer * (f.norm == Norm::sample ? (f.delta - f.lambda) * in.d[i] : c + inner * alpha));
    }
  }

  const int64_t B, N;
  Buffer<T> g;
  double alpha = 0;
  bool is_difference = false;
  std::vector<double> diagonal, off_diagonal;
};

}  // namespace mflag
