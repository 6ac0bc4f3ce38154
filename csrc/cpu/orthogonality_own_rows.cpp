// Some rows of the gradient of a batch that several processes share: their rows of K alone. What
// needs a sum over all rows comes back unfinished, because the processes have to add it up first.
#include <algorithm>
#include <string>
#include <tuple>

#include "orthogonality_dual.h"

namespace mflag {
namespace {

using Results = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// M x of the rows; finished where no norm runs over the columns.
template <typename T>
void multiply_own(const Dual<T>& dual, T* out) {
  const Latents<T>& in = dual.in;
  const int64_t N = in.N;
  const Matrix<T> result{out, dual.length, N, N, 1};
  parallel_products((N + in.wide - 1) / in.wide, [&](int64_t tile) {
    const int64_t begin = tile * in.wide, n = std::min(in.wide, N - begin);
    multiply(dual.matrix(), in.rows().block(0, in.B, begin, n), result.block(0, dual.length, begin, n));
    dual.finish_product(out, begin, n);
    if (in.f.norm != Norm::none) return;
    for (int64_t b = 0; b < dual.length; ++b)
      add_multiples(out + b * N + begin, in.x + (dual.first + b) * N + begin, dual.left_out.data() + begin, T(1), n);
  });
}

// x of the rows; r, left_out, is_projected of the columns.
template <typename T>
void copy_columns(const Dual<T>& dual, T* x, T* columns) {
  const Latents<T>& in = dual.in;
  const int64_t N = in.N;
  std::copy_n(in.x + dual.first * N, dual.length * N, x);
  for (int64_t i = 0; i < N; ++i) {
    columns[i] = static_cast<T>(in.r[i].r);
    columns[N + i] = dual.left_out[i];
    columns[2 * N + i] = static_cast<T>(in.r[i].is_projected);
  }
}

template <typename T>
Results run(const Formula& f, const Tensor& z, int64_t first, int64_t length, bool need_grad) {
  const auto write = [](const Tensor& t) { return static_cast<T*>(t.mutable_data_ptr()); };
  const auto empty = [&](int64_t rows) { return torch::stable::new_empty(z, std::array<int64_t, 2>{rows, z.size(1)}); };
  Latents<T> in(f, static_cast<T*>(const_cast<void*>(z.const_data_ptr())), z.size(0), z.size(1));
  in.normalise();
  Dual<T> dual(in, first, length);
  Tensor parts = torch::stable::new_empty(z, std::array<int64_t, 1>{2}, torch::headeronly::ScalarType::Double);
  auto* part = static_cast<double*>(parts.mutable_data_ptr());
  part[0] = dual.squares(need_grad);
  part[1] = f.a * dual.value(0);
  if (!need_grad) return {parts, empty(0), empty(0), empty(0)};
  Tensor product = empty(length);
  multiply_own(dual, write(product));
  if (!in.has_column_norm()) return {parts, product, empty(0), empty(0)};
  Tensor x = empty(length), columns = empty(3);
  copy_columns(dual, write(x), write(columns));
  return {parts, product, x, columns};
}

Results orthogonality_own_rows(const Tensor& z, std::string norm, double scale, double target, double offdiag_weight, double factor,
                               double eps, double diagonal_weight, int64_t first, int64_t length, bool need_grad) {
  STD_TORCH_CHECK(z.dim() == 2 && z.is_contiguous() && z.size(0) < z.size(1), "orthogonality_own_rows: z must be (B, N), contiguous, B < N");
  STD_TORCH_CHECK(0 <= first && 0 < length && first + length <= z.size(0), "orthogonality_own_rows: these rows are not in z");
  const Formula f{norm_of(norm), scale, target, offdiag_weight, factor, eps, diagonal_weight};
  if (z.scalar_type() == torch::headeronly::ScalarType::Double) return run<double>(f, z, first, length, need_grad);
  return run<float>(f, z, first, length, need_grad);
}

}  // namespace
}  // namespace mflag

// (parts, product, x, columns). parts: Σ K² of these rows off the diagonal, and L without any of
// it. x and columns are empty where product is ∂L/∂z.
STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) {
  m.def(
      "orthogonality_own_rows(Tensor z, str norm, float scale, float target, float offdiag_weight, float factor, float eps, "
      "float diagonal_weight, int first, int length, bool need_grad) -> (Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) { m.impl("orthogonality_own_rows", TORCH_BOX(&mflag::orthogonality_own_rows)); }
