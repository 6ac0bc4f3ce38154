// One call of the orthogonality loss: the formula, and where each launch leaves what the next needs.
//
//   x = z normalised (B, N),  d_i = Σ_b x_bi²/s,  K = xxᵀ (dual, B < N) or xᵀx (primal), diagonal 0
//   L = a [ δ Σ_i (d_i − t)² + λ Σ_{i≠j} C_ij² ],  C = xᵀx/s
//     = a [ δ Σ_i (d_i − t)² + λ (‖xxᵀ‖²/s² − Σ_i d_i²) ]                      (dual)
//
// Multiples of x_b (sample) and of x_i (feature, standardize) vanish in the backward of the norm;
// they never enter the product (mflag/ops/orthogonality_reference.py).
#pragma once
#include "device.cuh"

namespace mflag::orthogonality {

enum Norm : int { none, center, sample, feature, standardize };
constexpr double variance_eps = 1e-5;

struct Formula {
  Norm norm;
  double s, t, lambda, a, eps, delta;
};

struct Problem {
  Formula f;
  int64_t B, N;
  bool is_dual;
  bool is_whole;  // dual and λ = δ: the d_i drop out of the loss, and x_bᵀx_b of a unit row is exact
  bool is_raw;    // the small gradient kernel leaves Kx as it is: sample with λ ≠ δ needs sums of rows
  // (rows or columns): 1/r, negative where r is ε and nothing is projected away
  double* inverse;
  double* pieces;          // dual: Σ x² of a row in a tile or slot of columns, (B, n_pieces)
  int64_t n_pieces;
  double* column_squares;  // s d_i, (N)
  float* gram;             // K, rows `stride` apart
  int64_t side, stride;
  double* off;             // Σ K², in n_off pieces; (tiles, B) in the small kernel
  int64_t n_off;
  double* diagonal;        // dual: ‖x_b‖², (B)
  float* kept;             // dual: the multiple of x_b that stays, (B)
  double* alpha;           // the multiple of x left out of all
  float *loss, *gradient;
  unsigned* counters;

  // Worked out by the host: a float64 division takes a subroutine and its registers.
  double inverse_s, inverse_B, inner, outer;  // 1/s, 1/B, λ/s, 4a/s

  // The multiple of x_i that the product lacks.
  __device__ double left_out(int64_t i) const {
    if (is_whole) return inner * *alpha - f.delta * f.t;
    const double d = column_squares[i] * inverse_s;
    if (!is_dual) return f.delta * (d - f.t);
    return f.delta * (d - f.t) - f.lambda * d + inner * *alpha;
  }
};

__device__ inline bool has_mean(int norm) { return norm == center || norm == standardize; }
__device__ inline bool has_radius(int norm) { return norm == feature || norm == standardize; }

// Four values of a row, as far as there are that many, in float32.
template <typename T>
__device__ inline float4 load4(const T* place, int64_t n, bool is_aligned) {
  struct alignas(4 * sizeof(T)) Four {
    T values[4];
  };
  if (is_aligned && n >= 4) {
    const Four four = *reinterpret_cast<const Four*>(place);
    return make_float4(to_float(four.values[0]), to_float(four.values[1]), to_float(four.values[2]), to_float(four.values[3]));
  }
  float4 value = make_float4(0, 0, 0, 0);
  if (n > 0) value.x = to_float(place[0]);
  if (n > 1) value.y = to_float(place[1]);
  if (n > 2) value.z = to_float(place[2]);
  if (n > 3) value.w = to_float(place[3]);
  return value;
}

__device__ inline void store4(float* place, const float4& value, int64_t n, bool is_aligned) {
  if (is_aligned && n >= 4) {
    *reinterpret_cast<float4*>(place) = value;
    return;
  }
  if (n > 0) place[0] = value.x;
  if (n > 1) place[1] = value.y;
  if (n > 2) place[2] = value.z;
  if (n > 3) place[3] = value.w;
}

// The lower triangle of tiles, row by row.
__device__ inline void place_of(unsigned pair, int& tile_row, int& tile_column) {
  tile_row = static_cast<int>((sqrtf(8.0f * static_cast<float>(pair) + 1) - 1) / 2);
  const auto before = [](int64_t row) { return row * (row + 1) / 2; };
  while (before(tile_row) > pair) --tile_row;
  while (before(tile_row + 1) <= pair) ++tile_row;
  tile_column = static_cast<int>(pair - before(tile_row));
}

// Rows of the tile on the diagonal: ‖x_b‖² from its pieces, a warp a row.
__device__ inline void sum_pieces(const Problem& p, int64_t first, int64_t end) {
  const int lane = threadIdx.x % 32;
  for (int64_t b = first + threadIdx.x / 32; b < min(end, p.B); b += blockDim.x / 32) {
    double own = 0;
    for (int64_t i = lane; i < p.n_pieces; i += 32) own += __ldcg(p.pieces + b * p.n_pieces + i);
    own = warp_sum(own);
    if (lane == 0) p.diagonal[b] = own;
  }
}

// The last block of the launch that made K: the loss, and what the gradient needs of all rows.
__device__ inline void finish_value(const Problem& p) {
  __shared__ double scratch[32];
  const Formula& f = p.f;
  const auto total = [&](int64_t n, const auto& term) {
    double own = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) own += term(i);
    return block_sum(own, scratch);
  };
  const auto d = [&](int64_t i) { return __ldcg(p.column_squares + i) * p.inverse_s; };
  const auto square = [](double value) { return value * value; };
  const double off = total(p.n_off, [&](int64_t i) { return __ldcg(p.off + i); }) * p.inverse_s * p.inverse_s;
  double excess = 0;
  if (!p.is_whole) excess = total(p.N, [&](int64_t i) { return square(d(i) - f.t); });
  if (!p.is_dual) {
    const double alpha = f.delta * total(p.N, [&](int64_t i) { return d(i) - f.t; }) / p.N;
    if (threadIdx.x == 0) *p.alpha = alpha, *p.loss = static_cast<float>(f.a * (f.delta * excess + f.lambda * off));
    return;
  }
  const auto diagonal = [&](int64_t b) { return __ldcg(p.diagonal + b); };
  const double trace = total(p.B, diagonal);
  const double squares = off + total(p.B, [&](int64_t b) { return square(diagonal(b)); }) * p.inverse_s * p.inverse_s;
  double value;
  if (p.is_whole)  // nothing cancels
    value = f.delta * (squares - 2 * f.t * trace * p.inverse_s + p.N * f.t * f.t);
  else
    value = f.delta * excess + f.lambda * (squares - total(p.N, [&](int64_t i) { return square(d(i)); }));
  // none and λ = δ: K − tsI multiplies x, and nothing is left.
  const bool is_exact = p.is_whole && f.norm == none && f.lambda > 0;
  const double alpha = is_exact ? f.t * f.s : trace * p.inverse_B;
  if (threadIdx.x == 0) *p.alpha = alpha, *p.loss = static_cast<float>(f.a * value);
  for (int64_t b = threadIdx.x; b < p.B; b += blockDim.x) {
    double kept = p.inner * (diagonal(b) - alpha);
    if (f.norm == sample) {
      kept = p.inner * diagonal(b) - f.delta * f.t;
      if (!p.is_raw && __ldcg(p.inverse + b) >= 0) {
        double own = 0;
        for (int64_t i = b; i < p.n_off; i += p.B) own += __ldcg(p.off + i);
        kept = -p.inner * own;
      }
    }
    p.kept[b] = static_cast<float>(kept);
  }
}

}  // namespace mflag::orthogonality
