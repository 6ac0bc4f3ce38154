// Alignment loss and its gradients in one parallel region, CPU.
//
//   L = f/B Σ_b (2 − 2 cos_b),  cos = ⟨a, t⟩/(r_a r_t),  r = max(‖·‖, ε),  t = table[index[b]] or z_t[b]
//   ∂L/∂a = −2f/B (t − q a)/(r_a r_t),  q = ⟨a, t⟩/‖a‖²  (‖a‖ < ε: q = 0),  and by symmetry ∂L/∂t
//
// A row is read once from memory; its gradient is worked out while it is in the L1 cache. With q, not
// cos, the radial part is rounded once: near cos = 1 the gradient is what is left of two equal vectors.
// Each row is summed by one thread in a fixed order: the bits do not depend on the number of threads.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "alignment_rows.h"

namespace mflag {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr double eps = 1e-12;

struct Matrix {
  explicit Matrix(const Tensor& z) : data(z.const_data_ptr()), type(z.scalar_type()), stride(z.stride(0)), step(z.stride(1)) {}

  // The row itself, or a copy in the type of the arithmetic.
  template <typename T>
  const T* row(int64_t i, int64_t columns, std::vector<T>& copy) const {
    constexpr auto own = sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float;
    if (type == own && step == 1) return static_cast<const T*>(data) + i * stride;
    copy.resize(columns);
    if (type == ScalarType::Half)
      widen_row(copy.data(), static_cast<const Half*>(data) + i * stride, step, columns);
    else if (type == ScalarType::BFloat16)
      widen_row(copy.data(), static_cast<const BFloat16*>(data) + i * stride, step, columns);
    else
      widen_row(copy.data(), static_cast<const T*>(data) + i * stride, step, columns);
    return copy.data();
  }

  const void* data;
  ScalarType type;
  int64_t stride, step;
};

struct Index {
  explicit Index(const std::optional<Tensor>& index)
      : data(index ? static_cast<const int64_t*>(index->const_data_ptr()) : nullptr), stride(index ? index->stride(0) : 0) {}

  int64_t operator[](int64_t b) const { return data ? data[b * stride] : b; }

  // The first place that holds no row of the table, or −1.
  int64_t first_outside(int64_t B, int64_t rows) const {
    for (int64_t b = 0; data && b < B; ++b)
      if (data[b * stride] < 0 || data[b * stride] >= rows) return b;
    return -1;
  }

  const int64_t* data;
  int64_t stride;
};

template <typename O>
struct Gradients {
  O *a, *t;  // (B, D), or null
};

// 2 − 2 cos of a row, and its gradients.
template <typename A, typename T, typename O>
double align_row(const A* a, const T* t, double slope, Gradients<O> out, int64_t D) {
  const Sums s = sums(a, t, D);
  const bool a_is_short = s.aa < eps * eps, t_is_short = s.tt < eps * eps;  // NaN is not short, and stays NaN
  const double scale = 1 / ((a_is_short ? eps : std::sqrt(s.aa)) * (t_is_short ? eps : std::sqrt(s.tt)));
  if (out.a) project_row(out.a, a, t, a_is_short ? 0 : s.at / s.aa, slope * scale, D);
  if (out.t) project_row(out.t, t, a, t_is_short ? 0 : s.at / s.tt, slope * scale, D);
  return 2 - 2 * s.at * scale;
}

template <typename A, typename T, typename O>
double align(const Tensor& z_a, const Tensor& z_t, const Index& index, double factor, Gradients<O> out) {
  const Matrix left(z_a), right(z_t);
  const int64_t B = z_a.size(0), D = z_a.size(1);
  const double slope = -2 * factor / B;
  std::vector<double> rows(B);
  const int64_t grain = std::max<int64_t>(1, 16384 / D);  // below that a second thread costs more than it saves
  torch::stable::parallel_for(0, B, grain, [&](int64_t begin, int64_t end) {
    std::vector<A> a;
    std::vector<T> t;
    for (int64_t b = begin; b < end; ++b) {
      const Gradients<O> own{out.a ? out.a + b * D : nullptr, out.t ? out.t + b * D : nullptr};
      rows[b] = align_row(left.row(b, D, a), right.row(index[b], D, t), slope, own, D);
    }
  });
  double total = 0;
  for (double value : rows) total += value;
  return factor * (total / B);
}

template <typename A>
Tensor run(const Tensor& z_a, const Tensor& z_t, const Index& index, double factor, Tensor* gradients) {
  const auto place = [](Tensor& g) { return g.numel() ? static_cast<A*>(g.mutable_data_ptr()) : nullptr; };
  const Gradients<A> out{place(gradients[0]), place(gradients[1])};
  const double value = z_t.scalar_type() == ScalarType::Double ? align<A, double>(z_a, z_t, index, factor, out)
                                                               : align<A, float>(z_a, z_t, index, factor, out);
  Tensor loss = torch::stable::new_empty(gradients[0], {});
  *static_cast<A*>(loss.mutable_data_ptr()) = static_cast<A>(value);
  return loss;
}

// Shapes and dtypes are checked in Python; the index here, where it is read anyway. The last result is
// the first place in it that holds no row of the table, or −1.
std::tuple<Tensor, Tensor, Tensor, int64_t> alignment(const Tensor& z_a, const Tensor& z_t, std::optional<Tensor> index,
                                                      double factor, bool need_grad_a, bool need_grad_t) {
  const bool is_double = z_a.scalar_type() == ScalarType::Double;
  const auto wide = is_double ? ScalarType::Double : ScalarType::Float;
  const int64_t B = z_a.size(0), D = z_a.size(1);
  const std::array<int64_t, 2> shape{B, D};
  const std::array<int64_t, 1> nothing{0};
  const auto empty = [&](bool is_needed) {
    return is_needed ? torch::stable::new_empty(z_a, shape, wide) : torch::stable::new_empty(z_a, nothing, wide);
  };
  Tensor gradients[2] = {empty(need_grad_a), empty(need_grad_t)};
  const Index rows(index);
  const int64_t outside = rows.first_outside(B, z_t.size(0));
  if (outside >= 0) return {gradients[0], gradients[0], gradients[1], outside};
  Tensor loss = is_double ? run<double>(z_a, z_t, rows, factor, gradients) : run<float>(z_a, z_t, rows, factor, gradients);
  return {loss, gradients[0], gradients[1], -1};
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) {
  m.def(
      "alignment(Tensor z_a, Tensor z_t, Tensor? index, float factor, bool need_grad_a, bool need_grad_t) "
      "-> (Tensor, Tensor, Tensor, int)");
}

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) { m.impl("alignment", TORCH_BOX(&mflag::alignment)); }
