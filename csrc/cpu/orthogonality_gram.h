// G = x xᵀ by its lower block triangle. The blocks depend on the shape alone and each is one
// single-threaded product, so the bits do not depend on the number of threads.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

namespace mflag {

using torch::stable::Tensor;

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
  constexpr auto type = sizeof(T) == 8 ? torch::headeronly::ScalarType::Double : torch::headeronly::ScalarType::Float;
  const std::array<int64_t, 2> sizes{m.rows, m.columns}, strides{m.row_stride, m.column_stride};
  return torch::stable::from_blob(m.data, sizes, strides, torch::stable::Device(torch::headeronly::DeviceType::CPU), type);
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

template <typename T>
void gram(const Matrix<T>& x, T* g) {
  const int64_t m = x.rows, k = x.columns;
  const int64_t side = m <= 256 ? 64 : m <= 1024 ? 128 : 256;
  const int64_t n = (m + side - 1) / side, tiles = n * (n + 1) / 2;
  // Few tiles: cut the inner dimension too, into partial products of at least 256 terms.
  const int64_t slices = std::max<int64_t>(1, std::min<int64_t>((k + 255) / 256, (12 + tiles - 1) / tiles));
  const int64_t depth = (k + slices - 1) / slices;
  const auto partial = std::make_unique_for_overwrite<T[]>((slices - 1) * m * m);
  parallel(tiles * slices, 1, [&](int64_t unit) {
    const int64_t slice = unit % slices;
    int64_t i = 0, j = unit / slices;
    while (j > i) j -= ++i;
    const int64_t row = i * side, column = j * side, from = slice * depth;
    const int64_t rows = std::min(side, m - row), columns = std::min(side, m - column);
    const int64_t terms = std::min(depth, k - from);
    T* base = slice == 0 ? g : partial.get() + (slice - 1) * m * m;
    const Matrix<T> out{base, m, m, m, 1};
    if (terms <= 0) {
      for (int64_t r = row; r < row + rows; ++r) std::fill_n(base + r * m + column, columns, T(0));
      return;
    }
    multiply(x.block(row, rows, from, terms), x.block(column, columns, from, terms).transposed(),
             out.block(row, rows, column, columns));
  });
  parallel(n, 1, [&](int64_t i) {  // the partials in order, then the mirror image
    for (int64_t row = i * side; row < std::min(m, (i + 1) * side); ++row) {
      const int64_t length = std::min(m, (i + 1) * side);
      for (int64_t slice = 1; slice < slices; ++slice) {
        const T* p = partial.get() + (slice - 1) * m * m + row * m;
        for (int64_t column = 0; column < length; ++column) g[row * m + column] += p[column];
      }
    }
  });
  parallel(n, 1, [&](int64_t i) {
    for (int64_t j = 0; j < i; ++j)
      for (int64_t column = j * side; column < (j + 1) * side; ++column)
        for (int64_t row = i * side; row < std::min(m, (i + 1) * side); ++row)
          g[column * m + row] = g[row * m + column];
  });
}

}  // namespace mflag
