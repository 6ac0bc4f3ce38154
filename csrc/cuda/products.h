// What ops around torch's products share on the host: matrices, element types, triangles of Gram
// matrices. `Device` is product_device.h's, or the tests' that runs on the host.
#pragma once
#include <cstdint>

namespace mflag {

enum class Type { float32, bfloat16, float16 };

struct Matrix {
  const float* data;
  int64_t rows, columns, row_stride, column_stride;

  Matrix top(int64_t n) const { return {data, n, columns, row_stride, column_stride}; }
  Matrix bottom(int64_t n) const { return {data + n * row_stride, rows - n, columns, row_stride, column_stride}; }
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
};

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// The tiles of passes over Gram matrices: triangles are cut between them.
constexpr int64_t gram_side = 64;

// How often a triangle is halved: 3/4 of the products in 3 calls, or 5/8 of them in 7.
template <typename Device>
int triangle_levels(const Device& device, int64_t side) {
  const int64_t least = device.least_triangle();
  return side >= 2 * least ? 2 : side >= least ? 1 : 0;
}

// The lower triangle of own·ownᵀ to `out`, rows `stride` apart; all of it where levels is 0.
template <typename Device>
void multiply_triangle(Device& device, const Matrix& own, float* out, int64_t stride, int levels) {
  if (levels == 0) return device.multiply(own, own.transposed(), Matrix{out, own.rows, own.rows, stride, 1});
  const int64_t half = ceil_divide(own.rows / 2, gram_side) * gram_side;
  const Matrix top = own.top(half), bottom = own.bottom(half);
  multiply_triangle(device, top, out, stride, levels - 1);
  device.multiply(bottom, top.transposed(), Matrix{out + half * stride, bottom.rows, half, stride, 1});
  multiply_triangle(device, bottom, out + half * stride + half, stride, levels - 1);
}

}  // namespace mflag
