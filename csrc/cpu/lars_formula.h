// What one step computes, up to the loops: the rule, and a tensor's coefficients from its norms.
// Shared by the CPU and CUDA.
#pragma once
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define MFLAG_ANYWHERE __host__ __device__
#else
#define MFLAG_ANYWHERE
#endif

namespace mflag::lars {

enum class Norm : int64_t { separate, decayed, momentum };

struct Rule {
  double lr, grad_factor;
  double momentum, dampening, weight_decay, trust_coefficient, eps;
  Norm norm;
  bool nesterov, zero_is_plain, trust_clip, clip_zero_norm, adapt_without_decay, lr_in_momentum;
  int64_t exclude;

  bool needs_buffers() const { return momentum != 0 || norm == Norm::momentum; }

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

// q; NaN norms take the side that each published zero test gives them.
MFLAG_ANYWHERE inline double trust_ratio(double w_norm, double x_norm, bool is_zero, const Rule& r) {
  const double decay = r.norm == Norm::separate ? r.weight_decay * w_norm : 0;
  const double q = is_zero ? 1 : r.trust_coefficient * w_norm / (x_norm + decay + r.eps);
  const bool is_clipped = r.trust_clip && (!is_zero || (r.clip_zero_norm && !r.zero_is_plain));
  return is_clipped ? (q / r.lr > 1 ? 1 : q / r.lr) : q;  // NaN stays, as in torch's clamp
}

MFLAG_ANYWHERE inline Coefficients coefficients(Sums sum, bool is_plain, bool has_started, const Rule& r) {
  double q = 1;
  if (!is_plain) {
    const double w_norm = sqrt(sum.w), x_norm = sqrt(sum.x);
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

}  // namespace mflag::lars
