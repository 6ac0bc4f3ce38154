// The tasks of one step and the threads that take them: one parallel region for all tensors.
// A tensor's norms leave w and g in cache for its update.
#pragma once
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "lars_formula.h"
#include "lars_loops.h"

namespace mflag::lars {

// A partial sum covers so many values, whatever the number of threads: that fixes the bits.
constexpr int64_t CHUNK = 16384;
// A task: w, g and m of 65,536 floats are 768 KiB and stay in a core's L2 until their update.
constexpr int64_t BLOCK = 4 * CHUNK;
// With m too, a larger tensor leaves a usual L3 before its update.
constexpr int64_t FITS_L3 = 12 * BLOCK;

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
      missing_[i] = 0;
      const Kind kind = items_[i].is_plain ? Kind::update : Kind::norms;
      // Small ones last, so that no thread waits long for another's norms.
      for (int64_t at = 0, end; at < size; at = end, missing_[i] += 1) {
        end = std::min(size, at + (size - at > 2 * BLOCK ? BLOCK : CHUNK));
        tasks_.push_back({kind, i, i, at, end});
      }
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

  // Each thread takes tasks in order, and updates the blocks whose norms it took: they are in its
  // cache. It waits for another's norms only when no task is left, and those were all taken
  // earlier: any number of threads, also one, comes to the end.
  void run_tasks() {
    std::vector<Task> mine;
    mine.reserve(tasks_.size());  // it may throw here, while the other threads can do all
    size_t next = 0;  // of mine: the first that is not updated
    for (size_t t; (t = next_.fetch_add(1)) < tasks_.size();) {
      run_task(tasks_[t]);
      if (tasks_[t].kind == Kind::norms) mine.push_back(tasks_[t]);
      while (next < mine.size() && is_finished(mine[next].item)) next = update_item(mine, next);
    }
    while (next < mine.size()) {
      for (int spin = 0; !is_finished(mine[next].item); ++spin)
        if (spin > 1000) std::this_thread::yield();
      next = update_item(mine, next);
    }
  }

  // The blocks of one item, from the last: what was read last is still in L2.
  size_t update_item(const std::vector<Task>& mine, size_t first) {
    size_t end = first;
    while (end < mine.size() && mine[end].item == mine[first].item) ++end;
    for (size_t i = end; i-- > first;) update_range(mine[i].item, mine[i].begin, mine[i].end);
    return end;
  }

  bool is_finished(size_t item) const {
    return missing_[item].load(std::memory_order_acquire) == FINISHED;
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

  void add_norms(size_t i, int64_t begin, int64_t end) {
    const auto& item = items_[i];
    const bool reads_m = item.m && (rule_.norm == Norm::momentum || item.size <= FITS_L3);
    for (int64_t at = begin; at < end; at += CHUNK)
      partials_[item.first_partial + at / CHUNK] =
          sums<T>(item.w + at, item.g + at, reads_m ? item.m + at : nullptr,
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
    update<T>(item.w + begin, item.g + begin, item.m ? item.m + begin : nullptr, end - begin,
              item.k, rule_.nesterov);
  }

  static constexpr int64_t FINISHED = -1;
  Rule rule_;
  std::vector<Item<T>> items_;
  std::unique_ptr<std::atomic<int64_t>[]> missing_;
  std::vector<Sums> partials_;
  std::vector<Task> tasks_;
  std::atomic<size_t> next_{0};
};

}  // namespace mflag::lars
