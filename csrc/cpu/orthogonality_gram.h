// G = x xᵀ by its lower block triangle. The blocks depend on the shape alone and each is one
// single-threaded product, so the bits do not depend on the number of threads.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "huge_pages.h"

namespace mflag {

using torch::stable::Tensor;

inline const torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);

template <typename T>
constexpr auto type_of = sizeof(T) == 8 ? torch::headeronly::ScalarType::Double : torch::headeronly::ScalarType::Float;

// Memory from torch, so that its profiler counts it; on a cache line, so that no vector of a product
// straddles two.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size)
      : memory(torch::stable::empty(std::array<int64_t, 1>{size}, type_of<T>, std::nullopt, cpu)),
        data(static_cast<T*>(memory.mutable_data_ptr())),
        n(size) {
    advise_huge_pages(data, size * sizeof(T));
  }

  T* get() const { return data; }
  int64_t size() const { return n; }

 private:
  Tensor memory;
  T* data = nullptr;
  int64_t n = 0;
};

// Not initialised.
template <typename T>
Buffer<T> allocate(int64_t n) {
  return Buffer<T>(n);
}

template <typename T>
struct Matrix {
  T* data;
  int64_t rows, columns, row_stride, column_stride;

  Matrix block(int64_t row, int64_t n_rows, int64_t column, int64_t n_columns) const {
    return {data + row * row_stride + column * column_stride, n_rows, n_columns, row_stride, column_stride};
  }
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
};

template <typename T>
Tensor wrap(const Matrix<T>& m) {
  const std::array<int64_t, 2> sizes{m.rows, m.columns}, strides{m.row_stride, m.column_stride};
  return torch::stable::from_blob(m.data, sizes, strides, cpu, type_of<T>);
}

// out = a b by torch's own product: in a parallel region it takes one thread.
template <typename T>
void multiply(const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& out) {
  std::array<StableIValue, 3> stack{
      torch::stable::detail::from(wrap(a)), torch::stable::detail::from(wrap(b)), torch::stable::detail::from(wrap(out))};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // takes the handle, and frees it
}

template <typename F>
void parallel(int64_t n, int64_t grain, const F& work) {
  torch::stable::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i);
  });
}

// A lone unit would run outside of a parallel region; there its product takes all threads, and the
// bits follow their number.
template <typename F>
void parallel_products(int64_t n, const F& work) {
  parallel(std::max<int64_t>(n, 2), 1, [&](int64_t i) {
    if (i < n) work(i);
  });
}

// The lower triangle of out = x xᵀ; a block on the diagonal is whole.
template <typename T>
void multiply_with_own(const Matrix<T>& x, const Matrix<T>& out) {
  if (x.rows <= 64) return multiply(x, x.transposed(), out);
  const int64_t half = (x.rows / 2 + 31) / 32 * 32, rest = x.rows - half, k = x.columns;
  const Matrix<T> top = x.block(0, half, 0, k), bottom = x.block(half, rest, 0, k);
  multiply_with_own(top, out.block(0, half, 0, half));
  multiply(bottom, top.transposed(), out.block(half, rest, 0, half));
  multiply_with_own(bottom, out.block(half, rest, half, rest));
}

// The block's mirror image, by small tiles: down a whole column every element misses the cache.
template <typename T>
void mirror(T* g, int64_t m, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  constexpr int64_t tile = 16;
  for (int64_t r0 = row; r0 < row + rows; r0 += tile)
    for (int64_t c0 = column; c0 < std::min(column + columns, r0 + tile); c0 += tile)
      for (int64_t c = c0; c < std::min(c0 + tile, column + columns); ++c)
        for (int64_t r = std::max(r0, c + 1); r < std::min(r0 + tile, row + rows); ++r) g[c * m + r] = g[r * m + c];
}

template <typename T>
void gram(const Matrix<T>& x, T* g) {
  const int64_t m = x.rows, k = x.columns;
  const int64_t side = m <= 256 ? 64 : m < 1024 ? 128 : 256;
  const int64_t n = (m + side - 1) / side, tiles = n * (n + 1) / 2;
  // Few tiles: cut the inner dimension too, into partial products of at least 256 terms.
  const int64_t wanted = std::max<int64_t>(1, std::min<int64_t>((k + 255) / 256, (10 + tiles - 1) / tiles));
  const int64_t depth = (k + wanted - 1) / wanted, slices = (k + depth - 1) / depth;
  const auto partial = allocate<T>((slices - 1) * m * m);
  const auto place = [&](int64_t tile, const auto& work) {  // of the lower triangle
    int64_t i = 0, j = tile;
    while (j > i) j -= ++i;
    work(i * side, std::min(side, m - i * side), j * side, std::min(side, m - j * side));
  };
  parallel_products(tiles * slices, [&](int64_t unit) {
    const int64_t slice = unit % slices, from = slice * depth, terms = std::min(depth, k - from);
    T* base = slice == 0 ? g : partial.get() + (slice - 1) * m * m;
    place(unit / slices, [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
      const Matrix<T> left = x.block(row, rows, from, terms);
      const Matrix<T> out = Matrix<T>{base, m, m, m, 1}.block(row, rows, column, columns);
      if (row == column) return multiply_with_own(left, out);
      multiply(left, x.block(column, columns, from, terms).transposed(), out);
    });
  });
  parallel(tiles, 1, [&](int64_t tile) {  // the partials in order, then the mirror image
    place(tile, [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
      for (int64_t r = row; r < row + rows; ++r) {
        const int64_t end = std::min(column + columns, r + 1);
        for (int64_t slice = 1; slice < slices; ++slice) {
          const T* p = partial.get() + ((slice - 1) * m + r) * m;
          for (int64_t c = column; c < end; ++c) g[r * m + c] += p[c];
        }
      }
      mirror(g, m, row, rows, column, columns);
    });
  });
}

}  // namespace mflag
