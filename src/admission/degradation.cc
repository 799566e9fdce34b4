#include "admission/degradation.h"

#include <algorithm>

namespace sparrow {
namespace {

double multiple(double value, double threshold) { return threshold > 0 ? value / threshold : 0; }

}  // namespace

DegradationLadder::Severity DegradationLadder::severity(const LoadSnapshot& load) const {
  const double live =
      static_cast<double>(load.num_blocks_live) / std::max(1, load.num_blocks_total);
  // Missed deadlines of a load that is gone say nothing about the next request.
  const bool is_idle = load.num_running + load.num_waiting == 0;
  const int misses = is_idle ? 0 : load.num_deadline_misses_in_a_row;
  const double step_ms = is_idle ? 0 : load.step_ms_mean;
  const double mild = std::max({multiple(live, options_.kv_share),
                                multiple(load.foreign_memory_share, options_.foreign_memory_share),
                                multiple(misses, options_.deadline_misses)});
  return {.mild = mild,
          .hard = std::max(multiple(load.oldest_wait_ms, options_.queue_age_ms),
                           multiple(step_ms, options_.step_ms))};
}

int DegradationLadder::highest_level(const Severity& severity) const {
  const auto leads_to = [&](int level, double threshold) {
    return level <= options_.max_level && threshold > 0 && severity.hard >= threshold;
  };
  if (leads_to(4, options_.refuse_severity)) return 4;
  if (leads_to(3, options_.message_severity)) return 3;
  const int shorter = std::max(severity.mild, severity.hard) >= 1 ? 2 : 0;
  return std::min(shorter, options_.max_level);
}

// One level, without the one that is left out.
void DegradationLadder::move(int direction) {
  level_ += direction;
  if (level_ == 3 && options_.message_severity <= 0) level_ += direction;
}

int DegradationLadder::update(const LoadSnapshot& load, TimePoint now) {
  if (options_.profile == DegradeProfile::kOff) return 0;
  const Severity severe = severity(load);
  const int highest = highest_level(severe);
  const bool is_calm = std::max(severe.mild, severe.hard) < options_.calm_share;
  if (is_calm != was_calm_) moved_at_ = std::max(moved_at_, now);
  was_calm_ = is_calm;
  const double since_ms = to_ms(now - moved_at_);
  if (highest > level_ && (level_ == 0 || since_ms >= options_.raise_ms)) {
    move(1);
    moved_at_ = now;
  } else if (level_ > 0 && since_ms >= options_.lower_ms &&
             (is_calm || (level_ > 2 && highest < level_))) {
    move(-1);
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
