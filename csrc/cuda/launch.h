// Host side of every CUDA op: device, stream, launches, memory of one call, counters of a stream.
#pragma once
#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdint>
#include <string>

namespace mflag {

using torch::stable::Tensor;

inline void check_cuda(cudaError_t error, const char* what) {
  STD_TORCH_CHECK(error == cudaSuccess, std::string(what) + ": " + cudaGetErrorString(error));
}

// For its lifetime the current device is that of `tensor`; launches go to its current stream.
class Device {
 public:
  explicit Device(const Tensor& tensor);

  template <typename... Parameters, typename... Arguments>
  void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, const Arguments&... arguments) const {
    if (shared > 32 * 1024)  // above 48 KB, static shared memory included, only by leave
      check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)), "shared memory");
    kernel<<<grid, block, shared, stream_>>>(static_cast<Parameters>(arguments)...);
    check_cuda(cudaGetLastError(), "kernel launch");
  }

  // n zeros that every launch must leave as zeros. Two streams do not share them, nor two graphs.
  unsigned* counters(int64_t n);
  Tensor empty(int64_t n, torch::headeronly::ScalarType dtype) const;
  int processors() const;  // SMs
  cudaStream_t stream() const { return stream_; }

 private:
  const Tensor& like_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_ = nullptr;
  Tensor captured_counters_;
};

// One allocation for all buffers of a call: take() in order, then allocate(), then the pointers.
class Workspace {
 public:
  template <typename T>
  int64_t take(int64_t n) {
    const int64_t place = size_;
    size_ += (n * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
    return place;
  }
  void allocate(const Device& device) { memory_ = device.empty(size_, torch::headeronly::ScalarType::Byte); }
  template <typename T>
  T* at(int64_t place) const {
    return reinterpret_cast<T*>(static_cast<unsigned char*>(memory_.mutable_data_ptr()) + place);
  }

 private:
  int64_t size_ = 0;
  Tensor memory_;
};

}  // namespace mflag
