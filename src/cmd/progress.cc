#include "cmd/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace sparrow {
namespace {

constexpr int kBarWidth = 30;
// Before this much time or work an estimate would only jump about.
constexpr double kEstimateAfterSeconds = 2;
constexpr double kEstimateAfterShare = 0.005;

// ", 1:05 left", or nothing.
std::string left_text(double elapsed, double share) {
  if (elapsed < kEstimateAfterSeconds || share < kEstimateAfterShare || share >= 1) return {};
  const auto seconds = static_cast<int64_t>(elapsed / share * (1 - share) + 0.5);
  if (seconds < 3600) return fmt::format(", {}:{:02} left", seconds / 60, seconds % 60);
  return fmt::format(", {} h {:02} min left", seconds / 3600, seconds / 60 % 60);
}

}  // namespace

Progress::Progress(std::string what, bool estimates)
    : what_(std::move(what)), estimates_(estimates), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::show(double share, const std::string& text) {
  const TimePoint now = clock_.now();
  if (begin_ == TimePoint{}) begin_ = now;
  const Duration interval =
      is_terminal_ ? Duration(std::chrono::milliseconds(100)) : Duration(std::chrono::seconds(5));
  if (last_ != TimePoint{} && now - last_ < interval) return;
  if (last_ == TimePoint{} && !is_terminal_) {
    last_ = now;  // short work stays silent in a log
    return;
  }
  last_ = now;
  std::string line = what_;
  if (share >= 0) {
    const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * kBarWidth);
    line += fmt::format(" [{}{}] {:3.0f} %", std::string(static_cast<size_t>(filled), '#'),
                        std::string(static_cast<size_t>(kBarWidth - filled), '.'), share * 100);
  }
  line += "  " + text;
  if (estimates_) line += left_text(to_seconds(now - begin_), share);
  std::fputs(is_terminal_ ? fmt::format("\r{}\x1b[K", line).c_str() : (line + "\n").c_str(),
             stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  if (is_terminal_ && drawn_) std::fputs("\r\x1b[K", stderr);
}

}  // namespace sparrow
