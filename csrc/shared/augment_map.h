// Where the pixels of an augmented image lie in its source. The same integers on CPU and GPU.
#pragma once
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define MFLAG_ON_BOTH __host__ __device__
#else
#define MFLAG_ON_BOTH
#endif

namespace mflag::augment {

// Coordinates are pixels in fixed point with 32 bits of fraction: adding a step is exact, so every
// backend finds the same neighbours, and a weight keeps the 24 bits that float holds. float itself
// would be off by 2^-16 pixels at column 256.
constexpr double ONE = 4294967296.0;
constexpr float FARTHEST = 1073741824.0f;  // pixels; as in mflag/ops/augment_reference.py

struct Map {
  int64_t x, y;                // of output pixel (0, 0)
  int64_t x_column, y_column;  // what a step to the next column adds
  int64_t x_row, y_row;
  bool is_usable;  // else a coordinate is not finite or too far out
};

MFLAG_ON_BOTH inline int64_t fixed(double pixels) {
  return static_cast<int64_t>(floor(pixels * ONE + 0.5));
}

// theta: (2, 3) as F.affine_grid takes it; its coordinates go from -1 to 1 over a side, and with
// align_corners=False output pixel j has its center at (2j + 1)/size - 1.
MFLAG_ON_BOTH inline Map make_map(const float* theta, int64_t height, int64_t width, int64_t size) {
  const float reach_x = fabsf(theta[0]) + fabsf(theta[1]) + fabsf(theta[2]);
  const float reach_y = fabsf(theta[3]) + fabsf(theta[4]) + fabsf(theta[5]);
  const float side = static_cast<float>(height > width ? height : width);
  if (!(reach_x * side < FARTHEST && reach_y * side < FARTHEST)) return {0, 0, 0, 0, 0, 0, false};
  const double first = 1.0 / static_cast<double>(size) - 1;
  const double to_x = static_cast<double>(width) / 2, to_y = static_cast<double>(height) / 2;
  const double step = 2.0 / static_cast<double>(size);
  const double x = (static_cast<double>(theta[0]) + theta[1]) * first + theta[2];
  const double y = (static_cast<double>(theta[3]) + theta[4]) * first + theta[5];
  return {fixed((x + 1) * to_x - 0.5), fixed((y + 1) * to_y - 0.5),
          fixed(theta[0] * step * to_x), fixed(theta[3] * step * to_y),
          fixed(theta[1] * step * to_x), fixed(theta[4] * step * to_y), true};
}

// y = clamp(x·factor + shift, 0, 1)·scale + offset, x the resampled pixel from 0 to 255.
struct Tone {
  float factor, shift, scale, offset;
};

// grey: the mean of x. Contrast around it, brightness, and the division by 255 in one factor.
MFLAG_ON_BOTH inline Tone make_tone(double grey, double brightness, double contrast, double mean,
                                    double std) {
  return {static_cast<float>(contrast * brightness / 255),
          static_cast<float>((1 - contrast) * grey * brightness / 255),
          static_cast<float>(1 / std), static_cast<float>(-mean / std)};
}

}  // namespace mflag::augment
