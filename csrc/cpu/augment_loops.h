// The inner loops: plain code that the compiler vectorises, and the gather between them that it
// could not: a vector gather costs more than two scalar loads a pixel.
#pragma once
#include <cstdint>
#include <cstring>
#include <limits>

#include "../shared/augment_map.h"
#include "../shared/vector.h"

namespace mflag::augment {

constexpr int64_t SPAN = 256;  // pixels of a row at a time: 4 KiB on the stack

// Offsets into the source with its zero border, and the weights of the right and lower neighbours.
struct Places {
  alignas(64) int32_t offset[SPAN];
  alignas(64) float right[SPAN], down[SPAN];
  alignas(64) uint32_t square[SPAN];  // the four neighbours
};

// n pixels from fixed-point (x, y) on, in steps of (dx, dy); all of them touch the image.
MFLAG_VECTORISED inline void locate(Places& places, int64_t x, int64_t y, int64_t dx, int64_t dy,
                                    int32_t pitch, int64_t n) {
  constexpr float unit = 1.0f / (1 << 24);
  for (int64_t j = 0; j < n; ++j) {
    const uint64_t at_x = static_cast<uint64_t>(x) + static_cast<uint64_t>(j) * static_cast<uint64_t>(dx);
    const uint64_t at_y = static_cast<uint64_t>(y) + static_cast<uint64_t>(j) * static_cast<uint64_t>(dy);
    const int32_t column = static_cast<int32_t>(at_x >> 32), row = static_cast<int32_t>(at_y >> 32);
    places.offset[j] = (row + 1) * pitch + column + 1;
    places.right[j] = static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(at_x) >> 8)) * unit;
    places.down[j] = static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(at_y) >> 8)) * unit;
  }
}

inline void gather(Places& places, const uint8_t* source, int32_t pitch, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const uint8_t *above = source + places.offset[j], *below = above + pitch;
    const uint32_t top = above[0] | above[1] << 8, bottom = below[0] | below[1] << 8;
    places.square[j] = top | bottom << 16;
  }
}

// Writes n resampled pixels, 0 to 255, and returns their sum, in 16 fixed lanes.
MFLAG_VECTORISED inline double blend(float* pixels, const Places& places, int64_t n) {
  constexpr int64_t lanes = 16;
  float sum[lanes] = {};
  const auto one = [&](int64_t j) {
    const uint32_t square = places.square[j];
    const float a = static_cast<float>(static_cast<int32_t>(square & 255));
    const float b = static_cast<float>(static_cast<int32_t>(square >> 8 & 255));
    const float c = static_cast<float>(static_cast<int32_t>(square >> 16 & 255));
    const float d = static_cast<float>(static_cast<int32_t>(square >> 24));
    const float top = a + (b - a) * places.right[j], bottom = c + (d - c) * places.right[j];
    return top + (bottom - top) * places.down[j];
  };
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const float value = one(j + lane);
      pixels[j + lane] = value;
      sum[lane] += value;
    }
  for (; j < n; ++j) {
    const float value = one(j);
    pixels[j] = value;
    sum[j % lanes] += value;
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
