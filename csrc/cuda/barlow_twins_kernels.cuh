// Barlow Twins loss of two views, around torch's products.
//
//   x, y = z_a, z_b standardised (B, N),  C = xᵀy/B,  d_i = C_ii,  K_x = xxᵀ,  K_y = yyᵀ
//   L = Σ_i (d_i − 1)² + λ (⟨K_x, K_y⟩/B² − Σ_i d_i²)                                (B < N)
//     = Σ_i (d_i − 1)² + λ Σ_{i≠j} C_ij²                                          (otherwise)
//   ∂L/∂x = (2/B) [ λ K_y x/B + y·diag(c) ],  c_i = (d_i − 1) − λ d_i;  ∂L/∂y by symmetry
//
// Multiples of x_i vanish in the backward of the norm but for ε/r² of them. They are left out, with
// α the mean of ‖y_b‖² (mflag/ops/barlow_twins.py):
//   K_y x = (K_y − αI) x + α x,  y_i = (y_i − d_i x_i) + d_i x_i;  B >= N: C without its diagonal
#pragma once
#include "orthogonality_normalise.cuh"

namespace mflag::barlow_twins {

using orthogonality::column_sum;
using orthogonality::column_tile;
using orthogonality::place_of;
using orthogonality::variance_eps;

// One view: x, 1/r (N), Σ x² of a row in a tile of columns (B, n_pieces) and of all of it (B), the
// multiple of x_b that stays (B), K of this view (without a diagonal), ∂L/∂z.
struct View {
  float* x;
  double *inverse, *pieces, *squares;
  float *kept, *gram, *gradient;
};

struct Problem {
  View views[2];
  int64_t B, N, n_pieces, side, n_off;
  bool is_dual;
  double lambda, inverse_B;
  double *d, *off, *alpha;  // (N), (n_off), what the kept multiples lack, a view each
  float* loss;
  unsigned* counters;
};

// First launch: a block 32 columns of both views. Sums are float64: a rounded mean or r would shift
// the whole diagonal of C.
template <typename T>
__device__ inline void standardise_columns(const Problem& p, const View& view, const T* z, double (*scratch)[column_tile + 1]) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32, first = threadIdx.x / 32;
  const int64_t column = int64_t{blockIdx.x} * column_tile + lane;
  const bool is_inside = column < p.N;
  const auto value = [&](int64_t b) { return is_inside ? static_cast<double>(to_float(z[b * p.N + column])) : 0.0; };
  double own = 0;
#pragma unroll 8
  for (int64_t b = first; b < p.B; b += warps) own += value(b);
  const double mean = column_sum(own, scratch) * p.inverse_B;
  own = 0;
#pragma unroll 8
  for (int64_t b = first; b < p.B; b += warps) {
    const double centred = value(b) - mean;
    own += centred * centred;
  }
  const double inverse = 1 / sqrt(column_sum(own, scratch) * p.inverse_B + variance_eps);
  if (first == 0 && is_inside) view.inverse[column] = inverse;
#pragma unroll 8
  for (int64_t b = first; b < p.B; b += warps) {
    const float x = is_inside ? static_cast<float>((value(b) - mean) * inverse) : 0;
    if (is_inside) view.x[b * p.N + column] = x;
    if (!p.is_dual) continue;
    const double total = warp_sum(static_cast<double>(x) * x);
    if (lane == 0) view.pieces[b * p.n_pieces + blockIdx.x] = total;
  }
}

template <typename T>
__global__ void __launch_bounds__(512) standardise_views(const __grid_constant__ Problem p, const T* z_a, const T* z_b) {
  __shared__ double scratch[16][column_tile + 1];
  standardise_columns(p, p.views[0], z_a, scratch);
  standardise_columns(p, p.views[1], z_b, scratch);
  const int warps = blockDim.x / 32, first = threadIdx.x / 32;
  const int64_t column = int64_t{blockIdx.x} * column_tile + threadIdx.x % 32;
  double own = 0;
#pragma unroll 8
  for (int64_t b = first; column < p.N && b < p.B; b += warps)  // what this thread itself has written
    own += static_cast<double>(p.views[0].x[b * p.N + column]) * p.views[1].x[b * p.N + column];
  own = column_sum(own, scratch) * p.inverse_B;
  if (first == 0 && column < p.N) p.d[column] = own;
}

// The last block of the launch that has summed the products: the loss, and what the gradients need
// of all rows.
__device__ inline void finish_value(const Problem& p) {
  __shared__ double scratch[32];
  const auto total = [&](int64_t n, const auto& term) {
    double own = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) own += term(i);
    return block_sum(own, scratch);
  };
  const auto square_of = [&](int view, int64_t b) { return __ldcg(p.views[view].squares + b); };
  double squares = total(p.n_off, [&](int64_t i) { return __ldcg(p.off + i); });
  const double excess = total(p.N, [&](int64_t i) { return (p.d[i] - 1) * (p.d[i] - 1); });
  double diagonal = 0;
  if (p.is_dual) {
    squares += total(p.B, [&](int64_t b) { return square_of(0, b) * square_of(1, b); });
    diagonal = total(p.N, [&](int64_t i) { return p.d[i] * p.d[i]; });
  }
  if (threadIdx.x == 0)
    *p.loss = static_cast<float>(excess + p.lambda * (squares * p.inverse_B * p.inverse_B - diagonal));
  for (int view = 0; view < 2; ++view) {  // of this view stays what the other's K lacks
    double alpha = 0;
    if (p.is_dual) alpha = total(p.B, [&](int64_t b) { return square_of(1 - view, b); }) * p.inverse_B;
    if (threadIdx.x == 0) p.alpha[view] = p.lambda * p.inverse_B * alpha;
    if (!p.is_dual) continue;
    for (int64_t b = threadIdx.x; b < p.B; b += blockDim.x)
      p.views[view].kept[b] = static_cast<float>(p.lambda * p.inverse_B * (square_of(1 - view, b) - alpha));
  }
}

// Second launch, after K_x and K_y: their diagonals zero, ⟨K_x, K_y⟩, the mirror image where only
// the lower triangle was multiplied. A block a tile of 64 x 64 of the lower triangle.
constexpr int tile = 64;  // gram_side of products.h

__device__ inline double sum_products(const Problem& p, int64_t row, int64_t column) {
  float *a = p.views[0].gram, *b = p.views[1].gram;
  double own = 0;
#pragma unroll 4
  for (int e = threadIdx.x; e < tile * tile; e += 256) {
    const int64_t r = row + e / tile, c = column + e % tile, place = r * p.side + c;
    if (r >= p.side || c >= p.side) continue;
    if (r == c)
      a[place] = b[place] = 0;
    else
      own += static_cast<double>(a[place]) * b[place];
  }
  return own;
}

__device__ inline void mirror(const Problem& p, float* gram, int64_t row, int64_t column, float (*memory)[tile + 1]) {
  __syncthreads();
  for (int e = threadIdx.x; e < tile * tile; e += 256) {
    const int64_t r = row + e / tile, c = column + e % tile;
    if (r < p.side && c < p.side) memory[e / tile][e % tile] = gram[r * p.side + c];
  }
  __syncthreads();
  for (int e = threadIdx.x; e < tile * tile; e += 256) {
    const int64_t r = column + e / tile, c = row + e % tile;
    if (r < p.side && c < p.side) gram[r * p.side + c] = memory[e % tile][e / tile];
  }
}

// ‖x_b‖² from its pieces, a warp a row.
__device__ inline void sum_pieces(const Problem& p, const View& view, int64_t row) {
  for (int64_t b = row + threadIdx.x / 32; b < min(row + tile, p.B); b += 8) {
    double own = 0;
    for (int64_t i = threadIdx.x % 32; i < p.n_pieces; i += 32) own += view.pieces[b * p.n_pieces + i];
    own = warp_sum(own);
    if (threadIdx.x % 32 == 0) view.squares[b] = own;
  }
}

__global__ void __launch_bounds__(256, 2) gram_pair_sums(const __grid_constant__ Problem p, bool mirrors) {
  __shared__ float memory[tile][tile + 1];
  __shared__ double scratch[32];
  int tile_row, tile_column;
  place_of(blockIdx.x, tile_row, tile_column);
  const int64_t row = int64_t{tile_row} * tile, column = int64_t{tile_column} * tile;
  const bool is_diagonal = tile_row == tile_column;
  const double total = block_sum(sum_products(p, row, column), scratch);
  if (threadIdx.x == 0) p.off[blockIdx.x] = is_diagonal ? total : 2 * total;
#pragma unroll 1
  for (int i = 0; i < 2; ++i) {
    if (is_diagonal) sum_pieces(p, p.views[i], row);
    if (mirrors && !is_diagonal) mirror(p, p.views[i].gram, row, column, memory);
  }
  if (is_last_block(p.counters, gridDim.x)) finish_value(p);
}

// Second launch, after C (in views[0].gram and views[1].gram alike): its diagonal zero, Σ C_ij².
__global__ void __launch_bounds__(256) cross_sums(const __grid_constant__ Problem p) {
  __shared__ double scratch[32];
  const int64_t tiles = (p.side + tile - 1) / tile;
  const double total = block_sum(sum_products(p, blockIdx.x / tiles * tile, blockIdx.x % tiles * tile), scratch);
  if (threadIdx.x == 0) p.off[blockIdx.x] = total;
  if (is_last_block(p.counters, gridDim.x)) finish_value(p);
}

// Third launch, after the other products, in place: the backward of the norm, a block 32 columns of
// one view; reads its product and both views twice, the second time from the L2 cache.
__global__ void __launch_bounds__(512, 2) finish_views(const __grid_constant__ Problem p) {
  __shared__ double scratch[16][column_tile + 1];
  const int warps = blockDim.x / 32, first = threadIdx.x / 32;
  const int64_t column = int64_t{blockIdx.x} * column_tile + threadIdx.x % 32;
  const bool is_inside = column < p.N;
  const View &own = p.views[blockIdx.y], &other = p.views[1 - blockIdx.y];
  const double d = is_inside ? p.d[column] : 0, c = d - 1 - (p.is_dual ? p.lambda * d : 0);
  const auto inner = static_cast<float>(p.lambda * p.inverse_B), cosine = static_cast<float>(d), weight = static_cast<float>(c);
  const auto h = [&](int64_t place, int64_t b, float x) {
    float product = inner * own.gradient[place];
    if (p.is_dual) product = fmaf(own.kept[b], x, product);
    return fmaf(fmaf(-cosine, x, other.x[place]), weight, product);
  };
  double sum = 0, radial = 0;
#pragma unroll 4
  for (int64_t b = first; is_inside && b < p.B; b += warps) {
    const float x = own.x[b * p.N + column], value = h(b * p.N + column, b, x);
    sum += value;
    radial += static_cast<double>(x) * value;
  }
  sum = column_sum(sum, scratch);
  radial = column_sum(radial, scratch);
  if (!is_inside) return;
  const double inverse = own.inverse[column];
  const double left_out = (p.alpha[blockIdx.y] + c * d) * variance_eps * inverse * inverse;
  const auto mean = static_cast<float>(sum * p.inverse_B), multiple = static_cast<float>(left_out - radial * p.inverse_B);
  const auto scale = static_cast<float>(2 * p.inverse_B * inverse);
#pragma unroll 4
  for (int64_t b = first; b < p.B; b += warps) {
    const int64_t place = b * p.N + column;
    const float x = own.x[place];
    own.gradient[place] = fmaf(multiple, x, h(place, b, x) - mean) * scale;
  }
}

}  // namespace mflag::barlow_twins
