#include "scheduler/draft_pace.h"

#include <algorithm>

namespace sparrow {
namespace {

// Weight of the newest guess in the share of right ones, once some were judged.
constexpr double kGuessWeight = 0.08;
// Later guesses that nobody makes are never judged: after a draft that was all right, they are
// thought a little more of.
constexpr double kHope = 0.01;

}  // namespace

int DraftPace::wanted(std::span<const double> prices) const {
  int best = 0;
  double best_gain = 0, reached = 1, num_right = 0;
  for (size_t i = 0; i < prices.size(); ++i) {
    reached *= i == 0 ? first_.right : later_.right;
    num_right += reached;
    if (prices[i] > balance_) continue;  // a larger step may still be cheaper
    if (num_right - prices[i] <= best_gain) continue;
    best_gain = num_right - prices[i];
    best = static_cast<int>(i) + 1;
  }
  if (best > 0) return best;
  return pause_left_ == 0 && !prices.empty() && prices[0] <= balance_ ? 1 : 0;
}

void DraftPace::note_step(int num_guessed, int num_right, double cost) {
  balance_ = std::min(balance_ + kAllowance + num_right - cost, kMaxBalance);
  if (num_guessed == 0) {
    pause_left_ = std::max(pause_left_ - 1, 0);
    return;
  }
  for (int i = 0; i < std::min(num_right + 1, num_guessed); ++i) {
    Share& share = i == 0 ? first_ : later_;
    const double weight = std::max(1.0 / ++share.num_judged, kGuessWeight);
    share.right += weight * ((i < num_right ? 1.0 : 0.0) - share.right);
  }
  if (num_right == num_guessed) {
    later_.right += kHope * std::max(first_.right - later_.right, 0.0);
  }
  pause_ = num_right > 0 ? 0 : std::min(pause_ * 2 + 1, kMaxPause);
  pause_left_ = pause_;
}

}  // namespace sparrow
