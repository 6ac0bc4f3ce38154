// Zeros on 2 MiB pages, for what is read in every step: with pages of 4 KiB the loops wait for
// address translation. Linux only; elsewhere, and where the system refuses, they are plain zeros.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "huge_pages.h"

namespace mflag {
namespace {

using torch::stable::Tensor;

// Of the shape, strides and dtype of `like`, which has no gaps, from the start of a page.
Tensor zeros_on_huge_pages(const Tensor& like) {
  const size_t bytes = like.numel() * like.element_size();
  void* memory = nullptr;
  if (posix_memalign(&memory, huge_page, bytes) != 0) throw std::bad_alloc();
  advise_huge_pages(memory, bytes);
  std::memset(memory, 0, bytes);
  return torch::stable::from_blob(memory, like.sizes(), like.strides(), like.device(), like.scalar_type(), &std::free);
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) { m.def("zeros_on_huge_pages(Tensor like) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) {
  m.impl("zeros_on_huge_pages", TORCH_BOX(&mflag::zeros_on_huge_pages));
}
