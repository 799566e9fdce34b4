#include "scheduler/fair_order.h"

#include <algorithm>

namespace sparrow {

uint64_t FairOrder::arrive(const std::string& key, uint64_t cost) {
  if (key_finish_.size() >= kMaxKeys && !key_finish_.contains(key)) forget_settled_keys();
  uint64_t& finish = key_finish_[key];
  const uint64_t start = std::max(virtual_time_, finish);
  finish = start + std::max<uint64_t>(cost, 1);
  return start;
}

void FairOrder::serve(uint64_t tag) { virtual_time_ = std::max(virtual_time_, tag); }

// A key whose work lies behind the virtual time is like one never seen.
void FairOrder::forget_settled_keys() {
  std::erase_if(key_finish_, [&](const auto& entry) { return entry.second <= virtual_time_; });
  if (key_finish_.size() >= kMaxKeys) key_finish_.clear();
}

}  // namespace sparrow
