// B ≥ N: the loss by C = xᵀx/s, and the W of ∂L/∂x = x W + left_out·x.
#pragma once
#include <vector>

#include "orthogonality_latents.h"

namespace mflag {

template <typename T>
class Primal {
 public:
  explicit Primal(const Latents<T>& latents) : in(latents), f(in.f), left_out(in.N), N(in.N), g(allocate<T>(N * N)) {}

  // L/a
  double value() {
    gram(in.rows().transposed(), g.get());
    std::vector<double> sums(N);
    parallel(N, 16, [&](int64_t i) {
      T* row = g.get() + i * N;
      row[i] = 0;
      sums[i] = dot<T>(row, row, nullptr, N);
    });
    double excess = 0, squares = 0;
    for (int64_t i = 0; i < N; ++i) {
      excess += (in.d[i] - f.t) * (in.d[i] - f.t);
      squares += sums[i];
    }
    return f.delta * excess + f.lambda * squares / (f.s * f.s);
  }

  // C becomes W·4a/s.
  void prepare() {
    const double outer = 4 * f.a / f.s, inner = f.lambda / f.s;
    double mean = 0;
    for (int64_t i = 0; i < N; ++i) mean += f.delta * (in.d[i] - f.t) / N;
    const std::vector<double> ones(N, 1.0);
    alpha = outer * mean;
    parallel(N, 16, [&](int64_t i) {
      T* row = g.get() + i * N;
      scale_row(row, ones.data(), outer * inner, N);
      row[i] = static_cast<T>(in.is_projected_by_column() ? 0 : outer * (f.delta * (in.d[i] - f.t) - mean));
      left_out[i] = static_cast<T>(in.is_projected_by_column() ? outer * f.delta * (in.d[i] - f.t) : alpha);
    });
  }

  Matrix<T> matrix() const { return {g.get(), N, N, N, 1}; }

  const Latents<T>& in;
  const Formula& f;
  std::vector<T> left_out;
  double alpha = 0;

 private:
  const int64_t N;
  Buffer<T> g;
};

}  // namespace mflag
