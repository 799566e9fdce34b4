#include "scheduler/step_cost.h"

#include <algorithm>
#include <cmath>

namespace sparrow {
namespace {

// Half the weight lies in the last 34 steps: follows a changing load within seconds.
constexpr double kFade = 0.98;
// One stuck step (a page fault storm, a suspended machine) must not shape the next hundred: what
// took more than this many times as long as predicted counts as that much. A real change to slower
// is still followed, a factor at a time.
constexpr double kMaxSurprise = 4;
// Weight of the newest step in the mean surprise; the budget keeps this many times it in reserve.
constexpr double kSurpriseWeight = 0.05;
constexpr double kReserve = 2;
// The largest step is forgotten over some hundred steps, and may be exceeded by this factor.
constexpr double kReachFade = 0.99;
constexpr double kMaxGrowth = 2;

}  // namespace

void StepCost::observe(int num_rows, double duration_ms) {
  const double n = num_rows;
  reach_ = std::max(n, reach_ * kReachFade);
  if (known()) {
    const double predicted_ms = predict_ms(num_rows);
    duration_ms = std::min(duration_ms, kMaxSurprise * predicted_ms + 1);
    const double off = predicted_ms > 0 ? std::abs(duration_ms / predicted_ms - 1) : 0;
    surprise_ += kSurpriseWeight * (std::min(off, 1.0) - surprise_);
  }
  weight_ = weight_ * kFade + 1;
  sum_n_ = sum_n_ * kFade + n;
  sum_nn_ = sum_nn_ * kFade + n * n;
  sum_t_ = sum_t_ * kFade + duration_ms;
  sum_nt_ = sum_nt_ * kFade + n * duration_ms;
  const double spread = weight_ * sum_nn_ - sum_n_ * sum_n_;
  has_line_ = spread > 1e-6 * weight_ * sum_nn_;
  if (has_line_) {
    row_ms_ = (weight_ * sum_nt_ - sum_n_ * sum_t_) / spread;
    fixed_ms_ = (sum_t_ - row_ms_ * sum_n_) / weight_;
  } else {
    fixed_ms_ = 0;  // steps of one size only: all of it counts as rows, the cautious reading
    row_ms_ = sum_t_ / sum_n_;
  }
  if (row_ms_ < 0) {
    row_ms_ = 0;
    fixed_ms_ = sum_t_ / weight_;
  } else if (fixed_ms_ < 0) {
    fixed_ms_ = 0;
    row_ms_ = sum_t_ / sum_n_;
  }
}

double StepCost::predict_ms(int num_rows) const { return fixed_ms_ + row_ms_ * num_rows; }

int StepCost::rows_within(double budget_ms, int min_rows, int max_rows) const {
  if (!known()) return max_rows;
  max_rows = std::min(max_rows, std::max(min_rows, static_cast<int>(kMaxGrowth * reach_)));
  if (row_ms_ <= 0) return max_rows;
  const double rows = (budget_ms / (1 + kReserve * surprise_) - fixed_ms_) / row_ms_;
  return static_cast<int>(std::clamp<double>(rows, min_rows, std::max(min_rows, max_rows)));
}

}  // namespace sparrow
