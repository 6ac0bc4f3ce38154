// Ask for 2 MiB pages under a tensor that is read in every step: with pages of 4 KiB the loops wait
// for address translation. Advice only: its values stay, and where it is not taken nothing changes.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1; older ones refuse it
#endif
#endif

namespace mflag {
namespace {

using torch::stable::Tensor;

// The bytes that lie in whole 2 MiB pages, and so can be moved.
int64_t prefer_huge_pages(const Tensor& t) {
  constexpr uintptr_t page = 2 << 20;
  const auto start = reinterpret_cast<uintptr_t>(t.const_data_ptr());
  const uintptr_t first = (start + page - 1) / page * page;
  const uintptr_t end = (start + t.numel() * t.element_size()) / page * page;
  if (end <= first) return 0;
#ifdef __linux__
  // The first for pages to come, the second moves those that are there.
  void* memory = reinterpret_cast<void*>(first);
  madvise(memory, end - first, MADV_HUGEPAGE);
  madvise(memory, end - first, MADV_COLLAPSE);
#endif
  return static_cast<int64_t>(end - first);
}

}  // namespace
}  // namespace mflag

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) { m.def("prefer_huge_pages(Tensor t) -> int"); }

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) {
  m.impl("prefer_huge_pages", TORCH_BOX(&mflag::prefer_huge_pages));
}
