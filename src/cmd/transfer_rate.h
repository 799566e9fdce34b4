#pragma once
// TransferRate: the speed of a transfer and the line that shows it. One thread. Bytes, seconds.

#include <cstdint>
#include <deque>
#include <string>

#include "base/clock.h"

namespace sparrow {

// Speed over the last seconds: a stall shows soon, one late packet does not.
class TransferRate {
 public:
  // `bytes` is the sum so far.
  void add(TimePoint now, int64_t bytes);
  // 0 while too little is known.
  double bytes_per_s() const;

 private:
  struct Sample {
    TimePoint time;
    int64_t bytes;
  };
  std::deque<Sample> samples_;  // oldest first, at most a few dozen
};

// "1.20 of 3.55 GB, 25.1 MB/s, 1 min 34 s left"; speed and rest are left out while unknown.
std::string transfer_text(int64_t done, int64_t total, double bytes_per_s);

}  // namespace sparrow
