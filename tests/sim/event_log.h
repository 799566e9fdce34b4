#pragma once
// EventLog: the last things that happened in a run, and a hash of all of them. Adding costs a few
// words, so that everything is logged; text is made only for a report. One thread.

#include <array>
#include <cstdint>
#include <string>

#include "base/random.h"

namespace sparrow {

class EventLog {
 public:
  // `what` is a literal; a and b are what it is about.
  void add(uint64_t step, const char* what, uint64_t a = 0, int64_t b = 0) {
    entries_[num_added_++ % kCapacity] = {step, what, a, b};
    hash_ = mix64(hash_ ^ step);
    for (const char* at = what; *at != 0; ++at) hash_ = hash_ * 31 + static_cast<uint64_t>(*at);
    hash_ = mix64(hash_ ^ a) ^ mix64(static_cast<uint64_t>(b) + 1);
  }
  uint64_t hash() const { return hash_; }
  // One line each, oldest first.
  std::string text() const;

 private:
  static constexpr size_t kCapacity = 100;
  struct Entry {
    uint64_t step = 0;
    const char* what = "";
    uint64_t a = 0;
    int64_t b = 0;
  };
  std::array<Entry, kCapacity> entries_{};
  size_t num_added_ = 0;
  uint64_t hash_ = 0;
};

}  // namespace sparrow
