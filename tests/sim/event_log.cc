#include "event_log.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow {

std::string EventLog::text() const {
  std::string out;
  const size_t first = num_added_ - std::min(num_added_, kCapacity);
  for (size_t at = first; at < num_added_; ++at) {
    const Entry& entry = entries_[at % kCapacity];
    out += fmt::format("  step {:6}  {} {} {}\n", entry.step, entry.what, entry.a, entry.b);
  }
  return out;
}

}  // namespace sparrow
