#include "engine/inbox.h"

#include <algorithm>

namespace sparrow {
namespace {

// Cancels kept before duplicates are removed; more different ones than live requests cannot matter.
constexpr size_t kMaxCancels = 1u << 16;

}  // namespace

bool Inbox::try_submit(Submission&& submission) {
  {
    std::lock_guard lock(mutex_);
    if (submissions_.size() >= capacity_) return false;
    submissions_.push_back(std::move(submission));
  }
  filled_.notify_one();
  return true;
}

void Inbox::cancel(uint64_t request_id) {
  {
    std::lock_guard lock(mutex_);
    if (cancels_.size() >= kMaxCancels) {
      std::sort(cancels_.begin(), cancels_.end());
      cancels_.erase(std::unique(cancels_.begin(), cancels_.end()), cancels_.end());
    }
    cancels_.push_back(request_id);
  }
  filled_.notify_one();
}

void Inbox::abort_all(FinishReason reason) {
  {
    std::lock_guard lock(mutex_);
    abort_ = reason;
  }
  filled_.notify_one();
}

std::optional<FinishReason> Inbox::drain(std::vector<Submission>& submissions,
                                         std::vector<uint64_t>& cancels) {
  submissions.clear();
  cancels.clear();
  std::lock_guard lock(mutex_);
  submissions.swap(submissions_);
  cancels.swap(cancels_);
  return std::exchange(abort_, std::nullopt);
}

void Inbox::wait_until(TimePoint deadline) {
  std::unique_lock lock(mutex_);
  filled_.wait_until(lock, deadline, [&] { return woken_ || !empty_locked(); });
  woken_ = false;
}

void Inbox::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  filled_.notify_one();
}

bool Inbox::empty() const {
  std::lock_guard lock(mutex_);
  return empty_locked();
}

}  // namespace sparrow
