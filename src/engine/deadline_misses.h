#pragma once
// DeadlineMisses: how many requests ended one after the other for a passed deadline, none in time
// between them: a sign of pressure for the degradation ladder. A request counts once, however many
// choices it has, and a quiet engine forgets. Engine thread.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sparrow {

class DeadlineMisses {
 public:
  void on_miss(uint64_t request_id) {
    const size_t known = std::min(static_cast<size_t>(count_), ids_.size());
    if (std::find(ids_.begin(), ids_.begin() + known, request_id) != ids_.begin() + known) return;
    ids_[static_cast<size_t>(count_) % ids_.size()] = request_id;
    ++count_;
  }
  void forget() { count_ = 0; }
  int count() const { return count_; }

 private:
  int count_ = 0;
  // The last ones. Choices of one request miss in one step, or a few steps apart where some wait.
  std::array<uint64_t, 64> ids_{};
};

}  // namespace sparrow
