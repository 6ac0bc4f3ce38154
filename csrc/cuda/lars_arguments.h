// What the two launches of a LARS step take: plain C++, also for tests on the host.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../cpu/lars_formula.h"

namespace mflag::lars {

// A partial sum covers so many values: with the order of the sums, that fixes the bits.
constexpr int64_t CHUNK = 8192;

// A launch carries its tensors as an argument, which may hold 32,764 bytes from CUDA 12.1 on: no
// table is copied to the device, and a CUDA graph keeps its own.
constexpr int64_t MAX_WORDS = 4000;

// A () float or double on the device; null: not given.
struct Scalar {
  const void* place;
  bool is_double;
};

// Four words a tensor: w, g, m, and its chunks; behind them, if any, the addresses of the flags.
struct Arguments {
  Rule rule;
  Scalar lr, grad_scale, found_inf;
  Sums* partials;
  unsigned* counters;
  Coefficients* coefficients;
  int32_t tensors;
  uint32_t chunks;
  bool has_momentum, has_started, is_negated;
  uint64_t words[MAX_WORDS];
};
static_assert(sizeof(Arguments) <= 32764);

constexpr int64_t most_tensors(bool has_started) { return MAX_WORDS / (has_started ? 5 : 4); }

struct Row {
  uint64_t w, g, m, flag;  // addresses
  int64_t size;
  bool is_plain;

  // One for an empty tensor too: it has a flag to set.
  int64_t chunks() const { return std::max<int64_t>(1, (size + CHUNK - 1) / CHUNK); }
};

// Fills in the tensors from `begin` on that one launch holds, whole ones; the first that it does not.
inline size_t take_tensors(Arguments& args, const Row* rows, size_t n, size_t begin) {
  constexpr int64_t most_blocks = (int64_t{1} << 31) - 1;
  const size_t most = std::min(n, begin + static_cast<size_t>(most_tensors(args.has_started)));
  int64_t chunks = 0;
  size_t end = begin;
  for (; end < most && chunks + rows[end].chunks() <= most_blocks; ++end) {
    const Row& row = rows[end];
    const int64_t in_last = row.size - (row.chunks() - 1) * CHUNK;
    uint64_t* words = args.words + 4 * (end - begin);
    words[0] = row.w;
    words[1] = row.g;
    words[2] = row.m;
    words[3] = static_cast<uint64_t>(chunks) << 32 | static_cast<uint64_t>(in_last) << 1 | uint64_t{row.is_plain};
    chunks += row.chunks();
  }
  args.tensors = static_cast<int32_t>(end - begin);
  args.chunks = static_cast<uint32_t>(chunks);
  for (size_t i = begin; args.has_started && i < end; ++i) args.words[4 * args.tensors + i - begin] = rows[i].flag;
  return end;
}

}  // namespace mflag::lars
