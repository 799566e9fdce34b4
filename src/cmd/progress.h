#pragma once
// Progress of long work on stderr: a bar on a terminal, one line every few seconds otherwise, with
// the time that is left as far as the work so far tells.

#include <string>

#include "base/clock.h"

namespace sparrow {

class Progress {
 public:
  // `estimates`: adds the time that is left, taken from the time since the first show().
  explicit Progress(std::string what, bool estimates = true);
  // `share` in [0, 1]; a negative share prints the text alone.
  void show(double share, const std::string& text);
  // Removes the bar.
  void clear();

 private:
  const std::string what_;
  const bool estimates_;
  const bool is_terminal_;
  RealClock clock_;
  TimePoint begin_{};
  TimePoint last_{};
  bool drawn_ = false;
};

}  // namespace sparrow
