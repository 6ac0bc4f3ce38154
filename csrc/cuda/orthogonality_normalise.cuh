// First launch where torch multiplies, and of sample with λ ≠ δ: x, 1/r, the column sums of squares,
// and (dual) the row sums in pieces. Sums are float64: a rounded mean or r would shift the whole
// diagonal of C.
#pragma once
#include "orthogonality_problem.cuh"

namespace mflag::orthogonality {

constexpr int column_tile = 32;  // a lane a column; a warp takes every warps-th row

// Σ over the rows of each column; all threads get that of their lane's column.
__device__ inline double column_sum(double own, double (*scratch)[column_tile + 1]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();
  scratch[warp][lane] = own;
  __syncthreads();
  double total = 0;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) total += scratch[i][lane];
  return total;
}

// `x` and `pieces` may be null: then the column sums alone. With 1024 threads, 64 registers each, the
// float64 division spills.
template <typename T>
__global__ void __launch_bounds__(512) normalise_columns(const __grid_constant__ Problem p, const T* z, int norm, float* x, double* pieces) {
  __shared__ double scratch[16][column_tile + 1];
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32, first = threadIdx.x / 32;
  const int64_t column = int64_t{blockIdx.x} * column_tile + lane;
  const bool is_inside = column < p.N;
  const auto value = [&](int64_t b) { return is_inside ? static_cast<double>(to_float(z[b * p.N + column])) : 0.0; };
  double mean = 0, inverse = 1;
  if (has_mean(norm)) {
    double own = 0;
#pragma unroll 8
    for (int64_t b = first; b < p.B; b += warps) own += value(b);
    mean = column_sum(own, scratch) / static_cast<double>(p.B);
  }
  if (has_radius(norm)) {
    double own = 0;
#pragma unroll 8
    for (int64_t b = first; b < p.B; b += warps) {
      const double centred = value(b) - mean;
      own += centred * centred;
    }
    const double squares = column_sum(own, scratch);
    const bool is_short = norm == feature && squares < p.f.eps * p.f.eps;
    inverse = 1 / (norm == standardize ? sqrt(squares * p.inverse_B + variance_eps) : is_short ? p.f.eps : sqrt(squares));
    if (first == 0 && is_inside) p.inverse[column] = is_short ? -inverse : inverse;
  }
  double squares = 0;
#pragma unroll 8
  for (int64_t b = first; b < p.B; b += warps) {
    const float normalised = is_inside ? static_cast<float>((value(b) - mean) * inverse) : 0;
    const double square = static_cast<double>(normalised) * normalised;
    if (x != nullptr && is_inside) x[b * p.N + column] = normalised;
    squares += square;
    if (pieces == nullptr) continue;
    const double total = warp_sum(square);
    if (lane == 0) pieces[b * p.n_pieces + blockIdx.x] = total;
  }
  squares = column_sum(squares, scratch);
  if (first == 0 && is_inside) p.column_squares[column] = squares;
}

// sample: a block a row, which it reads twice (the second time from the L2 cache).
template <typename T>
__global__ void __launch_bounds__(256) normalise_rows(const __grid_constant__ Problem p, const T* z, float* x) {
  __shared__ double scratch[32];
  const int64_t b = blockIdx.x;
  double own = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < p.N; i += blockDim.x) {
    const double value = to_float(z[b * p.N + i]);
    own += value * value;
  }
  const double squared = block_sum(own, scratch);
  const bool is_short = squared < p.f.eps * p.f.eps;
  const double inverse = 1 / (is_short ? p.f.eps : sqrt(squared));
  own = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < p.N; i += blockDim.x) {
    const auto value = static_cast<float>(to_float(z[b * p.N + i]) * inverse);
    x[b * p.N + i] = value;
    own += static_cast<double>(value) * value;
  }
  const double diagonal = block_sum(own, scratch);
  if (threadIdx.x > 0) return;
  p.inverse[b] = is_short ? -inverse : inverse;
  // Exact where the d_i drop out; NaN stays NaN.
  if (p.is_dual && !p.is_raw) p.pieces[b] = p.is_whole && !is_short && diagonal > 0 ? 1 : diagonal;
}

}  // namespace mflag::orthogonality
