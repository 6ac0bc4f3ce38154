// Orthogonality loss and its gradient in one call, CPU, float32 and float64.
//
//   x = z normalised (B, N),  C = xᵀx/s,  d_i = C_ii,  K = xxᵀ
//   L = a [ Σ_i (d_i − t)² + λ (‖K‖²/s² − Σ_i d_i²) ]
//   ∂L/∂x = (4a/s) [ λ K x/s + x·diag(c) ],  c_i = (d_i − t) − λ d_i
//
// B < N: K, never anything N × N. Otherwise C. Multiples of x_b (sample) and of x_i (feature,
// standardize) vanish in the backward of the norm; they are left out before the product.
#include <cmath>
#include <string>
#include <tuple>

#include "orthogonality_gram.h"
#include "orthogonality_rows.h"

namespace mflag {
namespace {

constexpr double variance_eps = 1e-5;

enum class Norm { none, sample, feature, standardize };

Norm norm_of(const std::string& name) {
  return name == "none" ? Norm::none : name == "sample" ? Norm::sample : name == "feature" ? Norm::feature : Norm::standardize;
}

struct Formula {
  Norm norm;
  double s, t, lambda, a, eps;
};

struct Radius {  // r and whether x lies on the unit sphere; NaN is neither, and stays NaN
  double r;
  bool is_projected;
};

Radius radius(double squared, double eps) {
  const bool is_short = squared < eps * eps;
  return {is_short ? eps : std::sqrt(squared), !is_short};
}

template <typename T>
class Orthogonality {
 public:
  Orthogonality(const Formula& formula, T* z, int64_t rows, int64_t columns)
      : f(formula), z(z), x(z), B(rows), N(columns), is_dual(rows < columns), d(columns), left_out(columns, 0) {
    // Tiles of columns: wide for a fast product, narrow where a tile is read three times from the L2 cache.
    wide = std::clamp<int64_t>((int64_t{1} << 18) / B / 32 * 32, 64, 256);
    narrow = std::clamp<int64_t>((int64_t{1} << 15) / B / 32 * 32, 32, 256);
  }

  double value(bool need_grad) {
    normalise();
    const Matrix<T> rows{x, B, N, N, 1};
    m = is_dual ? B : N;
    g = allocate<T>(m * m);
    gram(is_dual ? rows : rows.transposed(), g.get());
    return f.a * (is_dual ? dual_value(need_grad) : primal_value());
  }

  void gradient(T* out) {
    is_dual ? leave_out() : prepare_primal();
    const Matrix<T> left{is_dual ? g.get() : x, B, m, m, 1}, right{is_dual ? x : g.get(), m, N, N, 1}, result{out, B, N, N, 1};
    parallel_products((N + wide - 1) / wide, [&](int64_t tile) {
      const int64_t begin = tile * wide, n = std::min(wide, N - begin);
      multiply(left, right.block(0, m, begin, n), result.block(0, B, begin, n));
      for (int64_t i = begin; i < begin + n; i += narrow) finish_tile(out, i, std::min(narrow, begin + n - i));
    });
    if (f.norm == Norm::sample && !is_dual) finish_rows(out);
  }

 private:
  template <typename F>
  void for_tiles(int64_t width, const F& work) {
    parallel((N + width - 1) / width, 1, [&](int64_t tile) { work(tile * width, std::min(width, N - tile * width)); });
  }

  bool has_column_norm() const { return f.norm == Norm::feature || f.norm == Norm::standardize; }
  bool is_unit_dual() const { return f.norm == Norm::sample && is_dual; }
  bool needs_d() const { return !is_dual || f.lambda != 1; }  // dual and λ = 1: the d_i drop out

  void normalise() {
    row_weight.assign(B, 1.0);
    out_weight.assign(B, 1.0);
    if (has_column_norm()) {
      take_buffer();
      r.resize(N);
      if (is_dual) pieces.resize((N + narrow - 1) / narrow * B);
      for_tiles(narrow, [&](int64_t begin, int64_t n) { normalise_columns(begin, n); });
    } else if (f.norm == Norm::sample) {
      normalise_rows();
    }
    if (!has_column_norm() && needs_d()) sum_columns();
  }

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

  void normalise_columns(int64_t begin, int64_t n) {
    std::vector<double> mean(n, 0.0), inverse(n), squares(n, 0.0);
    if (f.norm == Norm::standardize) {
      for (int64_t b = 0; b < B; ++b) add_values(mean.data(), z + b * N + begin, n);
      for (double& value : mean) value /= B;
    }
    for (int64_t b = 0; b < B; ++b) add_deviations(squares.data(), z + b * N + begin, mean.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      r[begin + i] = f.norm == Norm::feature ? radius(squares[i], f.eps) : Radius{std::sqrt(squares[i] / B + variance_eps), true};
      inverse[i] = 1 / r[begin + i].r;
    }
    std::fill(squares.begin(), squares.end(), 0.0);
    for (int64_t b = 0; b < B; ++b) {
      T* row = x + b * N + begin;
      shift_and_scale(row, z + b * N + begin, mean.data(), inverse.data(), n);
      const double total = add_and_total_squares(squares.data(), row, n);
      if (is_dual) pieces[begin / narrow * B + b] = total;
    }
    for (int64_t i = 0; i < n; ++i) d[begin + i] = squares[i] / f.s;
  }

  // d_i = Σ_b x_bi²/s, and what the rows have in this tile
  void sum_columns() {
    if (f.norm == Norm::none) pieces.resize((N + narrow - 1) / narrow * B);
    for_tiles(narrow, [&](int64_t begin, int64_t n) {
      for (int64_t b = 0; b < B; ++b) {
        const T* row = x + b * N + begin;
        if (f.norm == Norm::none)
          pieces[begin / narrow * B + b] = add_and_total_squares(d.data() + begin, row, n);
        else
          add_squares(d.data() + begin, row, row_weight[b] * row_weight[b], n);
      }
      for (int64_t i = begin; i < begin + n; ++i) d[i] /= f.s;
    });
  }

  // ‖x_b‖²
  double row_square(int64_t b) const {
    const T* row = x + b * N;
    if (f.norm == Norm::sample) {
      // λ = 1: the norm of a unit row is exact. Infinity becomes NaN.
      if (f.lambda == 1 && r[b].is_projected && std::isfinite(squared[b])) return 1;
      return is_copied ? dot<T>(row, row, nullptr, N) : squared[b] * row_weight[b] * row_weight[b];
    }
    if (pieces.empty()) return dot<T>(row, row, nullptr, N);
    double total = 0;
    for (size_t i = b; i < pieces.size(); i += B) total += pieces[i];
    return total;
  }

  double dual_value(bool need_grad) {
    diagonal.resize(B);
    off_diagonal.resize(B);
    const auto sum_row = [&](int64_t b) { diagonal[b] = row_square(b); };
    if (pieces.empty())
      parallel(B, 8, sum_row);
    else
      for (int64_t b = 0; b < B; ++b) sum_row(b);
    double mean = 0;
    for (int64_t b = 0; b < B; ++b) mean += diagonal[b] / B;
    alpha = f.lambda == 1 && f.norm == Norm::none ? f.t * f.s : mean;
    parallel(B, 16, [&](int64_t b) {
      T* row = g.get() + b * B;
      if (is_unit_dual()) scale_row(row, row_weight.data(), row_weight[b], B);
      row[b] = 0;
      off_diagonal[b] = dot<T>(row, row, nullptr, B);
      if (need_grad) prepare_row(b);
    });
    double squares = 0, trace = 0;
    for (int64_t b = 0; b < B; ++b) {
      squares += off_diagonal[b] + diagonal[b] * diagonal[b];
      trace += diagonal[b];
    }
    squares /= f.s * f.s;
    if (!needs_d()) return squares - 2 * f.t * trace / f.s + static_cast<double>(N) * f.t * f.t;
    double excess = 0, d_squares = 0;
    for (int64_t i = 0; i < N; ++i) {
      excess += (d[i] - f.t) * (d[i] - f.t);
      d_squares += d[i] * d[i];
    }
    return excess + f.lambda * (squares - d_squares);
  }

  double primal_value() {
    std::vector<double> sums(N);
    parallel(N, 16, [&](int64_t i) {
      T* row = g.get() + i * N;
      row[i] = 0;
      sums[i] = dot<T>(row, row, nullptr, N);
    });
    double excess = 0, squares = 0;
    for (int64_t i = 0; i < N; ++i) {
      excess += (d[i] - f.t) * (d[i] - f.t);
      squares += sums[i];
    }
    return excess + f.lambda * squares / (f.s * f.s);
  }

  // K becomes M·4a/s, so that the gradient needs one product.
  void prepare_row(int64_t b) {
    const double outer = 4 * f.a / f.s, inner = f.lambda / f.s, w = row_weight[b];
    double kept = inner * (diagonal[b] - alpha);
    if (f.norm == Norm::sample) {
      kept = inner * diagonal[b] - f.t;
      if (r[b].is_projected) {
        kept = -inner * off_diagonal[b];
        if (needs_d()) kept -= (1 - f.lambda) * w * w * dot<T>(x + b * N, x + b * N, d.data(), N);
      }
    }
    T* row = g.get() + b * B;
    scale_row(row, row_weight.data(), outer * inner * out_weight[b], B);
    row[b] = static_cast<T>(outer * kept * w * out_weight[b]);
  }

  void leave_out() {
    const double outer = 4 * f.a / f.s, inner = f.lambda / f.s;
    for (int64_t i = 0; i < N; ++i) {
      const double c = needs_d() ? (d[i] - f.t) - f.lambda * d[i] : -f.t;
      left_out[i] = static_cast<T>(outer * (f.norm == Norm::sample ? (1 - f.lambda) * d[i] : c + inner * alpha));
    }
  }

  void prepare_primal() {
    const double outer = 4 * f.a / f.s, inner = f.lambda / f.s;
    double mean = 0;
    for (int64_t i = 0; i < N; ++i) mean += (d[i] - f.t) / N;
    row_weight.assign(N, 1.0);
    alpha_outer = outer * mean;
    parallel(N, 16, [&](int64_t i) {
      T* row = g.get() + i * N;
      scale_row(row, row_weight.data(), outer * inner, N);
      row[i] = static_cast<T>(has_column_norm() ? 0 : outer * (d[i] - f.t - mean));
      left_out[i] = static_cast<T>(has_column_norm() ? outer * (d[i] - f.t) : alpha_outer);
    });
  }

  // The backward of the norm, and what the product left out, for n columns of all rows.
  void finish_tile(T* out, int64_t begin, int64_t n) {
    T* left = left_out.data() + begin;
    if (f.norm == Norm::sample) {
      if (!is_dual || !needs_d()) return;
      for (int64_t b = 0; b < B; ++b)
        add_multiples(out + b * N + begin, x + b * N + begin, left, static_cast<T>(row_weight[b] * out_weight[b]), n);
      return;
    }
    if (f.norm == Norm::none) {
      if (!needs_d()) return;
      for (int64_t b = 0; b < B; ++b) add_multiples(out + b * N + begin, x + b * N + begin, left, T(1), n);
      return;
    }
    std::vector<double> sum(n, 0.0), radial(n, 0.0);
    std::vector<T> shift(n, 0), multiple(n), inverse(n);
    for (int64_t b = 0; b < B; ++b) {
      if (f.norm == Norm::standardize) add_values(sum.data(), out + b * N + begin, n);
      add_products(radial.data(), x + b * N + begin, out + b * N + begin, n);
    }
    for (int64_t i = 0; i < n; ++i) {
      const Radius& own = r[begin + i];
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
      T *h = out + b * N, *row = x + b * N;
      const double multiple = r[b].is_projected ? -dot<T>(row, h, nullptr, N) : alpha_outer;
      combine_row(h, row, static_cast<T>(multiple), static_cast<T>(1 / r[b].r), N);
    });
  }

  const Formula f;
  T* const z;
  T* x;
  const int64_t B, N;
  const bool is_dual;
  int64_t m = 0, wide = 0, narrow = 0;
  bool is_copied = false;
  double alpha = 0, alpha_outer = 0;
  Buffer<T> buffer, g;
  // row_weight: x_b is this times what stands in x; out_weight: 1/r_b, for sample.
  // pieces: Σ x² of a row in a tile of columns, (tiles, B).
  std::vector<double> d, row_weight, out_weight, squared, pieces, diagonal, off_diagonal;
  std::vector<Radius> r;
  std::vector<T> left_out;
};

template <typename T>
std::tuple<Tensor, Tensor> run(const Formula& f, const Tensor& z, bool need_grad) {
  auto* data = static_cast<T*>(const_cast<void*>(z.const_data_ptr()));
  Orthogonality<T> loss(f, data, z.size(0), z.size(1));
  Tensor value = torch::stable::new_empty(z, {});
  *static_cast<T*>(value.mutable_data_ptr()) = static_cast<T>(loss.value(need_grad));
  const std::array<int64_t, 2> shape{z.size(0), z.size(1)};
  const std::array<int64_t, 1> nothing{0};
  if (!need_grad) return {value, torch::stable::new_empty(z, nothing)};
  Tensor gradient = torch::stable::new_empty(z, shape);
  loss.gradient(static_cast<T*>(gradient.mutable_data_ptr()));
  return {value, gradient};
}

std::tuple<Tensor, Tensor> orthogonality(const Tensor& z, std::string norm, double scale, double target, double offdiag_weight,
                                         double factor, double eps, double diagonal_weight, bool need_grad) {
  STD_TORCH_CHECK(diagonal_weight == 1, "orthogonality: the weight of the diagonal must be 1");
  STD_TORCH_CHECK(z.dim() == 2 && z.numel() > 0 && z.is_contiguous(), "orthogonality: z must be (B, N), contiguous, not empty");
  const Formula f{norm_of(norm), scale, target, offdiag_weight, factor, eps};
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
