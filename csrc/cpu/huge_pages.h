// Advice to lay memory on 2 MiB pages: with pages of 4 KiB large loops wait for address translation,
// and fresh memory for one page fault after another.
#pragma once
#include <cstddef>
#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace mflag {

constexpr size_t huge_page = 2 << 20;

// The whole pages in `bytes` from `memory`. Linux only, and only advice.
inline void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + huge_page - 1) / huge_page * huge_page, end = (address + bytes) / huge_page * huge_page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace mflag
