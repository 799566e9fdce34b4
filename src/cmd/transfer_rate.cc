#include "cmd/transfer_rate.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow {
namespace {

constexpr Duration kRateWindow = std::chrono::seconds(10);
constexpr Duration kRateStep = std::chrono::milliseconds(500);
constexpr double kShortestRate = 0.5;  // seconds; below, a speed is noise

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::min(seconds, 1e9) + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace

void TransferRate::add(TimePoint now, int64_t bytes) {
  // The newest sample moves along until it is a step away from the one before.
  const size_t count = samples_.size();
  if (count >= 2 && now - samples_[count - 2].time < kRateStep) {
    samples_.back() = {now, bytes};
  } else {
    samples_.push_back({now, bytes});
  }
  while (samples_.size() > 2 && now - samples_.front().time > kRateWindow) samples_.pop_front();
}

double TransferRate::bytes_per_s() const {
  if (samples_.size() < 2) return 0;
  const double seconds = to_seconds(samples_.back().time - samples_.front().time);
  if (seconds < kShortestRate) return 0;
  return static_cast<double>(samples_.back().bytes - samples_.front().bytes) / seconds;
}

std::string transfer_text(int64_t done, int64_t total, double bytes_per_s) {
  const bool large = total >= 1'000'000'000;
  const double unit = large ? 1e9 : 1e6;
  std::string text =
      fmt::format("{:.{}f} of {:.{}f} {}", static_cast<double>(done) / unit, large ? 2 : 1,
                  static_cast<double>(total) / unit, large ? 2 : 1, large ? "GB" : "MB");
  if (bytes_per_s > 0) {
    text += fmt::format(", {:.1f} MB/s, {} left", bytes_per_s * 1e-6,
                        duration_text(static_cast<double>(total - done) / bytes_per_s));
  }
  return text;
}

}  // namespace sparrow
