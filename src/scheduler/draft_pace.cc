#include "scheduler/draft_pace.h"

#include <algorithm>

namespace sparrow {

int DraftPace::wanted(double row_price) const {
  if (pause_left_ > 0 || balance_ <= 0) return 0;
  const int most = std::min(size_, max_drafts_);
  if (most * row_price <= balance_) return most;
  return static_cast<int>(balance_ / row_price);
}

void DraftPace::note_step(int num_guessed, int num_right, double row_price) {
  balance_ = std::min(balance_ + kAllowance + num_right - num_guessed * row_price, kMaxBalance);
  if (num_guessed == 0) {
    pause_left_ = std::max(pause_left_ - 1, 0);
    return;
  }
  size_ = num_right == num_guessed ? std::min(size_ * 2, max_drafts_) : num_right + 1;
  pause_ = num_right > 0 ? 0 : std::min(pause_ * 2 + 1, kMaxPause);
  pause_left_ = pause_;
}

}  // namespace sparrow
