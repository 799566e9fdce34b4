#include "admission/degradation.h"

#include <algorithm>

namespace sparrow {
namespace {

constexpr double kSeverityOfMessage = 3;
constexpr double kSeverityOfRefusal = 6;

double multiple(double value, double threshold) { return threshold > 0 ? value / threshold : 0; }

}  // namespace

double DegradationLadder::severity(const LoadSnapshot& load) {
  const double live =
      static_cast<double>(load.num_blocks_live) / std::max(1, load.num_blocks_total);
  // Missed deadlines of a load that is gone say nothing about the next request.
  const bool is_idle = load.num_running + load.num_waiting == 0;
  const int misses = is_idle ? 0 : load.num_deadline_misses_in_a_row;
  const double step_ms = is_idle ? 0 : load.step_ms_mean;
  const double mild = std::max({multiple(live, options_.kv_share),
                                multiple(load.foreign_memory_share, options_.foreign_memory_share),
                                multiple(misses, options_.deadline_misses)});
  return std::max({std::min(mild, kSeverityOfMessage - 1),
                   multiple(load.oldest_wait_ms, options_.queue_age_ms),
                   multiple(step_ms, options_.step_ms)});
}

int DegradationLadder::highest_level(double severity) const {
  int level = 0;
  if (severity >= 1) level = 2;
  if (severity >= kSeverityOfMessage) level = 3;
  if (severity >= kSeverityOfRefusal) level = 4;
  return std::min(level, options_.max_level);
}

int DegradationLadder::update(const LoadSnapshot& load, TimePoint now) {
  if (options_.profile == DegradeProfile::kOff) return 0;
  const double severe = severity(load);
  const int highest = highest_level(severe);
  const bool is_calm = severe < options_.calm_share;
  if (is_calm != was_calm_) moved_at_ = std::max(moved_at_, now);
  was_calm_ = is_calm;
  const double since_ms = to_ms(now - moved_at_);
  if (highest > level_ && (level_ == 0 || since_ms >= options_.raise_ms)) {
    ++level_;
    moved_at_ = now;
  } else if (level_ > 0 && since_ms >= options_.lower_ms &&
             (is_calm || (level_ > 2 && highest < level_))) {
    --level_;
    moved_at_ = now;
  }
  return level_;
}

Shortening DegradationLadder::shorten(const RequestShape& shape) const {
  Shortening out;
  if (level_ == 0) return out;
  const bool article = options_.profile == DegradeProfile::kArticle;
  // A budget that was asked for fits below the cap, reserve included; -1 asks for no bound.
  const int asked = article ? 0 : shape.thinking_budget.value_or(0);
  const int cap = asked > 0 ? std::max(options_.max_tokens, asked + options_.answer_reserve)
                            : options_.max_tokens;
  const bool caps = article || (level_ >= 2 && shape.max_tokens_open && asked >= 0);
  if (caps && shape.max_tokens > cap) {
    out.max_tokens = cap;
    if (shape.thinks) out.answer_reserve = std::min(options_.answer_reserve, cap / 2);
  }
  const int longest = out.max_tokens.value_or(shape.max_tokens) - out.answer_reserve;
  const bool thinking_open = article || !shape.thinking_budget;
  if (shape.thinks && thinking_open && options_.thinking_budget < longest) {
    out.thinking_budget = options_.thinking_budget;
  }
  const std::optional<double> temperature =
      article ? options_.temperature.value_or(kArticleTemperature) : options_.temperature;
  if (temperature && (article || shape.temperature_open) && shape.temperature > *temperature) {
    out.temperature = temperature;
  }
  return out;
}

}  // namespace sparrow
