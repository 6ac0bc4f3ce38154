// The launches of one call. `Device` is product_device.h's, or the tests' that runs them on the host:
//   launch(kernel, grid, block, shared_bytes, arguments...), counters(n), processors(),
//   memory(bytes): for this call, 256-byte aligned;  multiply(a, b, out): torch's product;
//   least_triangle(): the side from which half a product of K is cheaper than a launch.
//
// B <= 256, B < N: K with the statistics and the loss, gradient: 2 launches (value alone 1). sample
// with λ ≠ δ 4: the rows before, as d needs whole columns of unit rows, and their projection behind,
// which needs d. Of columns a block reads z twice (the second time from the L1 cache); x is written
// once (not for none in float32) and read once, the gradient written once.
// Otherwise: normalise, torch's product K (1, 3 or 7 products), its sums, torch's product Kx, the
// backward in place (sample: 1 more for d): 3 or 4 launches beside the products. Besides x and the
// gradient, twice read and once written each, there are min(B, N)² values of K; N x N only for B >= N.
#pragma once
#include <algorithm>
#include <cstdint>

#include "orthogonality_gradient.cuh"
#include "orthogonality_gram.cuh"
#include "orthogonality_normalise.cuh"
#include "products.h"

namespace mflag::orthogonality {

template <typename Device>
class Steps {
 public:
  // `z`: (B, N), contiguous; `gradient`: (B, N) float32, or null for the value alone.
  Steps(Device& device, const Formula& formula, const void* z, Type type, int64_t B, int64_t N, float* loss, float* gradient)
      : device(device), z(z), type(type) {
    p.f = formula;
    p.B = B, p.N = N, p.loss = loss, p.gradient = gradient;
    p.inverse_s = 1 / formula.s, p.inverse_B = 1.0 / B;
    p.inner = formula.lambda / formula.s, p.outer = 4 * formula.a / formula.s;
    p.is_dual = B < N;
    p.is_whole = p.is_dual && formula.lambda == formula.delta;
    is_small = p.is_dual && B <= 256;
    p.is_raw = is_small && formula.norm == sample && !p.is_whole;
    p.side = p.is_dual ? B : N;
    p.stride = ceil_divide(p.side, 4) * 4;
    tile = !is_small ? sums_tile : B <= 128 ? 32 : 64;
    const int64_t tiles = ceil_divide(p.side, tile);
    pairs = tiles * (tiles + 1) / 2;
    p.n_off = is_small ? tiles * B : pairs;
    if (is_small) {  // about one block an SM, and few slots to add up
      span = ceil_divide(ceil_divide(N, std::min<int64_t>(most_slots, ceil_divide(144, pairs))), 32) * 32;
      slots = ceil_divide(N, span);
    }
    p.n_pieces = is_small ? slots : formula.norm == sample ? 1 : ceil_divide(N, column_tile);
  }

  void run() {
    allocate();
    if (type == Type::float32) gram_from(static_cast<const float*>(z));
    if (type == Type::bfloat16) gram_from(static_cast<const __nv_bfloat16*>(z));
    if (type == Type::float16) gram_from(static_cast<const __half*>(z));
    if (p.gradient == nullptr) return;
    is_small ? small_gradient() : large_gradient();
  }

 private:
  bool divides_later() const { return is_small && p.f.norm == sample && !p.is_raw; }
  bool copies() const { return type != Type::float32 || (p.f.norm != none && !divides_later()); }

  void allocate() {
    const int64_t n_gram = p.side * p.stride, n_partial = is_small ? slots * pairs * tile * tile : 0;
    int64_t size = 0;
    const auto take = [&](int64_t n, int64_t bytes) { return std::exchange(size, size + ceil_divide(n * bytes, 256) * 256); };
    const int64_t inverse = take(p.f.norm == sample ? p.B : p.N, 8), squares = take(p.N, 8), off = take(p.n_off, 8), alpha = take(1, 8);
    const int64_t pieces = take(p.is_dual ? p.B * p.n_pieces : 0, 8), diagonal = take(p.is_dual ? p.B : 0, 8), kept = take(p.is_dual ? p.B : 0, 4);
    const int64_t row_squares = take(divides_later() ? slots * pairs * 2 * tile : 0, 8), gram = take(n_gram, 4), parts = take(n_partial, 4), copy = take(copies() ? p.B * p.N : 0, 4);
    auto* memory = static_cast<unsigned char*>(device.memory(size));
    const auto doubles = [&](int64_t place) { return reinterpret_cast<double*>(memory + place); };
    const auto floats = [&](int64_t place) { return reinterpret_cast<float*>(memory + place); };
    p.inverse = doubles(inverse), p.column_squares = doubles(squares), p.off = doubles(off), p.alpha = doubles(alpha);
    p.pieces = p.is_dual ? doubles(pieces) : nullptr;
    p.diagonal = doubles(diagonal), p.kept = floats(kept), p.gram = floats(gram);
    partial = floats(parts), squares_of_rows = doubles(row_squares);
    x_copy = copies() ? floats(copy) : nullptr;
    x = copies() ? x_copy : static_cast<const float*>(z);
    p.counters = device.counters(1 + (is_small ? pairs : 0));
    by_vectors = p.N % 4 == 0 && is_aligned(x) && is_aligned(p.gradient);
  }

  template <typename T>
  void gram_from(const T* from) {
    if (is_small && !p.is_raw) return small_gram(from, x_copy);
    normalise_from(from);
    is_small ? small_gram<float>(x, nullptr) : large_gram();
  }

  template <typename T>
  void normalise_from(const T* from) {
    if (p.f.norm != sample) return columns(from, p.f.norm, x_copy, p.pieces);
    device.launch(normalise_rows<T>, p.B, 256, 0, p, from, x_copy);
    if (!p.is_whole && !p.is_raw) columns<float>(x, none, nullptr, nullptr);
  }

  // A warp for 8 rows, all of them on their way from memory at once; 512 threads at most.
  int column_threads() const { return 32 * static_cast<int>(std::clamp<int64_t>(ceil_divide(p.B, 8), 1, 16)); }

  template <typename T>
  void columns(const T* from, int norm, float* to, double* pieces) {
    device.launch(normalise_columns<T>, ceil_divide(p.N, column_tile), column_threads(), 0, p, from, norm, to, pieces);
  }

  template <typename T>
  void small_gram(const T* from, float* copy) {
    if (p.f.norm == none || p.is_raw)
      small_gram<By::nothing>(from, copy);
    else
      p.f.norm == sample ? small_gram<By::rows>(from, copy) : small_gram<By::columns>(from, copy);
  }

  template <By by, typename T>
  void small_gram(const T* from, float* copy) {
    tile == 32 ? small_gram<32, by>(from, copy) : small_gram<64, by>(from, copy);
  }

  template <int tile, By by, typename T>
  void small_gram(const T* from, float* copy) {
    const bool reads_vectors = p.N % 4 == 0 && is_aligned(from);
    device.launch(gram_kernel<tile, by, T>, dim3(pairs, slots), gram_threads, GramShape<tile>::shared_bytes, p, from, reads_vectors, span, partial,
                  copy, squares_of_rows);
  }

  void small_gradient() {
    const bool is_wide = ceil_divide(p.N, 32) >= device.processors();
    if (p.B <= 64)
      is_wide ? gradient<2, 32>() : gradient<1, 16>();
    else if (p.B <= 128)
      is_wide ? gradient<4, 32>() : gradient<2, 16>();
    else
      is_wide ? gradient<8, 32>() : gradient<4, 16>();
    if (p.is_raw) rows();
  }

  template <int rows, int tile>
  void gradient() {
    device.launch(gradient_kernel<rows, tile>, ceil_divide(p.N, tile), gradient_threads, GradientShape<rows, tile>::shared_bytes, p, x, by_vectors);
  }

  void rows() { device.launch(finish_rows, p.B, 256, 0, p, x); }

  void large_gram() {
    const int levels = triangle_levels(device, p.side);
    const Matrix whole{x, p.B, p.N, p.N, 1};
    multiply_triangle(device, p.is_dual ? whole : whole.transposed(), p.gram, p.stride, levels);
    device.launch(gram_sums, pairs, 256, 0, p, levels > 0);
  }

  void large_gradient() {
    const Matrix gram{p.gram, p.side, p.side, p.stride, 1}, own{x, p.B, p.N, p.N, 1}, out{p.gradient, p.B, p.N, p.N, 1};
    device.multiply(p.is_dual ? gram : own, p.is_dual ? own : gram, out);
    if (p.f.norm == sample) return rows();
    device.launch(finish_columns, ceil_divide(p.N, column_tile), column_threads(), 0, p, x);
  }

  Device& device;
  const void* z;
  const Type type;
  Problem p{};
  bool is_small, by_vectors = false;
  int tile;
  int64_t pairs, span = 0, slots = 0;
  const float* x = nullptr;
  float *x_copy = nullptr, *partial = nullptr;
  double* squares_of_rows = nullptr;
};

}  // namespace mflag::orthogonality
