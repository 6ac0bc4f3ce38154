#include "launch.h"

#include <map>
#include <mutex>
#include <utility>

// Weak: the symbol lives in libtorch_cuda, and this library must also load into a CPU build of torch.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void**);

namespace mflag {
namespace {

cudaStream_t current_stream(int32_t device) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

Tensor zeros(const Tensor& like, int64_t n) {
  const std::array<int64_t, 1> size{n};
  return torch::stable::new_zeros(like, size, torch::headeronly::ScalarType::Int);
}

unsigned* pointer(const Tensor& counters) { return static_cast<unsigned*>(counters.mutable_data_ptr()); }

}  // namespace

Device::Device(const Tensor& tensor) : like_(tensor), guard_(tensor.get_device()), stream_(current_stream(tensor.get_device())) {}

Tensor Device::empty(int64_t n, torch::headeronly::ScalarType dtype) const {
  const std::array<int64_t, 1> size{n};
  return torch::stable::new_empty(like_, size, dtype);
}

unsigned* Device::counters(int64_t n) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(stream_, &status), "stream");
  if (status != cudaStreamCaptureStatusNone) {  // the graph may be replayed on any stream
    captured_counters_ = zeros(like_, n);
    return pointer(captured_counters_);
  }
  static std::mutex mutex;
  // Never freed: at exit the allocator may be gone before.
  static auto& of_stream = *new std::map<std::pair<int32_t, cudaStream_t>, Tensor>;
  const std::lock_guard<std::mutex> lock(mutex);
  auto& kept = of_stream[{like_.get_device(), stream_}];
  if (!kept.defined() || kept.numel() < n) kept = zeros(like_, n < 1024 ? 1024 : n);
  return pointer(kept);
}

int Device::processors() const {
  int count = 0;
  check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, like_.get_device()), "device");
  return count;
}

}  // namespace mflag
