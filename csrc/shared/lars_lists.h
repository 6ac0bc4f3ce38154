// The lists of tensors of a LARS step: whether a kernel can pair their values by order in memory.
#pragma once
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace mflag::lars {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Tensors = std::vector<Tensor>;

struct Dtypes {
  ScalarType weight, gradient, buffer;
  bool operator==(const Dtypes&) const = default;
};

// Whether x fills its memory without gaps or overlaps, in whatever order of dimensions.
inline bool is_dense(const Tensor& x) {
  if (x.is_contiguous()) return true;
  std::vector<std::pair<int64_t, int64_t>> dims;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (x.size(d) > 1) dims.emplace_back(x.stride(d), x.size(d));
  std::sort(dims.begin(), dims.end());
  int64_t filled = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != filled) return false;
    filled *= size;
  }
  return true;
}

inline bool is_beside(const Tensor& x, const Tensor& w) {
  return x.is_cpu() == w.is_cpu() && x.is_cuda() == w.is_cuda() && x.get_device() == w.get_device();
}

// Whether the values of x and w pair up by their order in memory.
inline bool pairs_with(const Tensor& x, const Tensor& w) {
  if (!is_beside(x, w) || x.dim() != w.dim()) return false;
  const auto size = w.sizes(), stride = w.strides(), x_size = x.sizes(), x_stride = x.strides();
  for (size_t d = 0; d < size.size(); ++d)
    if (x_size[d] != size[d] || (size[d] > 1 && x_stride[d] != stride[d])) return false;
  return true;
}

inline bool is_flag(const Tensor& x, const Tensor& w) {
  return is_beside(x, w) && x.numel() == 1 && x.scalar_type() == ScalarType::Float;
}

struct Lists {
  Tensors params, grads, buffers, started;

  // A list that the rule does not need may be left out.
  bool have_lengths(bool needs_buffers) const {
    const size_t n = params.size();
    return grads.size() == n && (started.size() == n || started.empty()) &&
           (buffers.size() == n || (buffers.empty() && !needs_buffers));
  }

  // Without buffers, theirs is the weights' dtype.
  Dtypes first_dtypes() const {
    const auto w = params[0].scalar_type();
    return {w, grads[0].scalar_type(), buffers.empty() ? w : buffers[0].scalar_type()};
  }

  // Whether all are of these dtypes, on the first weight's device, and paired.
  bool pair_up(const Dtypes& dtypes) const {
    for (size_t i = 0; i < params.size(); ++i) {
      const auto& w = params[i];
      if (!is_beside(w, params[0]) || w.scalar_type() != dtypes.weight || !is_dense(w)) return false;
      if (grads[i].scalar_type() != dtypes.gradient || !pairs_with(grads[i], w)) return false;
      if (!started.empty() && !is_flag(started[i], w)) return false;
      if (buffers.empty()) continue;
      if (buffers[i].scalar_type() != dtypes.buffer || !pairs_with(buffers[i], w)) return false;
    }
    return true;
  }
};

}  // namespace mflag::lars
