#include "admission/key_limits.h"

#include <algorithm>
#include <cmath>

namespace sparrow {
namespace {

constexpr double kMinuteMs = 60'000;

// Until `amount` more fits into the bucket.
double wait_ms(double used, double amount, double per_minute) {
  return std::max(0.0, (used + amount - per_minute) / per_minute * kMinuteMs);
}

int64_t remaining(double used, double per_minute) {
  return static_cast<int64_t>(std::floor(std::clamp(per_minute - used, 0.0, per_minute)));
}

}  // namespace

void KeyLimiter::Bucket::fade(double per_minute, TimePoint now) {
  if (now <= at) return;
  used = std::max(0.0, used - to_ms(now - at) / kMinuteMs * per_minute);
  at = now;
}

void KeyLimiter::Key::fade(TimePoint now) {
  requests.fade(limits.requests_per_minute, now);
  tokens.fade(static_cast<double>(limits.tokens_per_minute), now);
}

KeyLimiter::Key& KeyLimiter::key_at(std::string_view name, const KeyLimits& limits, TimePoint now) {
  const std::string text(name);
  auto found = keys_.find(text);
  if (found == keys_.end()) {
    if (keys_.size() >= kMaxKeys) make_room(now);
    found = keys_.emplace(text, Key{}).first;
    found->second.requests.at = found->second.tokens.at = now;
  }
  Key& key = found->second;
  key.limits = limits;
  key.fade(now);
  return key;
}

// What a forgotten key had used is forgiven; running requests are always remembered.
void KeyLimiter::make_room(TimePoint now) {
  for (auto& [name, key] : keys_) key.fade(now);
  std::erase_if(keys_, [](const auto& entry) { return entry.second.is_fresh(); });
  if (keys_.size() < kMaxKeys) return;
  std::erase_if(keys_, [](const auto& entry) { return entry.second.num_running == 0; });
}

bool KeyLimiter::over_rate(const Key& key, double per_minute, KeyCheck& result) {
  if (per_minute <= 0 || key.requests.used + 1 <= per_minute) return false;
  result.hit = KeyLimitHit::kRequests;
  result.retry_after_ms = wait_ms(key.requests.used, 1, per_minute);
  return true;
}

KeyCheck KeyLimiter::check(std::string_view name, const KeyLimits& limits,
                           int64_t num_prompt_tokens, int64_t num_tokens, TimePoint now) {
  KeyCheck result;
  if (!limits.any()) return result;
  const Key& key = key_at(name, limits, now);
  const double requests = limits.requests_per_minute;
  if (over_rate(key, requests, result)) return result;
  if (limits.max_concurrent > 0 && key.num_running >= limits.max_concurrent) {
    result.hit = KeyLimitHit::kConcurrent;
    return result;
  }
  if (limits.tokens_per_minute <= 0) return result;
  const auto tokens = static_cast<double>(limits.tokens_per_minute);
  result.num_tokens_to_take = std::min(num_tokens, limits.tokens_per_minute);
  const auto wanted = static_cast<double>(result.num_tokens_to_take);
  if (num_prompt_tokens >= limits.tokens_per_minute) {
    result.hit = KeyLimitHit::kTokens;
    result.never_fits = true;
  } else if (key.tokens.used + wanted > tokens) {
    result.hit = KeyLimitHit::kTokens;
    result.retry_after_ms = wait_ms(key.tokens.used, wanted, tokens);
  }
  return result;
}

void KeyLimiter::take(std::string_view name, const KeyLimits& limits, int64_t num_tokens,
                      TimePoint now) {
  if (!limits.any()) return;
  Key& key = key_at(name, limits, now);
  if (limits.requests_per_minute > 0) key.requests.used += 1;
  if (limits.tokens_per_minute > 0) key.tokens.used += static_cast<double>(num_tokens);
  ++key.num_running;
}

KeyCheck KeyLimiter::take_request(std::string_view name, const KeyLimits& limits, TimePoint now) {
  KeyCheck result;
  if (limits.requests_per_minute <= 0) return result;
  Key& key = key_at(name, limits, now);
  if (!over_rate(key, limits.requests_per_minute, result)) key.requests.used += 1;
  return result;
}

void KeyLimiter::settle(std::string_view name, int64_t num_taken, int64_t num_used,
                        TimePoint taken_at) {
  const auto found = keys_.find(std::string(name));
  if (found == keys_.end()) return;
  Key& key = found->second;
  key.num_running = std::max(0, key.num_running - 1);
  double back = static_cast<double>(num_taken - num_used);
  if (back > 0) {
    const double passed_ms = std::max(0.0, to_ms(key.tokens.at - taken_at));
    const double faded = passed_ms / kMinuteMs * static_cast<double>(key.limits.tokens_per_minute);
    back = std::max(0.0, back - faded);
  }
  key.tokens.used = std::max(0.0, key.tokens.used - back);
}

KeyStatus KeyLimiter::status(std::string_view name, const KeyLimits& limits, TimePoint now) {
  KeyStatus status;
  status.limits = limits;
  if (!limits.any()) return status;
  const Key& key = key_at(name, limits, now);
  if (limits.requests_per_minute > 0) {
    status.remaining_requests = remaining(key.requests.used, limits.requests_per_minute);
    status.reset_requests_ms = key.requests.used / limits.requests_per_minute * kMinuteMs;
  }
  if (limits.tokens_per_minute > 0) {
    const auto tokens = static_cast<double>(limits.tokens_per_minute);
    status.remaining_tokens = remaining(key.tokens.used, tokens);
    status.reset_tokens_ms = key.tokens.used / tokens * kMinuteMs;
  }
  return status;
}

}  // namespace sparrow
