// Statistics inside the launch of K (B <= 256): of the columns of a chunk, and the lengths of rows.
#pragma once
#include "orthogonality_problem.cuh"

namespace mflag::orthogonality {

constexpr int gram_threads = 256;

// What the launch of K does with z: nothing; centres and divides its columns; divides its rows.
enum class By { nothing, columns, rows };

// x = (z − mean − rest)(inverse + low): float32 pairs, so that a value costs four operations and
// no float64 conversion (16 a cycle and SM). All zero beyond the slot.
struct alignas(16) Column {
  float mean, rest, inverse, low;

  __device__ float divide(float centred) const { return fmaf(centred, inverse, centred * low); }
  __device__ float apply(float value) const { return divide((value - mean) - rest); }
};

// A lane a column, `step` warps a column: up to 32 rows a thread (B <= 128 at depth 64, else 256).
template <int depth>
struct ColumnChunk {
  static constexpr int across = depth / 32, step = gram_threads / 32 / across, most = 32;

  Column columns[depth];
  float means[gram_threads], rests[gram_threads];
  double squares[gram_threads], normalised_squares[gram_threads];

  // Every array serves once a chunk, with barriers between: one barrier each.
  template <typename T>
  __device__ static T total(T own, T* scratch) {
    scratch[threadIdx.x] = own;
    __syncthreads();
    T sum = 0;
#pragma unroll
    for (int i = 0; i < step; ++i) sum += scratch[threadIdx.x % depth + i * depth];
    return sum;
  }

  // The columns from `start`, of which `end` is the first outside. `is_first`: of the blocks with
  // these columns the one that leaves 1/r and s d_i. Ends with a barrier.
  template <By by, typename T>
  __device__ void work_out(const Problem& p, const T* z, int64_t start, int64_t end, bool is_first) {
    const int first = threadIdx.x / depth;
    const int64_t column = start + threadIdx.x % depth;
    const bool is_inside = column < end, is_owner = first == 0 && is_inside;
    const int rows = is_inside ? (static_cast<int>(p.B) - first + step - 1) / step : 0;
    float values[most];
    const T* place = z + first * p.N + column;
#pragma unroll
    for (int i = 0; i < most; ++i, place += step * p.N) values[i] = i < rows ? to_float(*place) : 0;
    Column own{0, 0, 1, 0};
    if constexpr (by == By::columns) {
      const auto subtract = [&](float mean) {
#pragma unroll
        for (int i = 0; i < most; ++i) values[i] = i < rows ? values[i] - mean : 0;
      };
      if (has_mean(p.f.norm)) {  // in float32 and once more for what its rounding left; / 256 never overflows
        float sum = 0;
#pragma unroll
        for (int i = 0; i < most; ++i) sum = fmaf(values[i], 1.0f / 256, sum);
        own.mean = total(sum, means) * 256 * static_cast<float>(p.inverse_B);
        subtract(own.mean);
        sum = 0;
#pragma unroll
        for (int i = 0; i < most; ++i) sum += values[i];
        own.rest = total(sum, rests) * static_cast<float>(p.inverse_B);
        subtract(own.rest);
      }
      if (has_radius(p.f.norm)) {
        const double squared = total(sum_of_squares(values), squares);
        if (first == 0) divide(p, squared, column, is_owner && is_first, own);
      }
      if (first == 0) columns[threadIdx.x] = is_inside ? own : Column{0, 0, 0, 0};
    }
    __syncthreads();
    if (!is_first || p.is_whole) return;
    if constexpr (by == By::columns) {
      own = columns[threadIdx.x % depth];
#pragma unroll
      for (int i = 0; i < most; ++i) values[i] = own.divide(values[i]);
    }
    const double sum = total(sum_of_squares(values), normalised_squares);
    if (is_owner) p.column_squares[column] = sum;
  }

  __device__ static double sum_of_squares(const float (&values)[most]) {
    double sum = 0;
#pragma unroll
    for (int i = 0; i < most; ++i) sum += static_cast<double>(values[i]) * values[i];
    return sum;
  }

  __device__ static void divide(const Problem& p, double squared, int64_t column, bool writes, Column& own) {
    const bool is_short = p.f.norm == feature && squared < p.f.eps * p.f.eps;
    const double inverse = 1 / (p.f.norm == standardize ? sqrt(squared * p.inverse_B + variance_eps) : is_short ? p.f.eps : sqrt(squared));
    own.inverse = static_cast<float>(inverse);
    own.low = static_cast<float>(inverse - own.inverse);
    if (writes) p.inverse[column] = is_short ? -inverse : inverse;
  }
};

// e, where 2^e is about the root of a sum of squares: 2^-e brings the row to length 1 to 2 without
// rounding. Within what 2^-e can be in float32; NaN and infinity come out as one of the ends.
__device__ inline int exponent_of(double squared) {
  const int exponent = ilogb(squared);
  return exponent < -252 ? -126 : exponent > 252 ? 126 : (exponent + 252) / 2 - 126;
}

// Two sums of the rows of a tile, from threads that hold 8 values of row threadIdx.x / 2 % tile:
// left rows, then right rows, into `totals`, 2 * tile of them. Begins and ends with a barrier.
template <int tile>
__device__ inline void sum_rows(double left, double right, double* scratch, double* totals) {
  __syncthreads();
  scratch[threadIdx.x] = left;
  scratch[gram_threads + threadIdx.x] = right;
  __syncthreads();
  if (threadIdx.x < 2 * tile) {
    const double* own = scratch + threadIdx.x / tile * gram_threads + threadIdx.x % tile * 2;
    double total = 0;
    for (int i = 0; i < gram_threads; i += 2 * tile) total += own[i] + own[i + 1];
    totals[threadIdx.x] = total;
  }
  __syncthreads();
}

}  // namespace mflag::orthogonality
