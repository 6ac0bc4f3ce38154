// LARS over a list of tensors, CPU, float32 and float64; and the schema, which the CUDA file shares.
// One parallel region for the whole step. A tensor's norms leave w and g in cache for its update.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

using torch::stable::Tensor;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORIZED
#endif
#define INLINED __attribute__((always_inline)) inline

namespace {

// A partial sum covers so many values, whatever the number of threads: that fixes the bits.
constexpr int64_t CHUNK = 16384;
// A task: w and g of 65,536 floats are 512 KiB and stay in a core's L2 until their update.
constexpr int64_t BLOCK = 4 * CHUNK;
constexpr int LANES = 32;

enum class Norm : int64_t { separate, decayed, momentum };

struct Rule {
  double lr, grad_factor;
  double momentum, dampening, weight_decay, trust_coefficient, eps;
  Norm norm;
  bool nesterov, zero_is_plain, trust_clip, clip_zero_norm, adapt_without_decay, lr_in_momentum;
  int64_t exclude;

  bool is_plain(int64_t ndim) const {
    const bool excluded[] = {false, ndim <= 1, ndim == 1, true};
    return excluded[exclude] || (weight_decay == 0 && !adapt_without_decay);
  }
};

// u = a g + d w;  m <- mu m + c u;  w <- w - step (m, or u + mu m with nesterov, or u without m)
struct Coefficients {
  double a, d, c, mu, step;
};

struct Sums {
  double w = 0, x = 0;
};

template <class T>
struct Item {
  T* w;
  const T* g;
  T* m;  // null: no momentum
  float* started;
  int64_t size;
  bool is_plain;
  int64_t first_partial;
  Coefficients k;
};

// g, g + beta w, or the new buffer.
template <class T, Norm norm>
INLINED T normed_value(T w, T g, [[maybe_unused]] T m, T f, T beta, T mu) {
  T x = f * g;
  if constexpr (norm != Norm::separate) x += beta * w;
  if constexpr (norm == Norm::momentum) x = mu * m + (1 - mu) * x;
  return x;
}

// Sum of w^2 and of normed_value^2.
template <class T, Norm norm>
INLINED Sums sums_of(const T* w, const T* g, const T* m, int64_t n, T f, T beta, T mu) {
  T acc_w[LANES] = {}, acc_x[LANES] = {};
  const auto add = [&](int64_t i, int lane) __attribute__((always_inline)) {
    const T moment = norm == Norm::momentum ? m[i] : 0;
    const T x = normed_value<T, norm>(w[i], g[i], moment, f, beta, mu);
    acc_w[lane] += w[i] * w[i];
    acc_x[lane] += x * x;
  };
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) add(i + lane, lane);
  for (int lane = 0; i < n; ++i, ++lane) add(i, lane);
  Sums total;
  for (int lane = 0; lane < LANES; ++lane) {
    total.w += acc_w[lane];
    total.x += acc_x[lane];
  }
  return total;
}

template <class T, bool decay, bool momentum, bool nesterov>
INLINED void update_as(T* __restrict w, const T* __restrict g, T* __restrict m, int64_t n,
                       const Coefficients& k) {
  const T a = static_cast<T>(k.a), d = static_cast<T>(k.d), c = static_cast<T>(k.c);
  const T mu = static_cast<T>(k.mu), step = static_cast<T>(k.step);
  for (int64_t i = 0; i < n; ++i) {
    T s = a * g[i];
    if constexpr (decay) s += d * w[i];
    if constexpr (momentum) {
      const T next = mu * m[i] + c * s;
      m[i] = next;
      s = nesterov ? s + mu * next : next;
    }
    w[i] -= step * s;
  }
}

template <class T>
INLINED Sums sums_by_norm(const T* w, const T* g, const T* m, int64_t n, const Rule& r) {
  const T f = static_cast<T>(r.grad_factor), beta = static_cast<T>(r.weight_decay);
  const T mu = static_cast<T>(r.momentum);
  if (r.norm == Norm::separate) return sums_of<T, Norm::separate>(w, g, m, n, f, beta, mu);
  if (r.norm == Norm::decayed) return sums_of<T, Norm::decayed>(w, g, m, n, f, beta, mu);
  return sums_of<T, Norm::momentum>(w, g, m, n, f, beta, mu);
}

template <class T>
INLINED void update_by_kind(T* w, const T* g, T* m, int64_t n, const Coefficients& k,
                            bool nesterov) {
  const bool decay = k.d != 0;
  if (!m && decay) update_as<T, true, false, false>(w, g, m, n, k);
  if (!m && !decay) update_as<T, false, false, false>(w, g, m, n, k);
  if (m && nesterov && decay) update_as<T, true, true, true>(w, g, m, n, k);
  if (m && nesterov && !decay) update_as<T, false, true, true>(w, g, m, n, k);
  if (m && !nesterov && decay) update_as<T, true, true, false>(w, g, m, n, k);
  if (m && !nesterov && !decay) update_as<T, false, true, false>(w, g, m, n, k);
}

// The clones for each instruction set: no templates, since those cannot be dispatched.
VECTORIZED Sums sums(const float* w, const float* g, const float* m, int64_t n, const Rule& r) {
  return sums_by_norm(w, g, m, n, r);
}
VECTORIZED Sums sums(const double* w, const double* g, const double* m, int64_t n, const Rule& r) {
  return sums_by_norm(w, g, m, n, r);
}
VECTORIZED void update(float* w, const float* g, float* m, int64_t n, const Coefficients& k,
                       bool nesterov) {
  update_by_kind(w, g, m, n, k, nesterov);
}
VECTORIZED void update(double* w, const double* g, double* m, int64_t n, const Coefficients& k,
                       bool nesterov) {
  update_by_kind(w, g, m, n, k, nesterov);
}

// q; NaN norms take the side that each published zero test gives them.
double trust_ratio(double w_norm, double x_norm, bool is_zero, const Rule& r) {
  const double decay = r.norm == Norm::separate ? r.weight_decay * w_norm : 0;
  double q = is_zero ? 1 : r.trust_coefficient * w_norm / (x_norm + decay + r.eps);
  // std::min(NaN, 1) is NaN, as torch's clamp.
  if (r.trust_clip && (r.clip_zero_norm || !is_zero)) q = std::min(q / r.lr, 1.0);
  return q;
}

Coefficients coefficients(Sums sum, bool is_plain, bool has_started, const Rule& r) {
  double q = 1;
  if (!is_plain) {
    const double w_norm = std::sqrt(sum.w), x_norm = std::sqrt(sum.x);
    const bool is_zero = r.zero_is_plain ? w_norm == 0 || x_norm == 0 : !(w_norm > 0 && x_norm > 0);
    q = trust_ratio(w_norm, x_norm, is_zero, r);
    is_plain = is_zero && r.zero_is_plain && r.norm != Norm::momentum;
  }
  const double decay = is_plain ? 0 : r.weight_decay;
  if (r.norm == Norm::momentum)
    return {r.grad_factor, decay, 1 - r.momentum, r.momentum, r.lr * q};
  const double inside = r.lr_in_momentum ? r.lr : 1;
  return {inside * q * r.grad_factor, inside * q * decay, has_started ? 1 - r.dampening : 1,
          r.momentum, r.lr_in_momentum ? 1 : r.lr};
}

template <class T>
class Step {
 public:
  Step(std::vector<Item<T>> items, const Rule& rule)
      : rule_(rule), items_(std::move(items)), missing_(new std::atomic<int64_t>[items_.size()]) {
    int64_t partials = 0;
    for (auto& item : items_) {
      item.first_partial = partials;
      partials += (item.size + CHUNK - 1) / CHUNK;
    }
    partials_.resize(partials);
    plan();
  }

  void run() {
    const bool is_tiny = partials_.size() < 4;
    const int64_t threads = is_tiny ? 1 : torch::stable::get_num_threads();
    torch::stable::parallel_for(0, threads, 1, [this](int64_t, int64_t) { run_tasks(); });
  }

 private:
  enum class Kind { whole, norms, update };
  struct Task {
    Kind kind;
    size_t item, last_item;  // whole: all items in [item, last_item)
    int64_t begin, end;      // else: values of one item
  };

  void plan() {
    for (size_t i = 0; i < items_.size(); ++i) {
      const int64_t size = items_[i].size;
      if (size <= BLOCK) {
        add_whole(i);
        continue;
      }
      if (items_[i].is_plain) finish(i);
      missing_[i] = (size + BLOCK - 1) / BLOCK;
      const Kind kind = items_[i].is_plain ? Kind::update : Kind::norms;
      for (int64_t at = 0; at < size; at += BLOCK)
        tasks_.push_back({kind, i, i, at, std::min(size, at + BLOCK)});
    }
  }

  void add_whole(size_t i) {
    const int64_t size = items_[i].size;
    const bool joins = !tasks_.empty() && tasks_.back().kind == Kind::whole &&
                       tasks_.back().end + size <= BLOCK;
    if (!joins) tasks_.push_back({Kind::whole, i, i, 0, 0});
    tasks_.back().last_item = i + 1;
    tasks_.back().end += size;
  }

  // Each thread takes tasks in order and updates the blocks whose norms it took: they are in its
  // cache. Norms never wait, and updates wait only for norms of their item, which were all taken
  // earlier: any number of threads, also one, comes to the end.
  void run_tasks() {
    std::vector<Task> mine;
    for (size_t t; (t = next_.fetch_add(1)) < tasks_.size();) {
      const Task& task = tasks_[t];
      if (!mine.empty() && mine.back().item != task.item) update_all(mine);
      run_task(task);
      if (task.kind == Kind::norms) mine.push_back(task);
    }
    update_all(mine);
  }

  // Backwards: what was read last is still in L2.
  void update_all(std::vector<Task>& mine) {
    if (!mine.empty()) wait_for(missing_[mine.back().item]);
    for (; !mine.empty(); mine.pop_back())
      update_range(mine.back().item, mine.back().begin, mine.back().end);
  }

  void run_task(const Task& task) {
    if (task.kind == Kind::whole) {
      for (size_t i = task.item; i < task.last_item; ++i) {
        if (!items_[i].is_plain) add_norms(i, 0, items_[i].size);
        finish(i);
        update_range(i, 0, items_[i].size);
      }
    } else if (task.kind == Kind::update) {
      update_range(task.item, task.begin, task.end);
    } else {
      add_norms(task.item, task.begin, task.end);
      if (missing_[task.item].fetch_sub(1) == 1) {
        finish(task.item);
        missing_[task.item].store(FINISHED, std::memory_order_release);
      }
    }
  }

  static void wait_for(const std::atomic<int64_t>& missing) {
    for (int spin = 0; missing.load(std::memory_order_acquire) != FINISHED; ++spin)
      if (spin > 1000) std::this_thread::yield();
  }

  void add_norms(size_t i, int64_t begin, int64_t end) {
    const auto& item = items_[i];
    for (int64_t at = begin; at < end; at += CHUNK)
      partials_[item.first_partial + at / CHUNK] =
          sums(item.w + at, item.g + at, item.m ? item.m + at : nullptr,
               std::min(CHUNK, end - at), rule_);
  }

  void finish(size_t i) {
    auto& item = items_[i];
    Sums total;
    const int64_t chunks = item.is_plain ? 0 : (item.size + CHUNK - 1) / CHUNK;
    for (int64_t c = 0; c < chunks; ++c) {
      total.w += partials_[item.first_partial + c].w;
      total.x += partials_[item.first_partial + c].x;
    }
    item.k = coefficients(total, item.is_plain, !item.started || *item.started != 0, rule_);
    if (item.started) *item.started = 1;
  }

  void update_range(size_t i, int64_t begin, int64_t end) {
    const auto& item = items_[i];
    update(item.w + begin, item.g + begin, item.m ? item.m + begin : nullptr, end - begin, item.k,
           rule_.nesterov);
  }

  static constexpr int64_t FINISHED = -1;
  Rule rule_;
  std::vector<Item<T>> items_;
  std::unique_ptr<std::atomic<int64_t>[]> missing_;
  std::vector<Sums> partials_;
  std::vector<Task> tasks_;
  std::atomic<size_t> next_{0};
};

using Tensors = std::vector<Tensor>;

template <class T>
void run_step(const Tensors& params, const Tensors& grads, const Tensors& buffers,
              const Tensors& started, const Rule& rule) {
  std::vector<Item<T>> items;
  items.reserve(params.size());
  for (size_t i = 0; i < params.size(); ++i)
    items.push_back({static_cast<T*>(params[i].mutable_data_ptr()),
                     static_cast<const T*>(grads[i].const_data_ptr()),
                     buffers.empty() ? nullptr : static_cast<T*>(buffers[i].mutable_data_ptr()),
                     started.empty() ? nullptr : static_cast<float*>(started[i].mutable_data_ptr()),
                     params[i].numel(), rule.is_plain(params[i].dim()), 0, {}});
  Step<T>(std::move(items), rule).run();
}

// Whether x fills its memory without gaps or overlaps, in whatever order of dimensions.
bool is_dense(const Tensor& x) {
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

// Whether the values of x and w pair up by their order in memory.
bool pairs_with(const Tensor& x, const Tensor& w) {
  if (x.scalar_type() != w.scalar_type() || x.dim() != w.dim()) return false;
  for (int64_t d = 0; d < w.dim(); ++d)
    if (x.size(d) != w.size(d) || (w.size(d) > 1 && x.stride(d) != w.stride(d))) return false;
  return true;
}

bool fits(const Tensors& params, const Tensors& grads, const Tensors& buffers) {
  using torch::headeronly::ScalarType;
  const auto dtype = params[0].scalar_type();
  if (dtype != ScalarType::Float && dtype != ScalarType::Double) return false;
  for (size_t i = 0; i < params.size(); ++i) {
    const auto& w = params[i];
    if (w.scalar_type() != dtype || !is_dense(w) || !pairs_with(grads[i], w)) return false;
    if (!buffers.empty() && !pairs_with(buffers[i], w)) return false;
  }
  return true;
}

double value_or(const std::optional<Tensor>& x, double otherwise) {
  return x ? *static_cast<const double*>(x->const_data_ptr()) : otherwise;
}

// False: tensors that this kernel does not take, nothing was written.
bool lars_step_(Tensors params, Tensors grads, Tensors buffers, Tensors started, Tensor lr,
                std::optional<Tensor> grad_scale, std::optional<Tensor> found_inf, double momentum,
                double dampening, double weight_decay, bool nesterov, double trust_coefficient,
                double eps, int64_t norm, bool zero_is_plain, bool trust_clip, bool clip_zero_norm,
                int64_t exclude, bool adapt_without_decay, bool lr_in_momentum, bool maximize) {
  if (params.empty()) return true;
  if (!fits(params, grads, buffers)) return false;
  if (value_or(found_inf, 0) != 0) return true;
  const double sign = maximize ? -1 : 1;
  const Rule rule{value_or(lr, 0), sign / value_or(grad_scale, 1), momentum, dampening,
                  weight_decay, trust_coefficient, eps, static_cast<Norm>(norm), nesterov,
                  zero_is_plain, trust_clip, clip_zero_norm, adapt_without_decay, lr_in_momentum,
                  exclude};
  if (params[0].scalar_type() == torch::headeronly::ScalarType::Double)
    run_step<double>(params, grads, buffers, started, rule);
  else
    run_step<float>(params, grads, buffers, started, rule);
  return true;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(mflag_native, m) {
  m.def(
      "lars_step_(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] momentum_buffers,"
      " Tensor(c!)[] started, Tensor lr, Tensor? grad_scale, Tensor? found_inf, float momentum,"
      " float dampening, float weight_decay, bool nesterov, float trust_coefficient, float eps,"
      " int norm, bool zero_is_plain, bool trust_clip, bool clip_zero_norm, int exclude,"
      " bool adapt_without_decay, bool lr_in_momentum, bool maximize) -> bool");
}

STABLE_TORCH_LIBRARY_IMPL(mflag_native, CPU, m) {
  m.impl("lars_step_", TORCH_BOX(&lars_step_));
}
