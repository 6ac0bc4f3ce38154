// Barlow Twins loss of two views and both gradients in one call, CPU, float32 and float64.
//
//   x, y = z_a, z_b standardised (B, N),  C = xᵀy/B,  d_i = C_ii,  K_x = xxᵀ,  K_y = yyᵀ
//   L = Σ_i (d_i − 1)² + λ (⟨K_x, K_y⟩/B² − Σ_i d_i²)
//   ∂L/∂x = (2/B) [ λ K_y x/B + y·diag(c) ],  c_i = (d_i − 1) − λ d_i;  ∂L/∂y by symmetry
//
// B < N: K_x and K_y, never anything N × N. Otherwise C, and
//   ∂L/∂x = (2/B) [ λ y C̃ᵀ + y·diag(c) ],  c_i = d_i − 1,  C̃ is C with an empty diagonal.
//
// Multiples of x_i vanish in the backward of the norm but for ε/r² of them. They are left out:
//   K_y x = (K_y − αI) x + α x,  y_i = (y_i − d_i x_i) + d_i x_i
#include <tuple>
#include <vector>

#include "orthogonality_latents.h"

namespace mflag {
namespace {

template <typename T>
class BarlowTwins {
 public:
  BarlowTwins(double lambda, T* z_a, T* z_b, int64_t rows, int64_t columns)
      : lambda(lambda), B(rows), N(columns), x(standardize(rows), z_a, rows, columns), y(standardize(rows), z_b, rows, columns), d(columns) {}

  double value(bool need_grad) {
    x.normalise();
    y.normalise();
    x.sum_over_rows(d, [&](double* sum, int64_t b) { add_products(sum, x.x + b * N, y.x + b * N, N); });
    for (double& value : d) value /= B;
    const double squares = x.is_dual ? multiply_grams(need_grad) : multiply_views(need_grad);
    double excess = 0, diagonal = 0;
    for (const double value : d) {
      excess += (value - 1) * (value - 1);
      diagonal += value * value;
    }
    return excess + lambda * (x.is_dual ? squares - diagonal : squares);
  }

  void gradients(T* out_x, T* out_y) {
    if (x.is_dual) {
      finish_products({g_y.get(), B, B, B, 1}, x.rows(), x, y, alpha_y, out_x);
      finish_products({g_x.get(), B, B, B, 1}, y.rows(), y, x, alpha_x, out_y);
    } else {
      const Matrix<T> C{g_x.get(), N, N, N, 1};
      finish_products(y.rows(), C.transposed(), x, y, 0, out_x);
      finish_products(x.rows(), C, y, x, 0, out_y);
    }
  }

 private:
  static Formula standardize(int64_t rows) { return {Norm::standardize, static_cast<double>(rows), 1, 1, 1, 0, 1}; }

  // ⟨K_x, K_y⟩/B². The two become (K − αI)·2λ/B².
  double multiply_grams(bool need_grad) {
    g_x = allocate<T>(B * B);
    g_y = allocate<T>(B * B);
    gram(x.rows(), g_x.get());
    gram(y.rows(), g_y.get());
    std::vector<double> square_x(B), square_y(B), sums(B);
    x.row_squares(square_x.data());
    y.row_squares(square_y.data());
    for (int64_t b = 0; b < B; ++b) {
      alpha_x += square_x[b] / B;
      alpha_y += square_y[b] / B;
    }
    const std::vector<double> ones(B, 1.0);
    const double outer = 2 * lambda / B / B;
    parallel(B, 16, [&](int64_t b) {
      T *row_x = g_x.get() + b * B, *row_y = g_y.get() + b * B;
      row_x[b] = row_y[b] = 0;
      sums[b] = dot<T>(row_x, row_y, nullptr, B) + square_x[b] * square_y[b];
      if (!need_grad) return;
      scale_row(row_x, ones.data(), outer, B);
      scale_row(row_y, ones.data(), outer, B);
      row_x[b] = static_cast<T>(outer * (square_x[b] - alpha_x));
      row_y[b] = static_cast<T>(outer * (square_y[b] - alpha_y));
    });
    double total = 0;
    for (const double sum : sums) total += sum;
    return total / B / B;
  }

  // Σ_{i≠j} C_ij². B·C becomes C̃·2λ/B.
  double multiply_views(bool need_grad) {
    g_x = allocate<T>(N * N);
    const Matrix<T> left = x.rows().transposed(), C{g_x.get(), N, N, N, 1};
    constexpr int64_t side = 128;
    parallel_products((N + side - 1) / side, [&](int64_t tile) {
      const int64_t begin = tile * side, n = std::min(side, N - begin);
      multiply(left, y.rows().block(0, B, begin, n), C.block(0, N, begin, n));
    });
    std::vector<double> sums(N);
    const std::vector<double> ones(N, 1.0);
    parallel(N, 16, [&](int64_t i) {
      T* row = g_x.get() + i * N;
      row[i] = 0;
      sums[i] = dot<T>(row, row, nullptr, N);
      if (need_grad) scale_row(row, ones.data(), 2 * lambda / B / B, N);
    });
    double total = 0;
    for (const double sum : sums) total += sum;
    return total / B / B;
  }

  // out = left·right, plus y·diag(c), through the standardisation of `own`; `alpha` was left out.
  void finish_products(const Matrix<T>& left, const Matrix<T>& right, const Latents<T>& own, const Latents<T>& other, double alpha,
                       T* out) {
    const Matrix<T> result{out, B, N, N, 1};
    parallel_products((N + own.wide - 1) / own.wide, [&](int64_t tile) {
      const int64_t begin = tile * own.wide, n = std::min(own.wide, N - begin);
      multiply(left, right.block(0, right.rows, begin, n), result.block(0, B, begin, n));
      finish_tile(out, own, other, alpha, begin, n);
    });
  }

  void finish_tile(T* out, const Latents<T>& own, const Latents<T>& other, double alpha, int64_t begin, int64_t n) const {
    std::vector<double> sum(n, 0.0), radial(n, 0.0);
    std::vector<T> weight(n), cosine(n), shift(n), multiple(n), inverse(n);
    const auto c = [&](int64_t i) { return (d[i] - 1) - (own.is_dual ? lambda * d[i] : 0); };
    for (int64_t i = 0; i < n; ++i) {
      weight[i] = static_cast<T>(2 / static_cast<double>(B) * c(begin + i));
      cosine[i] = static_cast<T>(d[begin + i]);
    }
    for (int64_t b = 0; b < B; ++b) {
      T *h = out + b * N + begin, *x = own.x + b * N + begin, *y = other.x + b * N + begin;
      add_residuals(h, x, y, weight.data(), cosine.data(), sum.data(), radial.data(), n);
    }
    for (int64_t i = 0; i < n; ++i) {
      const double radius = own.r[begin + i].r, left_out = 2 / static_cast<double>(B) * (lambda * alpha / B + c(begin + i) * d[begin + i]);
      shift[i] = static_cast<T>(sum[i] / B);
      multiple[i] = static_cast<T>(-radial[i] / B + left_out * (variance_eps / (radius * radius)));
      inverse[i] = static_cast<T>(1 / radius);
    }
    for (int64_t b = 0; b < B; ++b)
      combine_columns(out + b * N + begin, own.x + b * N + begin, shift.data(), multiple.data(), inverse.data(), n);
  }

  const double lambda;
  const int64_t B, N;
  Latents<T> x, y;
  Buffer<T> g_x, g_y;
  double alpha_x = 0, alpha_y = 0;
  std::vector<double> d;
};

template <typename T>
std::tuple<Tensor, Tensor, Tensor> run(const Tensor& z_a, const Tensor& z_b, double lambda, bool need_grad) {
  const auto read = [](const Tensor& z) { return static_cast<T*>(const_cast<void*>(z.const_data_ptr())); };
  BarlowTwins<T> loss(lambda, read(z_a), read(z_b), z_a.size(0), z_a.size(1));
  Tensor value = torch::stable::new_empty(z_a, {});
  *static_cast<T*>(value.mutable_data_ptr()) = static_cast<T>(loss.value(need_grad));
  const std::array<int64_t, 2> shape{z_a.size(0), z_a.size(1)};
  const std::array<int64_t, 1> nothing{0};
  if (!need_grad) return {value, torch::stable::new_empty(z_a, nothing), torch::stable::new_empty(z_a, nothing)};
  Tensor gradient_a = torch::stable::new_empty(z_a, shape), gradient_b = torch::stable::new_empty(z_a, shape);
  loss.gradients(static_cast<T*>(gradient_a.mutable_data_ptr()), static_cast<T*>(gradient_b.mutable_data_ptr()));
  return {value, gradient_a, gradient_b};
}

std::tuple<Tensor, Tensor, Tensor> barlow_twins(const Tensor& z_a, const Tensor& z_b, double offdiag_weight, bool need_grad) {
  const auto is_batch = [](const Tensor& z) { return z.dim() == 2 && z.numel() > 0 && z.is_contiguous(); };
  STD_TORCH_CHECK(is_batch(z_a) && is_batch(z_b), "barlow_twins: z must be (B, N), contiguous, not empty");
  const bool is_equal = z_a.size(0) == z_b.size(0) && z_a.size(1) == z_b.size(1) && z_a.scalar_type() == z_b.scalar_type();
  STD_TORCH_CHECK(is_equal, "barlow_twins: the views must have one shape and dtype");
  if (z_a.scalar_type() == torch::headeronly::ScalarType::Double) return run<double>(z_a, z_b, offdiag_weight, need_grad);
  return run<float>(z_a, z_b, offdiag_weight, need_grad);
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) {
  m.def("barlow_twins(Tensor z_a, Tensor z_b, float offdiag_weight, bool need_grad) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) { m.impl("barlow_twins", TORCH_BOX(&mflag::barlow_twins)); }
