// K, ‖K‖² and the loss.
#pragma once
#include "orthogonality_problem.cuh"

namespace mflag::orthogonality {

// A block: one tile of K's lower triangle over one slot of columns; the last slot of a tile adds the
// slots up in order, the last tile finishes the loss.
// 256 threads, 8 x 4 products each: 32 sums, 12 operands and 16 values on their way from memory, so
// two blocks an SM (128 registers a thread). A warp has a tile of 32 x 32; the warps that are left
// over share the columns out. Tiles of 32 up to B = 128: with 64 too few blocks, or so many slots
// that adding them up (16 KB a slot, by one block) takes longer than the products.
// Shared memory: two buffers of two (depth, tile + 4), 36 KB; the 4 keep the transposed stores apart.
constexpr int gram_threads = 256;

template <int tile>
struct GramShape {
  static constexpr int depth = 2048 / tile, row = tile + 4, warps = (tile / 32) * (tile / 32);
  static constexpr int groups = gram_threads / 32 / warps, buffer = 2 * depth * row;
  static constexpr int shared_bytes = 2 * buffer * static_cast<int>(sizeof(float));
  static_assert(groups * tile * tile <= 2 * buffer && tile * (tile + 1) <= 2 * buffer);
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
__device__ inline void finish_tile(const Problem& p, const float* memory, int tile_row, int tile_column) {
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
  if (is_diagonal) sum_pieces(p, row, row + tile);
}

template <int tile>
__global__ void __launch_bounds__(gram_threads, 2)
    gram_kernel(const __grid_constant__ Problem p, const float* x, bool is_aligned, int64_t span, float* partial) {
  using Shape = GramShape<tile>;
  DYNAMIC_SHARED(float, memory);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int64_t slots = gridDim.y, begin = blockIdx.y * span, end = min(p.N, begin + span);
  int tile_row, tile_column;
  place_of(blockIdx.x, tile_row, tile_column);

  // Two lanes read 32 bytes of a row; the halves of `next` belong to the left and the right operand.
  float4 next[4];
  const auto fetch = [&](int64_t start) {
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int piece = q % 2 * gram_threads + thread, k = (piece / (2 * tile) * 2 + piece % 2) * 4;
      const int64_t b = int64_t{q < 2 ? tile_row : tile_column} * tile + piece / 2 % tile;
      next[q] = load4(x + b * p.N + start + k, b < p.B ? end - start - k : 0, is_aligned);
    }
  };
  const auto store = [&](float* buffer) {
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int piece = q % 2 * gram_threads + thread, k = (piece / (2 * tile) * 2 + piece % 2) * 4;
      float* place = buffer + q / 2 * Shape::depth * Shape::row + k * Shape::row + piece / 2 % tile;
      place[0] = next[q].x;
      place[Shape::row] = next[q].y;
      place[2 * Shape::row] = next[q].z;
      place[3 * Shape::row] = next[q].w;
    }
  };

  const int group = warp / Shape::warps, part = warp % Shape::warps;
  const int r0 = part / (tile / 32) * 32 + lane / 8 * 8, c0 = part % (tile / 32) * 32 + lane % 8 * 4;
  const int left = group * (Shape::depth / Shape::groups) * Shape::row + r0;
  const int right = left - r0 + Shape::depth * Shape::row + c0;
  float sums[8][4] = {};
  float* buffer = memory;
  fetch(begin);
  store(buffer);
  __syncthreads();
  for (int64_t start = begin; start < end; start += Shape::depth) {
    float* other = buffer == memory ? memory + Shape::buffer : memory;
    const bool goes_on = start + Shape::depth < end;
    if (goes_on) fetch(start + Shape::depth);
    multiply_chunk<tile>(buffer + left, buffer + right, sums);
    if (goes_on) store(other);
    __syncthreads();
    buffer = other;
  }

#pragma unroll
  for (int r = 0; r < 8; ++r)
    *reinterpret_cast<float4*>(memory + (group * tile + r0 + r) * tile + c0) = make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
  __syncthreads();
  const int64_t pairs = gridDim.x;
  for (int e = thread; e < tile * tile; e += gram_threads) {
    float total = 0;
    for (int g = 0; g < Shape::groups; ++g) total += memory[g * tile * tile + e];
    partial[(blockIdx.y * pairs + blockIdx.x) * tile * tile + e] = total;
  }
  if (!is_last_block(p.counters + 1 + blockIdx.x, slots)) return;
  for (int e = thread; e < tile * tile; e += gram_threads) {
    float total = 0;
#pragma unroll 4
    for (int64_t slot = 0; slot < slots; ++slot) total += __ldcg(partial + (slot * pairs + blockIdx.x) * tile * tile + e);
    const int r = e / tile, c = e % tile;
    memory[r * (tile + 1) + c] = tile_row == tile_column && r == c ? 0 : total;
  }
  __syncthreads();
  finish_tile<tile>(p, memory, tile_row, tile_column);
  if (is_last_block(p.counters, pairs)) finish_value(p);
}

// After torch's product: the zero diagonal, the mirror image where only the lower triangle was
// multiplied, ‖K‖² and the loss; one pass over K. A block a tile of 64 x 64 of the lower triangle.
constexpr int sums_tile = 64;

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
