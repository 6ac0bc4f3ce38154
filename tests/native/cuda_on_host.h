// Runs CUDA device code on the host: a .cuh compiles with g++, blocks run one after the other, each
// thread of a block is a fiber that runs until it reaches a barrier or a warp exchange.
//
// Use: a driver tests/native/NAME.cpp includes this header FIRST, then "NAME_kernels.cuh", and has
//   extern "C" int call_it(float* out, ..., int order) {
//     return cuda_on_host::guarded([&] {
//       cuda_on_host::Order guard(order);               // 0 forwards, 1 backwards, >1 shuffled by it
//       cuda_on_host::launch(kernel<float>, dim3(3, 2), 128, shared_bytes, out, ...);
//     });
//   }
// tests/native/on_host.py compiles and calls it. The order is that of blocks AND of the threads
// between two barriers: equal bits in all orders are the evidence against a missing barrier.
// A barrier that some threads do not reach, or reach on another line, is an error, not a hang; so is
// a warp exchange without all lanes of its mask, or a write behind the dynamic shared memory.
// Dynamic shared memory: DYNAMIC_SHARED(float, name) of csrc/cuda/device.cuh; NaN at a block's start.
// Not shown here: races inside a warp, real concurrency of blocks, spilling, speed. Blocks that wait
// for other blocks hang by design: that is reported too.
#pragma once
#define MFLAG_ON_HOST

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda_types_on_host.h"

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace cuda_on_host {

enum class Wait { none, block, warp, exited };

struct Fiber {
  jmp_buf place;
  ucontext_t start;
  uint3 index;
  Wait wait;
  int line;
  unsigned mask;
  uint64_t given, received[32];
  bool has_started;
};

constexpr size_t stack_bytes = 256 * 1024, guard_bytes = 64;

struct Machine {
  std::vector<Fiber> fibers;
  std::vector<unsigned char> shared;
  unsigned char* stacks = nullptr;
  size_t n_stacks = 0;
  Fiber* current = nullptr;
  jmp_buf scheduler;
  std::function<void()> body;
  int order = 0;
  std::string error;
};

inline Machine machine;

struct Order {
  explicit Order(int order) { machine.order = order; }
  ~Order() { machine.order = 0; }
};

inline std::vector<size_t> permutation(size_t n, uint64_t seed) {
  std::vector<size_t> places(n);
  std::iota(places.begin(), places.end(), size_t{0});
  if (machine.order == 1) std::reverse(places.begin(), places.end());
  if (machine.order > 1) std::shuffle(places.begin(), places.end(), std::mt19937_64(machine.order * 1000003u + seed));
  return places;
}

// Back to the scheduler until it wakes this fiber.
__attribute__((noinline)) inline void give_way() {
  Fiber* own = machine.current;
  if (_setjmp(own->place) == 0) _longjmp(machine.scheduler, 1);
}

inline void wait(Wait kind, int line, unsigned mask) {
  machine.current->wait = kind;
  machine.current->line = line;
  machine.current->mask = mask;
  give_way();
}

inline void enter_fiber() {
  machine.body();
  machine.current->wait = Wait::exited;
  _longjmp(machine.scheduler, 1);
}

__attribute__((noinline)) inline void resume(Fiber& fiber) {
  machine.current = &fiber;
  threadIdx = fiber.index;
  if (_setjmp(machine.scheduler) != 0) return;
  if (fiber.has_started) _longjmp(fiber.place, 1);
  fiber.has_started = true;
  setcontext(&fiber.start);
}

inline std::string describe(const Fiber& fiber) {
  const char* names[] = {"runs", "waits at __syncthreads", "waits in a warp exchange", "has returned"};
  std::string text = "thread " + std::to_string(fiber.index.x) + " " + names[static_cast<int>(fiber.wait)];
  return fiber.wait == Wait::exited ? text : text + " on line " + std::to_string(fiber.line);
}

[[noreturn]] inline void refuse(const Fiber& one, const Fiber& other) {
  throw std::runtime_error("divergent threads of block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
                           std::to_string(blockIdx.z) + "): " + describe(one) + ", " + describe(other));
}

inline bool wake_warp(size_t first) {
  auto& fibers = machine.fibers;
  const size_t end = std::min(first + 32, fibers.size());
  for (size_t i = first; i < end; ++i) {
    if (fibers[i].wait != Wait::warp) continue;
    const unsigned mask = fibers[i].mask;
    if (!(mask >> (i - first) & 1)) throw std::runtime_error("a lane outside of its own mask: " + describe(fibers[i]));
    bool is_whole = true;
    for (size_t lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1)) continue;
      if (first + lane >= end) throw std::runtime_error("the mask has lanes that the block lacks: " + describe(fibers[i]));
      const Fiber& other = fibers[first + lane];
      is_whole = is_whole && other.wait == Wait::warp && other.mask == mask && other.line == fibers[i].line;
    }
    if (!is_whole) continue;
    uint64_t values[32] = {};
    for (size_t lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1) values[lane] = fibers[first + lane].given;
    for (size_t lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1)) continue;
      std::copy(values, values + 32, fibers[first + lane].received);
      fibers[first + lane].wait = Wait::none;
    }
    return true;
  }
  return false;
}

// Everybody waits: wake a whole group, or say who does not come.
inline void wake() {
  auto& fibers = machine.fibers;
  bool has_woken = false;
  for (size_t first = 0; first < fibers.size(); first += 32)
    while (wake_warp(first)) has_woken = true;
  if (has_woken) return;
  for (const Fiber& fiber : fibers)
    if (fiber.wait != Wait::block || fiber.line != fibers[0].line) refuse(fibers[0], fiber);
  for (Fiber& fiber : fibers) fiber.wait = Wait::none;
}

inline void run_block(uint64_t block) {
  std::fill(machine.shared.begin(), machine.shared.end(), 0xff);
  for (Fiber& fiber : machine.fibers) fiber.wait = Wait::none, fiber.has_started = false;
  for (uint64_t round = 0;; ++round) {
    bool has_run = false;
    size_t n_exited = 0;
    for (size_t i : permutation(machine.fibers.size(), block * 7919 + round)) {
      Fiber& fiber = machine.fibers[i];
      if (fiber.wait == Wait::none) resume(fiber), has_run = true;
      n_exited += fiber.wait == Wait::exited;
    }
    if (n_exited == machine.fibers.size()) break;
    if (!has_run) wake();
  }
  for (size_t i = machine.shared.size() - guard_bytes; i < machine.shared.size(); ++i)
    if (machine.shared[i] != 0xff) throw std::runtime_error("a write behind the dynamic shared memory");
}

inline void prepare_fibers() {
  const size_t n = blockDim.x * blockDim.y * blockDim.z;
  if (n == 0 || n > 1024) throw std::runtime_error("a block of " + std::to_string(n) + " threads");
  if (n > machine.n_stacks) {
    if (machine.stacks != nullptr) munmap(machine.stacks, machine.n_stacks * stack_bytes);
    void* memory = mmap(nullptr, n * stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    machine.stacks = static_cast<unsigned char*>(memory);
    machine.n_stacks = n;
  }
  machine.fibers.resize(n);
  for (size_t i = 0; i < n; ++i) {
    Fiber& fiber = machine.fibers[i];
    fiber.index = {static_cast<unsigned>(i % blockDim.x), static_cast<unsigned>(i / blockDim.x % blockDim.y),
                   static_cast<unsigned>(i / blockDim.x / blockDim.y)};
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = machine.stacks + i * stack_bytes;
    fiber.start.uc_stack.ss_size = stack_bytes;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, enter_fiber, 0);
  }
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, const Arguments&... arguments) {
  if (grid.y > 65535 || grid.z > 65535 || grid.x * grid.y * grid.z == 0) throw std::runtime_error("a grid that CUDA refuses");
  gridDim = grid;
  blockDim = block;
  machine.body = [&] { kernel(static_cast<Parameters>(arguments)...); };
  machine.shared.assign(shared + guard_bytes, 0xff);
  prepare_fibers();
  for (size_t i : permutation(static_cast<size_t>(grid.x) * grid.y * grid.z, 0)) {
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    run_block(i);
  }
}

// 0, or 1 and the text in cuda_on_host_error().
template <typename F>
int guarded(const F& work) {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    machine.error = error.what();
    return 1;
  }
}

template <typename T>
T exchange(unsigned mask, T value, int source, int line) {
  static_assert(sizeof(T) <= 8);
  machine.current->given = 0;
  std::memcpy(&machine.current->given, &value, sizeof(T));
  wait(Wait::warp, line, mask);
  std::memcpy(&value, &machine.current->received[source & 31], sizeof(T));
  return value;
}

inline int lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
}

inline unsigned ballot(unsigned mask, bool claim, int line) {
  exchange(mask, static_cast<unsigned>(claim), 0, line);
  unsigned bits = 0;
  for (int i = 0; i < 32; ++i) bits |= (mask >> i & 1) && machine.current->received[i] ? 1u << i : 0u;
  return bits;
}

}  // namespace cuda_on_host

extern "C" inline __attribute__((used, visibility("default"))) const char* cuda_on_host_error() {
  return cuda_on_host::machine.error.c_str();
}

#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(cuda_on_host::machine.shared.data())

inline void __syncthreads(int line = __builtin_LINE()) { cuda_on_host::wait(cuda_on_host::Wait::block, line, 0); }
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) { cuda_on_host::wait(cuda_on_host::Wait::warp, line, mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
  const int lane = cuda_on_host::lane();
  return cuda_on_host::exchange(mask, value, lane / width * width + source % width, line);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, int line = __builtin_LINE()) {
  const int lane = cuda_on_host::lane(), source = lane ^ bits;
  return cuda_on_host::exchange(mask, value, source / width > lane / width ? lane : source, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int step, int width = 32, int line = __builtin_LINE()) {
  const int lane = cuda_on_host::lane();
  return cuda_on_host::exchange(mask, value, lane % width + step < width ? lane + step : lane, line);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int step, int width = 32, int line = __builtin_LINE()) {
  const int lane = cuda_on_host::lane();
  return cuda_on_host::exchange(mask, value, lane % width >= step ? lane - step : lane, line);
}
inline unsigned __ballot_sync(unsigned mask, int claim, int line = __builtin_LINE()) {
  return cuda_on_host::ballot(mask, claim != 0, line);
}
inline int __any_sync(unsigned mask, int claim, int line = __builtin_LINE()) {
  return cuda_on_host::ballot(mask, claim != 0, line) != 0;
}
inline int __all_sync(unsigned mask, int claim, int line = __builtin_LINE()) {
  return cuda_on_host::ballot(mask, claim != 0, line) == mask;
}
inline unsigned __activemask() { return ~0u; }

template <typename T>
T atomicAdd(T* place, T value) {
  static_assert(std::is_integral_v<T>, "sums of floats depend on the order: partials in fixed places instead");
  return std::exchange(*place, *place + value);
}
inline unsigned atomicInc(unsigned* place, unsigned limit) { return std::exchange(*place, *place >= limit ? 0 : *place + 1); }
template <typename T>
T atomicExch(T* place, T value) {
  return std::exchange(*place, value);
}
template <typename T>
T atomicMax(T* place, T value) {
  return std::exchange(*place, std::max(*place, value));
}
template <typename T>
T atomicOr(T* place, T value) {
  return std::exchange(*place, *place | value);
}
template <typename T>
T atomicCAS(T* place, T expected, T value) {
  const T before = *place;
  if (before == expected) *place = value;
  return before;
}
