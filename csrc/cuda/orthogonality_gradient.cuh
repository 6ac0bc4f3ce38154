// ∂L/∂z from K, x and the sums: the product (B <= 256), the backward of the norm.
#pragma once
#include "orthogonality_normalise.cuh"
#include "orthogonality_problem.cuh"

namespace mflag::orthogonality {

// ∂L/∂z_bi = scale (h_bi − mean + multiple x_bi), for one column.
struct Backward {
  float mean, multiple, scale;
};

__device__ inline Backward backward_of(const Problem& p, int64_t i, double sum, double radial) {
  const double left = p.left_out(i);
  double mean = 0, multiple = left, scale = p.outer;
  if (has_mean(p.f.norm)) mean = sum * p.inverse_B;
  if (has_radius(p.f.norm)) {
    const double inverse = p.inverse[i];
    scale *= fabs(inverse);
    if (p.f.norm == standardize)
      multiple = left * variance_eps * inverse * inverse - radial * p.inverse_B;
    else if (!(inverse < 0))
      multiple = -radial;
  }
  return {static_cast<float>(mean), static_cast<float>(multiple), static_cast<float>(scale)};
}

__device__ inline float apply(const Backward& column, float h, float x) {
  return fmaf(column.multiple, x, h - column.mean) * column.scale;
}

// All rows of a tile of columns: Kx, the sums over the rows, the backward of the norm.
// 256 threads, `rows` x 4 products each (up to 8 x 4). K is symmetric, so 8 of its rows lie in shared
// memory as they come: a thread reads its rows by vectors, without a transpose. Narrow tiles: at
// N = 2048 a tile of 32 columns leaves half of the SMs without work; with more columns 32 halves the
// reads of K from the L2 cache. Shared memory: x's tile (up to 32 KB) and two buffers of K (16 KB).
constexpr int gradient_threads = 256, gradient_depth = 8;

template <int rows, int tile>
struct GradientShape {
  static constexpr int groups = tile / 4, all_rows = rows * gradient_threads / groups;
  static constexpr int buffer = gradient_depth * all_rows, pieces = (buffer / 4 + gradient_threads - 1) / gradient_threads;
  static constexpr int shared_bytes = (all_rows * tile + 2 * buffer) * static_cast<int>(sizeof(float));
};

// Neighbouring rows of K, by the widest vector; `place` is aligned to it.
template <int rows>
__device__ inline void load_rows(const float* place, float (&own)[rows]) {
  static_assert(rows < 3 || rows % 4 == 0);
  if constexpr (rows == 1) {
    own[0] = place[0];
  } else if constexpr (rows == 2) {
    const float2 pair = *reinterpret_cast<const float2*>(place);
    own[0] = pair.x, own[1] = pair.y;
  } else {
#pragma unroll
    for (int r = 0; r < rows; r += 4) {
      const float4 four = *reinterpret_cast<const float4*>(place + r);
      own[r] = four.x, own[r + 1] = four.y, own[r + 2] = four.z, own[r + 3] = four.w;
    }
  }
}

template <int rows, int tile>
__device__ inline void multiply_rows(const float* k, const float* x, float (&sums)[rows][4]) {
#pragma unroll
  for (int inner = 0; inner < gradient_depth; ++inner) {
    const float4 value = *reinterpret_cast<const float4*>(x + inner * tile);
    float own[rows];
    load_rows(k + inner * GradientShape<rows, tile>::all_rows, own);
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      sums[r][0] = fmaf(own[r], value.x, sums[r][0]);
      sums[r][1] = fmaf(own[r], value.y, sums[r][1]);
      sums[r][2] = fmaf(own[r], value.z, sums[r][2]);
      sums[r][3] = fmaf(own[r], value.w, sums[r][3]);
    }
  }
}

// Σ_b h and Σ_b x h of the block's columns, into `totals`, (tile, 2).
template <int tile>
__device__ inline void sum_columns(double (&own)[4][2], double (*scratch)[tile][2], double (*totals)[2]) {
  constexpr int groups = tile / 4;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {
      for (int step = 16; step >= groups; step /= 2) own[j][kind] += __shfl_xor_sync(whole_warp, own[j][kind], step);
      if (lane < groups) scratch[warp][lane * 4 + j][kind] = own[j][kind];
    }
  __syncthreads();
  if (threadIdx.x < 2 * tile) {
    double total = 0;
    for (int i = 0; i < gradient_threads / 32; ++i) total += scratch[i][threadIdx.x / 2][threadIdx.x % 2];
    totals[threadIdx.x / 2][threadIdx.x % 2] = total;
  }
  __syncthreads();
}

// sample: z to x, each thread what it has itself loaded.
__device__ inline void divide_rows(const Problem& p, float* xs, int groups) {
  for (int q = threadIdx.x; q < p.B * groups; q += gradient_threads) {
    const double inverse = fabs(p.inverse[q / groups]);
#pragma unroll 1
    for (int j = 0; j < 4; ++j) xs[q * 4 + j] = static_cast<float>(xs[q * 4 + j] * inverse);
  }
}

template <int rows, int tile>
__global__ void __launch_bounds__(gradient_threads) gradient_kernel(const __grid_constant__ Problem p, const float* x, bool is_aligned) {
  using Shape = GradientShape<rows, tile>;
  DYNAMIC_SHARED(float, memory);
  __shared__ double scratch[gradient_threads / 32][tile][2], totals[tile][2];
  const int thread = threadIdx.x, group = thread % Shape::groups, first = thread / Shape::groups * rows;
  const int64_t begin = int64_t{blockIdx.x} * tile;
  float *xs = memory, *buffer = memory + Shape::all_rows * tile;
  for (int q = thread; q < Shape::all_rows * Shape::groups; q += gradient_threads) {
    const int64_t b = q / Shape::groups, i = begin + q % Shape::groups * 4;
    *reinterpret_cast<float4*>(xs + q * 4) = load4(x + b * p.N + i, b < p.B ? p.N - i : 0, is_aligned);
  }
  if (p.f.norm == sample && !p.is_raw) divide_rows(p, xs, Shape::groups);
  float4 next[Shape::pieces];
  const auto fetch = [&](int start) {
#pragma unroll
    for (int q = 0; q < Shape::pieces; ++q) {
      const int place = (q * gradient_threads + thread) * 4, k = start + place / Shape::all_rows, b = place % Shape::all_rows;
      const bool is_inside = place < Shape::buffer && k < p.B && b < p.stride;
      next[q] = is_inside ? *reinterpret_cast<const float4*>(p.gram + k * p.stride + b) : make_float4(0, 0, 0, 0);
    }
  };
  const auto store = [&](float* to) {
#pragma unroll
    for (int q = 0; q < Shape::pieces; ++q) {
      const int place = (q * gradient_threads + thread) * 4;
      if (place < Shape::buffer) *reinterpret_cast<float4*>(to + place) = next[q];
    }
  };
  float sums[rows][4] = {};
  fetch(0);
  store(buffer);
  __syncthreads();
  for (int start = 0; start < p.B; start += gradient_depth) {
    const bool goes_on = start + gradient_depth < p.B;
    float* other = buffer == memory + Shape::all_rows * tile ? buffer + Shape::buffer : buffer - Shape::buffer;
    if (goes_on) fetch(start + gradient_depth);
    multiply_rows<rows, tile>(buffer + first, xs + start * tile + group * 4, sums);
    if (goes_on) store(other);
    __syncthreads();
    buffer = other;
  }

  const auto inner = static_cast<float>(p.inner);
  const int64_t column = begin + group * 4;
  double own[4][2] = {};
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const int b = first + r;
    if (b >= p.B || p.is_raw) continue;
    const float kept = p.kept[b];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float value = xs[b * tile + group * 4 + j];
      sums[r][j] = fmaf(inner, sums[r][j], kept * value);
      own[j][0] += sums[r][j];
      own[j][1] += static_cast<double>(value) * sums[r][j];
    }
  }
  if (has_mean(p.f.norm) || has_radius(p.f.norm)) sum_columns<tile>(own, scratch, totals);
  Backward backward[4];
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (p.f.norm != sample && column + j < p.N) backward[j] = backward_of(p, column + j, totals[group * 4 + j][0], totals[group * 4 + j][1]);
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const int b = first + r;
    if (b >= p.B) continue;
    float out[4];
    const float scale = p.f.norm == sample && !p.is_raw ? static_cast<float>(p.outer * fabs(p.inverse[b])) : 1;
#pragma unroll
    for (int j = 0; j < 4; ++j)
      out[j] = p.f.norm == sample ? sums[r][j] * scale : column + j < p.N ? apply(backward[j], sums[r][j], xs[b * tile + group * 4 + j]) : 0;
    store4(p.gradient + b * p.N + column, make_float4(out[0], out[1], out[2], out[3]), p.N - column, is_aligned);
  }
}

// After torch's product, in place: the backward of every norm but sample; reads Kx and x twice, the
// second time from the L2 cache.
__global__ void __launch_bounds__(512) finish_columns(const __grid_constant__ Problem p, const float* x) {
  __shared__ double scratch[16][column_tile + 1];
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32, first = threadIdx.x / 32;
  const int64_t column = int64_t{blockIdx.x} * column_tile + lane;
  const bool is_inside = column < p.N;
  const auto inner = static_cast<float>(p.inner);
  const auto h = [&](int64_t b, float value) {
    const float product = inner * p.gradient[b * p.N + column];
    return p.is_dual ? fmaf(p.kept[b], value, product) : product;
  };
  double sum = 0, radial = 0;
  if (p.f.norm != none) {
#pragma unroll 4
    for (int64_t b = first; is_inside && b < p.B; b += warps) {
      const float value = x[b * p.N + column], own = h(b, value);
      sum += own;
      radial += static_cast<double>(value) * own;
    }
    sum = column_sum(sum, scratch);
    radial = column_sum(radial, scratch);
  }
  if (!is_inside) return;
  const Backward backward = backward_of(p, column, sum, radial);
#pragma unroll 4
  for (int64_t b = first; b < p.B; b += warps) {
    const float value = x[b * p.N + column];
    p.gradient[b * p.N + column] = apply(backward, h(b, value), value);
  }
}

// After a product, in place: the backward of sample; a block a row.
__global__ void __launch_bounds__(256) finish_rows(const __grid_constant__ Problem p, const float* x) {
  __shared__ double scratch[32];
  const int64_t b = blockIdx.x;
  const auto inner = static_cast<float>(p.inner);
  const double alpha = *p.alpha;
  const auto h = [&](int64_t i, float value) {
    const double d = p.is_whole ? 0 : p.column_squares[i] * p.inverse_s;
    const double weight = p.is_whole ? 0 : p.is_dual ? (p.f.delta - p.f.lambda) * d : p.f.delta * (d - p.f.t) - alpha;
    return fmaf(static_cast<float>(weight), value, inner * p.gradient[b * p.N + i]);
  };
  double own = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < p.N; i += blockDim.x) {
    const float value = x[b * p.N + i];
    own += static_cast<double>(value) * h(i, value);
  }
  const double radial = block_sum(own, scratch);
  const double inverse = p.inverse[b];
  const double multiple = !(inverse < 0) ? -radial : p.is_dual ? p.kept[b] : alpha;
  const Backward backward{0, static_cast<float>(multiple), static_cast<float>(p.outer * fabs(inverse))};
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < p.N; i += blockDim.x) {
    const float value = x[b * p.N + i];
    p.gradient[b * p.N + i] = apply(backward, h(i, value), value);
  }
}

}  // namespace mflag::orthogonality
