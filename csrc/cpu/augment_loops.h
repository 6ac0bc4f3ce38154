// The inner loops: plain code that the compiler vectorises, and the gather between them that it
// could not: a vector gather costs more than two scalar loads a pixel.
#pragma once
#include <cstdint>
#include <cstring>

#include "../shared/augment_map.h"
#include "../shared/vector.h"

namespace mflag::augment {

constexpr int64_t LANES = 16;  // whole groups only: what lies behind the last pixel is 0
constexpr int64_t SPAN = 16 * LANES;  // pixels of a row at a time: 4 KiB on the stack

// Offsets into the source with its zero border, and the weights of the right and lower neighbours.
struct Places {
  alignas(64) uint32_t offset[SPAN];
  alignas(64) float right[SPAN], down[SPAN];
  alignas(64) uint32_t square[SPAN];  // the four neighbours
};

inline int64_t whole_groups(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// n pixels from fixed-point (x, y) on, in steps of (dx, dy); all of them touch the image.
MFLAG_VECTORISED inline void locate(Places& places, int64_t x, int64_t y, int64_t dx, int64_t dy,
                                    uint32_t pitch, int64_t n) {
  constexpr float unit = 1.0f / (1 << 24);
  const auto step_x = static_cast<uint64_t>(dx), step_y = static_cast<uint64_t>(dy);
  alignas(64) uint64_t at_x[LANES], at_y[LANES];  // unsigned: behind the last pixel they may wrap
  for (uint64_t lane = 0; lane < LANES; ++lane) {
    at_x[lane] = static_cast<uint64_t>(x) + lane * step_x;
    at_y[lane] = static_cast<uint64_t>(y) + lane * step_y;
  }
  for (int64_t j = 0; j < n; j += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane) {
      const auto column = static_cast<uint32_t>(at_x[lane] >> 32), row = static_cast<uint32_t>(at_y[lane] >> 32);
      const auto right = static_cast<uint32_t>(at_x[lane]) >> 8, down = static_cast<uint32_t>(at_y[lane]) >> 8;
      places.offset[j + lane] = (row + 1) * pitch + column + 1;
      places.right[j + lane] = static_cast<float>(static_cast<int32_t>(right)) * unit;
      places.down[j + lane] = static_cast<float>(static_cast<int32_t>(down)) * unit;
      at_x[lane] += LANES * step_x;
      at_y[lane] += LANES * step_y;
    }
}

inline void gather(Places& places, const uint8_t* source, uint32_t pitch, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const uint8_t *above = source + places.offset[j], *below = above + pitch;
    const uint32_t top = above[0] | above[1] << 8, bottom = below[0] | below[1] << 8;
    places.square[j] = top | bottom << 16;
  }
  for (int64_t j = n; j < whole_groups(n); ++j) places.square[j] = 0;
}

// Writes n resampled pixels, 0 to 255, and zeros up to a whole group; returns their sum.
MFLAG_VECTORISED inline double blend(float* pixels, const Places& places, int64_t n) {
  float sum[LANES] = {};
  for (int64_t j = 0; j < n; j += LANES)
    for (int64_t lane = 0; lane < LANES; ++lane) {
      const uint32_t square = places.square[j + lane];
      const auto a = static_cast<float>(static_cast<int32_t>(square & 255));
      const auto b = static_cast<float>(static_cast<int32_t>(square >> 8 & 255));
      const auto c = static_cast<float>(static_cast<int32_t>(square >> 16 & 255));
      const auto d = static_cast<float>(static_cast<int32_t>(square >> 24));
      const float right = places.right[j + lane];
      const float top = a + (b - a) * right, bottom = c + (d - c) * right;
      const float value = top + (bottom - top) * places.down[j + lane];
      pixels[j + lane] = value;
      sum[lane] += value;
    }
  double total = 0;
  for (float lane : sum) total += lane;
  return total;
}

MFLAG_INLINED float apply(const Tone& tone, float pixel) {
  float y = pixel * tone.factor + tone.shift;
  y = y < 0 ? 0 : y;  // NaN stays
  y = y > 1 ? 1 : y;
  return y * tone.scale + tone.offset;
}

MFLAG_INLINED void put(float* out, float value) { *out = value; }

// bfloat16, to nearest, ties to even
MFLAG_INLINED void put(uint16_t* out, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  *out = static_cast<uint16_t>(value != value ? 0x7fc0 : rounded);
}

// n pixels to (n, channels) equal values.
template <typename T, int channels>
MFLAG_VECTORISED void write(T* __restrict__ out, const float* __restrict__ pixels, Tone tone, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    T value;
    put(&value, apply(tone, pixels[j]));
    for (int c = 0; c < channels; ++c) out[j * channels + c] = value;
  }
}

}  // namespace mflag::augment
