#pragma once
// FairOrder: in which order requests of different keys are served, so that a key with a hundred
// waiting requests does not push back the first request of another. Start-time fair queueing
// (Goyal, Vin, Cheng 1996): a request's tag is the virtual time at which its key's earlier work
// would be done; lower tags go first; virtual time is the tag last served. One key alone is first
// come, first served. Engine thread only; no clock.

#include <cstdint>
#include <string>
#include <unordered_map>

namespace sparrow {

class FairOrder {
 public:
  // Keys remembered at once; beyond it history is forgotten (all keys start equal again).
  static constexpr size_t kMaxKeys = 4096;

  // Tag of a new request of `key` that will cost about `cost` tokens.
  uint64_t arrive(const std::string& key, uint64_t cost);
  void serve(uint64_t tag);
  size_t num_keys() const { return key_finish_.size(); }

 private:
  void forget_settled_keys();

  uint64_t virtual_time_ = 0;
  std::unordered_map<std::string, uint64_t> key_finish_;  // virtual end of a key's known work
};

}  // namespace sparrow
