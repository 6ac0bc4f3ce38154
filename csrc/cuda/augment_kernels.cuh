// The augmentation in two launches: sums of the resampled pixels, then the result.
//
// Contrast needs the mean of a whole image, more than a block's memory (200 KB at 224²). Keeping the
// resampled pixels between the launches would write and read 4 bytes a pixel beside the 12 of the
// result; resampling again reads the source once more from L2: 2 MB for 32 images of 256², where an
// A100 has 40 MB. So DRAM sees each byte of the source once and each byte of the result once.
#pragma once
#include "device.cuh"

#include "../shared/augment_map.h"

namespace mflag::augment {

constexpr int THREADS = 256, TILE = 1024;  // pixels of a block
constexpr int MAX_SLOTS = 64;              // partial sums of an image: two a lane

struct Shape {
  int64_t image_stride, row_stride;
  int height, width, size;
  int tiles, slots, span;  // of an image; a slot has `span` tiles
};

__device__ inline float resample(const uint8_t* source, const Shape& shape, const Map& map, unsigned pixel) {
  const int64_t row = pixel / static_cast<unsigned>(shape.size), column = pixel % static_cast<unsigned>(shape.size);
  const int64_t x = map.x + row * map.x_row + column * map.x_column;
  const int64_t y = map.y + row * map.y_row + column * map.y_column;
  const int left = static_cast<int>(x >> 32), top = static_cast<int>(y >> 32);
  constexpr float unit = 1.0f / (1 << 24);
  const float right_weight = static_cast<float>(static_cast<uint32_t>(x) >> 8) * unit;
  const float down_weight = static_cast<float>(static_cast<uint32_t>(y) >> 8) * unit;
  const bool has_left = left >= 0 && left < shape.width, has_right = left >= -1 && left < shape.width - 1;
  const bool has_top = top >= 0 && top < shape.height, has_bottom = top >= -1 && top < shape.height - 1;
  const int64_t above = top * shape.row_stride + left, below = above + shape.row_stride;
  const float a = has_top && has_left ? __ldg(source + above) : 0;
  const float b = has_top && has_right ? __ldg(source + above + 1) : 0;
  const float c = has_bottom && has_left ? __ldg(source + below) : 0;
  const float d = has_bottom && has_right ? __ldg(source + below + 1) : 0;
  const float upper = a + (b - a) * right_weight, lower = c + (d - c) * right_weight;
  return map.is_usable ? upper + (lower - upper) * down_weight : __int_as_float(0x7fc00000);  // NaN
}

// One block a slot of an image.
__global__ void __launch_bounds__(THREADS)
    sum_kernel(const uint8_t* images, const float* theta, double* partials, Shape shape) {
  __shared__ double scratch[THREADS / 32];
  __shared__ Map map;
  const int image = blockIdx.x / shape.slots, slot = blockIdx.x % shape.slots;
  if (threadIdx.x == 0) map = make_map(theta + 6 * int64_t{image}, shape.height, shape.width, shape.size);
  __syncthreads();
  const uint8_t* source = images + image * shape.image_stride;
  const unsigned begin = slot * shape.span * TILE;
  const unsigned end = min(begin + shape.span * TILE, static_cast<unsigned>(shape.size) * shape.size);
  float sum = 0;
  for (unsigned pixel = begin + threadIdx.x; pixel < end; pixel += THREADS) sum += resample(source, shape, map, pixel);
  const double total = block_sum(static_cast<double>(sum), scratch);
  if (threadIdx.x == 0) partials[blockIdx.x] = total;
}

__device__ inline float apply(const Tone& tone, float pixel) {
  float y = pixel * tone.factor + tone.shift;
  y = y < 0 ? 0 : y;  // NaN stays
  y = y > 1 ? 1 : y;
  return y * tone.scale + tone.offset;
}

__device__ inline void put(float* out, float value) { *out = value; }
__device__ inline void put(__nv_bfloat16* out, float value) { *out = __float2bfloat16_rn(value); }

template <typename T>
struct __align__(16) Vector {
  static constexpr int size = 16 / sizeof(T);
  T values[size];
};

// n values of `channels` a pixel, from shared memory: neighbouring threads store neighbouring
// addresses, 16 bytes each where the address allows it.
template <typename T, int channels>
__device__ void store(T* out, const float* pixels, int n, bool is_aligned) {
  constexpr int width = Vector<T>::size;
  const int whole = is_aligned ? n / width : 0;
  for (int i = threadIdx.x; i < whole; i += THREADS) {
    Vector<T> vector;
#pragma unroll
    for (int k = 0; k < width; ++k) put(vector.values + k, pixels[(i * width + k) / channels]);
    reinterpret_cast<Vector<T>*>(out)[i] = vector;
  }
  for (int i = whole * width + threadIdx.x; i < n; i += THREADS) put(out + i, pixels[i / channels]);
}

// One block a tile of an image.
template <typename T, int channels>
__global__ void __launch_bounds__(THREADS)
    write_kernel(const uint8_t* images, const float* theta, const float* brightness, const float* contrast,
                 const double* partials, T* out, float mean, float std, Shape shape) {
  __shared__ float pixels[TILE];
  __shared__ Map map;
  __shared__ Tone tone;
  const int image = blockIdx.x / shape.tiles, tile = blockIdx.x % shape.tiles;
  const int64_t area = int64_t{shape.size} * shape.size;
  if (threadIdx.x < 32) {
    const double* own = partials + int64_t{image} * shape.slots;
    const int slots = shape.slots, lane = threadIdx.x;
    const double first = lane < slots ? own[lane] : 0, second = lane + 32 < slots ? own[lane + 32] : 0;
    const double grey = warp_sum(first + second) / static_cast<double>(area);
    if (lane == 0) {
      map = make_map(theta + 6 * int64_t{image}, shape.height, shape.width, shape.size);
      tone = make_tone(grey, brightness[image], contrast[image], mean, std);
    }
  }
  __syncthreads();
  const uint8_t* source = images + image * shape.image_stride;
  const int64_t begin = int64_t{tile} * TILE;
  const int n = static_cast<int>(min(int64_t{TILE}, area - begin));
  for (int i = threadIdx.x; i < n; i += THREADS)
    pixels[i] = apply(tone, resample(source, shape, map, static_cast<unsigned>(begin + i)));
  __syncthreads();
  T* const first = out + (image * area + begin) * channels;
  store<T, channels>(first, pixels, n * channels, reinterpret_cast<uintptr_t>(first) % 16 == 0);
}

}  // namespace mflag::augment
