// Drives the LARS kernels; the test lays out the tensors and the rule.
#include "cuda_on_host.h"

#include <vector>

#include "lars_kernels.cuh"

namespace {

using namespace mflag::lars;

struct Buffers {
  std::vector<Sums> partials;
  std::vector<unsigned> counters;
  std::vector<Coefficients> coefficients;
};

template <typename W, typename G, typename M, Norm norm>
void run(Arguments& args, const std::vector<Row>& rows, Buffers& buffers) {
  for (size_t begin = 0; begin < rows.size();) {
    begin = take_tensors(args, rows.data(), rows.size(), begin);
    buffers.partials.assign(args.chunks, {NAN, NAN});
    buffers.coefficients.assign(args.tensors, {NAN, NAN, NAN, NAN, NAN});
    buffers.counters.resize(args.tensors);
    args.partials = buffers.partials.data();
    args.counters = buffers.counters.data();
    args.coefficients = buffers.coefficients.data();
    cuda_on_host::launch(norms_kernel<W, G, M, norm>, args.chunks, THREADS, 0, args);
    cuda_on_host::launch(update_kernel<W, G, M>, args.chunks, THREADS, 0, args);
    for (unsigned counter : buffers.counters)
      if (counter != 0) throw std::runtime_error("a counter is left at " + std::to_string(counter));
  }
}

template <typename W, typename G, typename M>
void run_as(Arguments& args, const std::vector<Row>& rows, Buffers& buffers) {
  if (args.rule.norm == Norm::separate) run<W, G, M, Norm::separate>(args, rows, buffers);
  if (args.rule.norm == Norm::decayed) run<W, G, M, Norm::decayed>(args, rows, buffers);
  if (args.rule.norm == Norm::momentum) run<W, G, M, Norm::momentum>(args, rows, buffers);
}

std::vector<Row> rows_of(const int64_t* table, int64_t n) {
  std::vector<Row> rows;
  for (int64_t i = 0; i < n; ++i, table += 6) {
    const auto at = [&](int k) { return static_cast<uint64_t>(table[k]); };
    rows.push_back({at(0), at(1), at(2), at(3), table[4], table[5] != 0});
  }
  return rows;
}

}  // namespace

extern "C" {

// numbers: momentum, dampening, weight_decay, trust_coefficient, eps.
// switches: norm, nesterov, zero_is_plain, trust_clip, clip_zero_norm, lr_in_momentum, maximize, has_momentum, has_started.
int step(const int64_t* table, int64_t n, int64_t dtypes, const double* numbers, const int64_t* switches, const double* lr,
         const float* grad_scale, const float* found_inf, int64_t order) {
  return cuda_on_host::guarded([&] {
    cuda_on_host::Order guard(static_cast<int>(order));
    Arguments args{};
    args.rule = {0, 0, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], static_cast<Norm>(switches[0]),
                 switches[1] != 0, switches[2] != 0, switches[3] != 0, switches[4] != 0, true, switches[5] != 0, 0};
    args.is_negated = switches[6] != 0;
    args.has_momentum = switches[7] != 0;
    args.has_started = switches[8] != 0;
    args.lr = {lr, true};
    args.grad_scale = {grad_scale, false};
    args.found_inf = {found_inf, false};
    const std::vector<Row> rows = rows_of(table, n);
    Buffers buffers;
    if (dtypes == 0) run_as<float, float, float>(args, rows, buffers);
    if (dtypes == 1) run_as<__nv_bfloat16, __nv_bfloat16, float>(args, rows, buffers);
    if (dtypes == 2) run_as<__half, __half, __half>(args, rows, buffers);
  });
}

// For each chunk of the first launch: its tensor, where it starts, its size. Returns through `out`.
int places(const int64_t* table, int64_t n, const int64_t* chunks, int64_t n_chunks, int64_t* out, int64_t* taken) {
  return cuda_on_host::guarded([&] {
    Arguments args{};
    const std::vector<Row> rows = rows_of(table, n);
    *taken = static_cast<int64_t>(take_tensors(args, rows.data(), rows.size(), 0));
    for (int64_t i = 0; i < n_chunks; ++i) {
      const Place at = place_of(args, static_cast<uint32_t>(chunks[i]));
      *out++ = at.tensor;
      *out++ = at.start;
      *out++ = at.size;
    }
  });
}
}
