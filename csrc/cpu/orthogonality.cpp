// Orthogonality loss and its gradient in one call, CPU, float32 and float64.
//
//   x = z normalised (B, N),  C = xᵀx/s,  d_i = C_ii,  K = xxᵀ
//   L = a [ δ Σ_i (d_i − t)² + λ (‖K‖²/s² − Σ_i d_i²) ]
//   ∂L/∂x = (4a/s) [ λ K x/s + x·diag(c) ],  c_i = δ (d_i − t) − λ d_i
//
// B < N: K, never anything N × N. Otherwise C.
#include <optional>
#include <string>
#include <tuple>

#include "orthogonality_dual.h"
#include "orthogonality_primal.h"

namespace mflag {
namespace {

template <typename T>
class Orthogonality {
 public:
  Orthogonality(const Formula& formula, T* z, int64_t rows, int64_t columns) : in(formula, z, rows, columns), f(in.f), B(rows), N(columns) {
    if (in.is_dual)
      dual.emplace(in, 0, B);
    else
      primal.emplace(in);
  }

  double value(bool need_grad) {
    in.normalise();
    return f.a * (dual ? dual->value(dual->squares(need_grad)) : primal->value());
  }

  bool needs_double() const { return dual && dual->needs_double(); }

  void gradient(T* out) {
    if (primal) primal->prepare();
    const Matrix<T> left = dual ? dual->matrix() : in.rows(), right = dual ? in.rows() : primal->matrix(), result{out, B, N, N, 1};
    parallel_products((N + in.wide - 1) / in.wide, [&](int64_t tile) {
      const int64_t begin = tile * in.wide, n = std::min(in.wide, N - begin);
      multiply(left, right.block(0, right.rows, begin, n), result.block(0, B, begin, n));
      finish_tile(out, begin, n);
    });
    if (f.norm == Norm::sample && primal) finish_rows(out);
  }

 private:
  // The backward of the norm, and what the product left out, for n columns of all rows.
  void finish_tile(T* out, int64_t begin, int64_t n) {
    if (f.norm == Norm::sample) {
      if (dual) dual->finish_product(out, begin, n);
      return;
    }
    const T *left = (dual ? dual->left_out : primal->left_out).data() + begin, *x = in.x;
    if (f.norm == Norm::none) {
      if (!in.needs_d()) return;
      for (int64_t b = 0; b < B; ++b) add_multiples(out + b * N + begin, x + b * N + begin, left, T(1), n);
      return;
    }
    std::vector<double> sum(n, 0.0), radial(n, 0.0);
    std::vector<T> shift(n, 0), multiple(n), inverse(n);
    for (int64_t b = 0; b < B; ++b) {
      if (f.norm != Norm::feature) add_values(sum.data(), out + b * N + begin, n);
      if (f.norm != Norm::center) add_products(radial.data(), x + b * N + begin, out + b * N + begin, n);
    }
    for (int64_t i = 0; i < n; ++i) {
      const Radius& own = in.r[begin + i];
      double kept = own.is_projected ? -radial[i] : left[i];
      if (f.norm == Norm::standardize) kept = -radial[i] / B + left[i] * (variance_eps / (own.r * own.r));
      shift[i] = static_cast<T>(sum[i] / B);
      multiple[i] = static_cast<T>(kept);
      inverse[i] = static_cast<T>(1 / own.r);
    }
    for (int64_t b = 0; b < B; ++b)
      combine_columns(out + b * N + begin, x + b * N + begin, shift.data(), multiple.data(), inverse.data(), n);
  }

  void finish_rows(T* out) {
    parallel(B, 8, [&](int64_t b) {
      T *h = out + b * N, *row = in.x + b * N;
      const double multiple = in.r[b].is_projected ? -dot<T>(row, h, nullptr, N) : primal->alpha;
      combine_row(h, row, static_cast<T>(multiple), static_cast<T>(1 / in.r[b].r), N);
    });
  }

  Latents<T> in;
  const Formula& f;
  const int64_t B, N;
  std::optional<Dual<T>> dual;
  std::optional<Primal<T>> primal;
};

template <typename T>
std::tuple<Tensor, Tensor> run(const Formula& f, const Tensor& z, bool need_grad) {
  auto* data = static_cast<T*>(const_cast<void*>(z.const_data_ptr()));
  Orthogonality<T> loss(f, data, z.size(0), z.size(1));
  Tensor value = torch::stable::new_empty(z, {});
  *static_cast<T*>(value.mutable_data_ptr()) = static_cast<T>(loss.value(need_grad));
  if constexpr (sizeof(T) < sizeof(double)) {
    if (loss.needs_double()) {
      const auto [wide_value, wide_gradient] = run<double>(f, torch::stable::to(z, torch::headeronly::ScalarType::Double), need_grad);
      return {torch::stable::to(wide_value, z.scalar_type()), torch::stable::to(wide_gradient, z.scalar_type())};
    }
  }
  const std::array<int64_t, 2> shape{z.size(0), z.size(1)};
  const std::array<int64_t, 1> nothing{0};
  if (!need_grad) return {value, torch::stable::new_empty(z, nothing)};
  Tensor gradient = torch::stable::new_empty(z, shape);
  advise_huge_pages(gradient.mutable_data_ptr(), gradient.numel() * sizeof(T));
  loss.gradient(static_cast<T*>(gradient.mutable_data_ptr()));
  return {value, gradient};
}

std::tuple<Tensor, Tensor> orthogonality(const Tensor& z, std::string norm, double scale, double target, double offdiag_weight,
                                         double factor, double eps, double diagonal_weight, bool need_grad) {
  STD_TORCH_CHECK(z.dim() == 2 && z.numel() > 0 && z.is_contiguous(), "orthogonality: z must be (B, N), contiguous, not empty");
  const Formula f{norm_of(norm), scale, target, offdiag_weight, factor, eps, diagonal_weight};
  return z.scalar_type() == torch::headeronly::ScalarType::Double ? run<double>(f, z, need_grad) : run<float>(f, z, need_grad);
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) {
  m.def(
      "orthogonality(Tensor z, str norm, float scale, float target, float offdiag_weight, float factor, float eps, "
      "float diagonal_weight, bool need_grad) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) { m.impl("orthogonality", TORCH_BOX(&mflag::orthogonality)); }
