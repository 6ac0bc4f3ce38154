// The launches of one call. `Device`: as for orthogonality_steps.h.
//
// 3 launches (value alone 2) beside torch's products: K_x, K_y, K_y x, K_x y for B < N (a Gram matrix
// is 1, 3 or 7 of them), otherwise C, y Cᵀ, x C. Beside the gradients there are x and y, and 2 B²
// values for B < N; N x N only for B >= N.
#pragma once
#include <algorithm>
#include <utility>

#include "barlow_twins_kernels.cuh"
#include "products.h"

namespace mflag::barlow_twins {

template <typename Device>
class Steps {
 public:
  // `z_a`, `z_b`: (B, N), contiguous; the gradients: (B, N) float32, or null for the value alone.
  Steps(Device& device, double lambda, Type type, int64_t B, int64_t N, float* loss, float* gradient_a, float* gradient_b) : device(device), type(type) {
    p.B = B, p.N = N, p.is_dual = B < N, p.lambda = lambda, p.inverse_B = 1.0 / B;
    p.loss = loss;
    p.views[0].gradient = gradient_a, p.views[1].gradient = gradient_b;
    p.n_pieces = ceil_divide(N, column_tile);
    p.side = p.is_dual ? B : N;
    const int64_t tiles = ceil_divide(p.side, tile);
    p.n_off = p.is_dual ? tiles * (tiles + 1) / 2 : tiles * tiles;
  }

  void run(const void* z_a, const void* z_b) {
    allocate();
    if (type == Type::float32) standardise<float>(z_a, z_b);
    if (type == Type::bfloat16) standardise<__nv_bfloat16>(z_a, z_b);
    if (type == Type::float16) standardise<__half>(z_a, z_b);
    p.is_dual ? multiply_grams() : multiply_views();
    if (p.views[0].gradient != nullptr) differentiate();
  }

 private:
  void allocate() {
    int64_t size = 0;
    const auto take = [&](int64_t n, int64_t bytes) { return std::exchange(size, size + ceil_divide(n * bytes, 256) * 256); };
    const int64_t d = take(p.N, 8), off = take(p.n_off, 8), alpha = take(2, 8), n_rows = p.is_dual ? p.B : 0;
    int64_t places[2][6];
    for (auto& own : places) {
      own[0] = take(p.B * p.N, 4), own[1] = take(p.N, 8);
      own[2] = take(n_rows * p.n_pieces, 8), own[3] = take(n_rows, 8), own[4] = take(n_rows, 4);
      own[5] = p.is_dual || &own == places ? take(p.side * p.side, 4) : places[0][5];
    }
    auto* memory = static_cast<unsigned char*>(device.memory(size));
    const auto doubles = [&](int64_t place) { return reinterpret_cast<double*>(memory + place); };
    const auto floats = [&](int64_t place) { return reinterpret_cast<float*>(memory + place); };
    p.d = doubles(d), p.off = doubles(off), p.alpha = doubles(alpha);
    for (int i = 0; i < 2; ++i) {
      View& view = p.views[i];
      view.x = floats(places[i][0]), view.inverse = doubles(places[i][1]), view.pieces = doubles(places[i][2]);
      view.squares = doubles(places[i][3]), view.kept = floats(places[i][4]), view.gram = floats(places[i][5]);
    }
    p.counters = device.counters(1);
  }

  // A warp for 8 rows, all of them on their way from memory at once; 512 threads at most.
  int column_threads() const { return 32 * static_cast<int>(std::clamp<int64_t>(ceil_divide(p.B, 8), 1, 16)); }

  template <typename T>
  void standardise(const void* z_a, const void* z_b) {
    device.launch(standardise_views<T>, p.n_pieces, column_threads(), 0, p, static_cast<const T*>(z_a), static_cast<const T*>(z_b));
  }

  Matrix rows(const View& view) const { return {view.x, p.B, p.N, p.N, 1}; }
  Matrix gram(const View& view) const { return {view.gram, p.side, p.side, p.side, 1}; }
  Matrix gradient(const View& view) const { return {view.gradient, p.B, p.N, p.N, 1}; }

  void multiply_grams() {
    const int levels = triangle_levels(device, p.side);
    for (const View& view : p.views) multiply_triangle(device, rows(view), view.gram, p.side, levels);
    device.launch(gram_pair_sums, p.n_off, 256, 0, p, levels > 0);
  }

  void multiply_views() {
    device.multiply(rows(p.views[0]).transposed(), rows(p.views[1]), gram(p.views[0]));
    device.launch(cross_sums, p.n_off, 256, 0, p);
  }

  void differentiate() {
    const View &a = p.views[0], &b = p.views[1];
    if (p.is_dual) {
      device.multiply(gram(b), rows(a), gradient(a));
      device.multiply(gram(a), rows(b), gradient(b));
    } else {
      device.multiply(rows(b), gram(a).transposed(), gradient(a));
      device.multiply(rows(a), gram(a), gradient(b));
    }
    device.launch(finish_views, dim3(p.n_pieces, 2), column_threads(), 0, p);
  }

  Device& device;
  const Type type;
  Problem p{};
};

}  // namespace mflag::barlow_twins
