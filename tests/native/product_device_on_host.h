// The device of ops around torch's products, on the host; torch's product is a plain loop.
#pragma once
#include "cuda_on_host.h"

#include "products.h"

namespace mflag {

struct HostDevice {
  int n_processors;
  std::vector<unsigned char> bytes;
  std::vector<unsigned> zeros;
  int launches = 0, products = 0;

  template <typename... Parameters, typename... Arguments>
  void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, const Arguments&... arguments) {
    cuda_on_host::launch(kernel, grid, block, shared, arguments...);
    ++launches;
    if (std::any_of(zeros.begin(), zeros.end(), [](unsigned count) { return count != 0; })) throw std::runtime_error("a counter is left above zero");
  }
  unsigned* counters(int64_t n) {
    zeros.assign(n, 0);
    return zeros.data();
  }
  int processors() const { return n_processors; }
  static int64_t least_triangle() { return 130; }
  void* memory(int64_t size) {  // NaN: what is read before it is written shows
    bytes.assign(size + 256, 0xff);
    const auto place = reinterpret_cast<uintptr_t>(bytes.data());
    return bytes.data() + (256 - place % 256);
  }
  void multiply(const Matrix& a, const Matrix& b, const Matrix& out) {
    ++products;
    for (int64_t i = 0; i < a.rows; ++i)
      for (int64_t j = 0; j < b.columns; ++j) {
        double sum = 0;  // the errors that show are those of our own launches
        for (int64_t k = 0; k < a.columns; ++k)
          sum += static_cast<double>(a.data[i * a.row_stride + k * a.column_stride]) * b.data[k * b.row_stride + j * b.column_stride];
        const_cast<float*>(out.data)[i * out.row_stride + j] = static_cast<float>(sum);
      }
  }
};

}  // namespace mflag
