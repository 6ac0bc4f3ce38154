// K, ‖K‖² and the loss.
#pragma once
#include "orthogonality_statistics.cuh"

namespace mflag::orthogonality {

// A block: one tile of K's lower triangle over one slot of columns; the last slot of a tile adds the
// slots up in order, the last tile finishes the loss.
// 256 threads, 8 x 4 products each: 32 sums, 12 operands and 16 values on their way from memory, so
// two blocks an SM (128 registers a thread). A warp has a tile of 32 x 32; the warps that are left
// over share the columns out. Tiles of 32 up to B = 128: with 64 too few blocks, or so many slots
// that adding them up (16 KB a slot, by one block) takes longer than the products.
// Shared memory: two buffers of two (depth, tile + 4), 36 KB; the 4 keep the transposed stores apart.
//
// Statistics of columns: every block works out those of its own chunk, from all B rows, which saves
// a launch, and x written and read once more. A tile of the triangle repeats it, 10 times in all at
// 128 x 2048: a value costs 5 float32 and 2 float64 FLOPs and a conversion (16 a cycle and SM), 13
// and 5 MFLOP, and normalising the operands 6 MFLOP, beside the 42 of the products; by these counts
// 1300 cycles an SM beside 1300. Not yet measured. The blocks on the diagonal leave x to the
// gradient; the first of a slot leaves 1/r and d.
//
// sample: K's rows are divided only when they are whole. A slot scales each of its rows to a length
// of 1 to 2 by a power of two, without rounding, so no product overflows, and none vanishes that
// counts; the sum of the slots brings them to the scale of the whole row, again by powers of two.
constexpr int most_slots = 32;

template <int tile>
struct GramShape {
  static constexpr int depth = 2048 / tile, row = tile + 4, warps = (tile / 32) * (tile / 32);
  static constexpr int groups = gram_threads / 32 / warps, buffer = 2 * depth * row;
  static constexpr int shared_bytes = 2 * buffer * static_cast<int>(sizeof(float));
  static_assert(groups * tile * tile <= 2 * buffer && tile * (tile + 1) + most_slots * 2 * tile <= 2 * buffer);
  static_assert(2 * gram_threads * sizeof(double) <= shared_bytes);
};

template <int tile>
__device__ inline void multiply_chunk(const float* left, const float* right, float (&sums)[8][4]) {
  constexpr int row = GramShape<tile>::row;
#pragma unroll
  for (int k = 0; k < GramShape<tile>::depth / GramShape<tile>::groups; ++k) {
    const float4 a0 = *reinterpret_cast<const float4*>(left + k * row), a1 = *reinterpret_cast<const float4*>(left + k * row + 4);
    const float4 b = *reinterpret_cast<const float4*>(right + k * row);
    const float a[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
#pragma unroll
    for (int r = 0; r < 8; ++r) {
      sums[r][0] = fmaf(a[r], b.x, sums[r][0]);
      sums[r][1] = fmaf(a[r], b.y, sums[r][1]);
      sums[r][2] = fmaf(a[r], b.z, sums[r][2]);
      sums[r][3] = fmaf(a[r], b.w, sums[r][3]);
    }
  }
}

// The tile in `memory`, rows tile + 1 apart, to K; its row sums of squares, and ‖x_b‖².
template <int tile>
__device__ inline void finish_tile(const Problem& p, const float* memory, int tile_row, int tile_column, bool has_pieces) {
  const int64_t row = int64_t{tile_row} * tile, column = int64_t{tile_column} * tile;
  const auto at = [&](int r, int c) { return memory[r * (tile + 1) + c]; };
  const bool is_diagonal = tile_row == tile_column;
  for (int e = threadIdx.x; e < tile * tile; e += gram_threads) {
    const int r = e / tile, c = e % tile;
    // Up to the stride: what is beyond B is zero, and read by float4.
    if (row + r < p.B && column + c < p.stride) p.gram[(row + r) * p.stride + column + c] = at(r, c);
    if (!is_diagonal && column + r < p.B && row + c < p.stride) p.gram[(column + r) * p.stride + row + c] = at(c, r);
  }
  const int own = threadIdx.x % tile;
  double squares = 0;
  if (threadIdx.x < tile && row + own < p.B) {
    for (int c = 0; c < tile; ++c) squares += static_cast<double>(at(own, c)) * at(own, c);
    p.off[tile_column * p.B + row + own] = squares;
  } else if (!is_diagonal && threadIdx.x >= tile && threadIdx.x < 2 * tile && column + own < p.B) {
    for (int r = 0; r < tile; ++r) squares += static_cast<double>(at(r, own)) * at(r, own);
    p.off[tile_row * p.B + column + own] = squares;
  }
  if (is_diagonal && has_pieces) sum_pieces(p, row, row + tile);
}

// sample: 1/r of the tile's rows (left, then right) in the scale 2^e of the whole row, and each
// slot's scale against it. `factors`: (slots, 2 * tile); `inverses`: 2 * tile.
template <int tile>
__device__ inline void scale_of_rows(const Problem& p, const double* squares, int64_t slots, int64_t pairs, int64_t left, bool is_diagonal,
                                     float* factors, double* inverses) {
  const int own = threadIdx.x;
  if (own < 2 * tile) {
    const double* place = squares + int64_t{blockIdx.x} * 2 * tile + own;
    double squared = 0;
    for (int64_t slot = 0; slot < slots; ++slot) squared += __ldcg(place + slot * pairs * 2 * tile);
    const int exponent = exponent_of(squared);
    for (int64_t slot = 0; slot < slots; ++slot)
      factors[slot * 2 * tile + own] = ldexpf(1, exponent_of(__ldcg(place + slot * pairs * 2 * tile)) - exponent);
    const bool is_short = squared < p.f.eps * p.f.eps;
    const double inverse = 1 / (is_short ? p.f.eps : sqrt(squared));
    inverses[own] = ldexp(inverse, exponent);
    if (is_diagonal && own < tile && left + own < p.B) {
      const double diagonal = squared * inverse * inverse;
      p.inverse[left + own] = is_short ? -inverse : inverse;
      p.diagonal[left + own] = !is_short && diagonal > 0 ? 1 : diagonal;  // NaN stays
    }
  }
  __syncthreads();
}

// The slots of one tile in order, into `memory`, rows tile + 1 apart; four neighbours a thread at a
// time, so that 4 (tile 32) or 16 values a slot are on their way together.
template <int tile, By by>
__device__ inline void add_slots(const float* partial, int64_t slots, int64_t pairs, bool is_diagonal, const float* factors,
                                 const double* inverses, float* memory) {
  constexpr int each = tile * tile / 4 / gram_threads;
  float4 total[each];
#pragma unroll
  for (int q = 0; q < each; ++q) total[q] = make_float4(0, 0, 0, 0);
#pragma unroll 2
  for (int64_t slot = 0; slot < slots; ++slot) {
    const auto* place = reinterpret_cast<const float4*>(partial + (slot * pairs + blockIdx.x) * tile * tile);
#pragma unroll
    for (int q = 0; q < each; ++q) {
      const int e = q * gram_threads + threadIdx.x;
      float4 value = __ldcg(place + e);
      if constexpr (by == By::rows) {
        const float *row = factors + slot * 2 * tile + e * 4 / tile, *column = factors + slot * 2 * tile + tile + e * 4 % tile;
        value.x = value.x * *row * column[0], value.y = value.y * *row * column[1];
        value.z = value.z * *row * column[2], value.w = value.w * *row * column[3];
      }
      total[q].x += value.x, total[q].y += value.y, total[q].z += value.z, total[q].w += value.w;
    }
  }
#pragma unroll
  for (int q = 0; q < each; ++q) {
    const int r = (q * gram_threads + threadIdx.x) * 4 / tile, c = (q * gram_threads + threadIdx.x) * 4 % tile;
    const float values[4] = {total[q].x, total[q].y, total[q].z, total[q].w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float value = values[j];
      if constexpr (by == By::rows) value = static_cast<float>(value * inverses[r] * inverses[tile + c + j]);
      memory[r * (tile + 1) + c + j] = is_diagonal && r == c + j ? 0 : value;
    }
  }
  __syncthreads();
}

// `copy`: x for the gradient (sample: z in float32), or null where z is that. `squares`: of rows in
// slots, (slots, pairs, 2 * tile), for sample.
template <int tile, By by, typename T>
__global__ void __launch_bounds__(gram_threads, 2)
    gram_kernel(const __grid_constant__ Problem p, const T* z, bool is_aligned, int64_t span, float* partial, float* copy, double* squares) {
  using Shape = GramShape<tile>;
  DYNAMIC_SHARED(float, memory);
  __shared__ ColumnChunk<Shape::depth> chunk;
  __shared__ double row_totals[2 * tile];
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int64_t slots = gridDim.y, pairs = gridDim.x, begin = blockIdx.y * span, end = min(p.N, begin + span);
  int tile_row, tile_column;
  place_of(blockIdx.x, tile_row, tile_column);
  const bool is_diagonal = tile_row == tile_column;

  // Two lanes read 8 values of a row, the same row every time; the halves of `next` belong to the
  // left and the right operand.
  const auto row_of = [&](int half) { return int64_t{half == 0 ? tile_row : tile_column} * tile + thread / 2 % tile; };
  const auto depth_of = [&](int q) { return ((q % 2 * gram_threads + thread) / (2 * tile) * 2 + thread % 2) * 4; };
  float4 next[4];
  const auto fetch = [&](int64_t start) {
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int64_t b = row_of(q / 2), column = start + depth_of(q);
      next[q] = load4(z + b * p.N + column, b < p.B ? end - column : 0, is_aligned);
    }
  };
  double row_squares[2] = {};
  const auto add_squares = [&](int half, const float4& value) {
    const double x = value.x, y = value.y, z = value.z, w = value.w;
    row_squares[half] += x * x + y * y + (z * z + w * w);
  };
  float scales[2] = {1, 1};
  if constexpr (by == By::rows) {
    for (int64_t start = begin; start < end; start += Shape::depth) {
      fetch(start);
#pragma unroll
      for (int q = 0; q < 4; ++q) add_squares(q / 2, next[q]);
    }
    sum_rows<tile>(row_squares[0], row_squares[1], reinterpret_cast<double*>(memory), row_totals);
    if (thread < 2 * tile) squares[(blockIdx.y * pairs + blockIdx.x) * 2 * tile + thread] = row_totals[thread];
    for (int half = 0; half < 2; ++half) scales[half] = ldexpf(1, -exponent_of(row_totals[half * tile + thread / 2 % tile]));
  }

  const auto store = [&](float* buffer, int64_t start) {
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int half = q / 2, k = depth_of(q);
      const int64_t b = row_of(half), column = start + k;
      float4& value = next[q];
      if constexpr (by == By::columns) {
        const Column* own = chunk.columns + k;
        const bool is_row = b < p.B;
        value.x = is_row ? own[0].apply(value.x) : 0, value.y = is_row ? own[1].apply(value.y) : 0;
        value.z = is_row ? own[2].apply(value.z) : 0, value.w = is_row ? own[3].apply(value.w) : 0;
      }
      if (is_diagonal && half == 0) {
        if (by != By::rows) add_squares(0, value);
        if (copy != nullptr && b < p.B) store4(copy + b * p.N + column, value, end - column, p.N % 4 == 0);
      }
      if constexpr (by == By::rows) value.x *= scales[half], value.y *= scales[half], value.z *= scales[half], value.w *= scales[half];
      float* place = buffer + half * Shape::depth * Shape::row + k * Shape::row + thread / 2 % tile;
      place[0] = value.x;
      place[Shape::row] = value.y;
      place[2 * Shape::row] = value.z;
      place[3 * Shape::row] = value.w;
    }
  };

  const int group = warp / Shape::warps, part = warp % Shape::warps;
  const int r0 = part / (tile / 32) * 32 + lane / 8 * 8, c0 = part % (tile / 32) * 32 + lane % 8 * 4;
  const int left = group * (Shape::depth / Shape::groups) * Shape::row + r0;
  const int right = left - r0 + Shape::depth * Shape::row + c0;
  const auto work_out = [&](int64_t start) {
    if constexpr (by == By::columns) chunk.template work_out<by>(p, z, start, end, blockIdx.x == 0);
  };
  if (by == By::nothing && blockIdx.x == 0 && !p.is_whole)
    for (int64_t start = begin; start < end; start += Shape::depth) chunk.template work_out<by>(p, z, start, end, true);
  float sums[8][4] = {};
  float* buffer = memory;
  work_out(begin);
  fetch(begin);
  __syncthreads();
  store(buffer, begin);
  __syncthreads();
  for (int64_t start = begin; start < end; start += Shape::depth) {
    float* other = buffer == memory ? memory + Shape::buffer : memory;
    const int64_t following = start + Shape::depth;
    const bool goes_on = following < end;
    if (goes_on && by != By::columns) fetch(following);
    multiply_chunk<tile>(buffer + left, buffer + right, sums);
    if (goes_on) work_out(following);
    if (goes_on && by == By::columns) fetch(following);
    if (goes_on) store(other, following);
    __syncthreads();
    buffer = other;
  }

#pragma unroll
  for (int r = 0; r < 8; ++r)
    *reinterpret_cast<float4*>(memory + (group * tile + r0 + r) * tile + c0) = make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
  __syncthreads();
  for (int e = thread; e < tile * tile; e += gram_threads) {
    float total = 0;
    for (int g = 0; g < Shape::groups; ++g) total += memory[g * tile * tile + e];
    partial[(blockIdx.y * pairs + blockIdx.x) * tile * tile + e] = total;
  }
  if (by != By::rows && is_diagonal) {
    sum_rows<tile>(row_squares[0], 0, reinterpret_cast<double*>(memory), row_totals);
    const int64_t b = int64_t{tile_row} * tile + thread;
    if (thread < tile && b < p.B) p.pieces[b * p.n_pieces + blockIdx.y] = row_totals[thread];
  }
  if (!is_last_block(p.counters + 1 + blockIdx.x, slots)) return;
  float* factors = memory + tile * (tile + 1);
  if constexpr (by == By::rows)
    scale_of_rows<tile>(p, squares, slots, pairs, int64_t{tile_row} * tile, is_diagonal, factors, row_totals);
  add_slots<tile, by>(partial, slots, pairs, is_diagonal, factors, row_totals, memory);
  finish_tile<tile>(p, memory, tile_row, tile_column, by != By::rows);
  if (is_last_block(p.counters, pairs)) finish_value(p);
}

// After torch's product: the zero diagonal, the mirror image where only the lower triangle was
// multiplied, ‖K‖² and the loss; one pass over K. A block a tile of 64 x 64 of the lower triangle.
constexpr int sums_tile = 64;  // gram_side of products.h

__global__ void __launch_bounds__(256) gram_sums(const __grid_constant__ Problem p, bool mirrors) {
  __shared__ float memory[sums_tile][sums_tile + 1];
  __shared__ double scratch[32];
  int tile_row, tile_column;
  place_of(blockIdx.x, tile_row, tile_column);
  const int64_t row = int64_t{tile_row} * sums_tile, column = int64_t{tile_column} * sums_tile;
  double own = 0;
#pragma unroll 4
  for (int e = threadIdx.x; e < sums_tile * sums_tile; e += 256) {
    const int r = e / sums_tile, c = e % sums_tile;
    const bool is_inside = row + r < p.side && column + c < p.side;
    float value = is_inside ? p.gram[(row + r) * p.stride + column + c] : 0;
    if (is_inside && row + r == column + c) p.gram[(row + r) * p.stride + column + c] = value = 0;
    own += static_cast<double>(value) * value;
    memory[r][c] = value;
  }
  const double total = block_sum(own, scratch);
  if (threadIdx.x == 0) p.off[blockIdx.x] = tile_row == tile_column ? total : 2 * total;
  if (mirrors && tile_row != tile_column)
    for (int e = threadIdx.x; e < sums_tile * sums_tile; e += 256) {
      const int r = e / sums_tile, c = e % sums_tile;
      if (column + r < p.side && row + c < p.side) p.gram[(column + r) * p.stride + row + c] = memory[c][r];
    }
  if (p.is_dual && tile_row == tile_column) sum_pieces(p, row, row + sums_tile);
  if (is_last_block(p.counters, gridDim.x)) finish_value(p);
}

}  // namespace mflag::orthogonality
