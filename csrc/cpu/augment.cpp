// The augmentation, CPU: an image is a task. A task keeps its resampled pixels (200 KiB at 224²) in
// the core's L2, because contrast needs their mean, and then writes them out: one read of the
// source, one write of the result. And the schema that CUDA shares.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "augment_loops.h"

using torch::stable::Tensor;

namespace mflag::augment {
namespace {

struct Shape {
  int64_t height, width, size;
};

struct Range {
  int64_t begin, end;
};

// The j in [0, n) with low <= start + j·step <= high.
Range within(int64_t start, int64_t step, int64_t low, int64_t high, int64_t n) {
  if (step == 0) return low <= start && start <= high ? Range{0, n} : Range{0, 0};
  const int64_t near = (step > 0 ? low : high) - start, far = (step > 0 ? high : low) - start;
  if ((far < 0) != (step < 0) && far != 0) return {0, 0};  // moves away from the image
  const int64_t begin = (near < 0) == (step < 0) && near != 0 ? (near / step) + (near % step != 0) : 0;
  return {begin, std::min(n, far / step + 1)};
}

// One image at a time: its source with a border of zeros, and its resampled pixels.
class Sampler {
 public:
  explicit Sampler(const Shape& shape)
      : shape_(shape),
        pitch_(static_cast<uint32_t>(shape.width + 2)),
        source_((shape.height + 2) * (shape.width + 2), 0),
        pixels_(shape.size * shape.size + LANES) {}

  const float* pixels() const { return pixels_.data(); }

  // Returns the mean of the resampled pixels, 0 to 255.
  double sample(const uint8_t* image, int64_t row_stride, const float* theta) {
    const Map map = make_map(theta, shape_.height, shape_.width, shape_.size);
    if (!map.is_usable) return std::numeric_limits<double>::quiet_NaN();
    for (int64_t row = 0; row < shape_.height; ++row)
      std::copy_n(image + row * row_stride, shape_.width, &source_[(row + 1) * pitch_ + 1]);
    double total = 0;
    for (int64_t row = 0; row < shape_.size; ++row)
      total += sample_row(&pixels_[row * shape_.size], map, map.x + row * map.x_row, map.y + row * map.y_row);
    return total / static_cast<double>(shape_.size * shape_.size);
  }

 private:
  double sample_row(float* pixels, const Map& map, int64_t x, int64_t y) {
    const int64_t before = -(int64_t{1} << 32);  // a pixel between -1 and the side touches the image
    const Range columns = within(x, map.x_column, before + 1, (shape_.width << 32) - 1, shape_.size);
    const Range rows = within(y, map.y_column, before + 1, (shape_.height << 32) - 1, shape_.size);
    const int64_t begin = std::max(columns.begin, rows.begin);
    const int64_t end = std::max(begin, std::min(columns.end, rows.end));
    if (begin >= shape_.size || begin == end) {
      std::fill_n(pixels, shape_.size, 0.0f);
      return 0;
    }
    std::fill_n(pixels, begin, 0.0f);  // first: blend() writes zeros behind `end`
    std::fill(pixels + end, pixels + shape_.size, 0.0f);
    double total = 0;
    for (int64_t j = begin; j < end; j += SPAN) {
      const int64_t n = std::min(SPAN, end - j);
      locate(places_, x + j * map.x_column, y + j * map.y_column, map.x_column, map.y_column, pitch_, n);
      gather(places_, source_.data(), pitch_, n);
      total += blend(pixels + j, places_, n);
    }
    return total;
  }

  const Shape shape_;
  const uint32_t pitch_;
  std::vector<uint8_t> source_;
  std::vector<float> pixels_;
  Places places_;
};

template <typename T>
void write_image(T* out, const float* pixels, const Tone& tone, int64_t n, int64_t channels) {
  channels == 3 ? write<T, 3>(out, pixels, tone, n) : write<T, 1>(out, pixels, tone, n);
}

template <typename T>
void run(const Tensor& images, const float* theta, const float* brightness, const float* contrast,
         const Tensor& out, double mean, double std) {
  const Shape shape{images.size(2), images.size(3), out.size(2)};
  const int64_t channels = out.size(1), n = shape.size * shape.size;
  const auto* source = static_cast<const uint8_t*>(images.const_data_ptr());
  auto* result = static_cast<T*>(out.mutable_data_ptr());
  const int64_t image_stride = images.stride(0), row_stride = images.stride(2);
  torch::stable::parallel_for(0, images.size(0), 1, [&](int64_t begin, int64_t end) {
    Sampler sampler(shape);
    for (int64_t b = begin; b < end; ++b) {
      const double grey = sampler.sample(source + b * image_stride, row_stride, theta + 6 * b);
      const Tone tone = make_tone(grey, brightness[b], contrast[b], mean, std);
      write_image(result + b * n * channels, sampler.pixels(), tone, n, channels);
    }
  });
}

void augment(const Tensor& images, const Tensor& theta, const Tensor& brightness, const Tensor& contrast,
             Tensor out, double mean, double std) {
  const auto values = [](const Tensor& x) { return static_cast<const float*>(x.const_data_ptr()); };
  const bool is_float = out.scalar_type() == torch::headeronly::ScalarType::Float;
  (is_float ? run<float> : run<uint16_t>)(images, values(theta), values(brightness), values(contrast), out, mean, std);
}

}  // namespace
}  // namespace mflag::augment

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) {
  m.def(
      "augment(Tensor images, Tensor theta, Tensor brightness, Tensor contrast, Tensor(a!) out, float mean, "
      "float std) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) { m.impl("augment", TORCH_BOX(&mflag::augment::augment)); }
