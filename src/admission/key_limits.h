#pragma once
// KeyLimiter: what one API key may use: requests per minute, tokens per minute, requests at once.
//
// Rates are token buckets (a minute's worth fits in, refilled evenly), so a key may burst and no
// window border doubles its share. Tokens are taken for prompt and longest answer when a request is
// let in, and what was not used is given back at its end; so a bucket may run into debt, never
// over. Keys remembered are bounded: those with nothing running and full buckets are forgotten
// first.
//
// Not thread-safe: its owner locks (AdmissionControl).

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"

namespace sparrow {

// 0: no limit of that kind.
struct KeyLimits {
  int requests_per_minute = 0;
  int64_t tokens_per_minute = 0;  // prompt and answer
  int max_concurrent = 0;

  bool any() const {
    return requests_per_minute > 0 || tokens_per_minute > 0 || max_concurrent > 0;
  }
};

// What is left to a key, for x-ratelimit-*: reset is when the whole limit is there again.
struct KeyStatus {
  KeyLimits limits;
  int64_t remaining_requests = 0;
  int64_t remaining_tokens = 0;
  double reset_requests_ms = 0;
  double reset_tokens_ms = 0;
};

enum class KeyLimitHit { kNone, kRequests, kTokens, kConcurrent };

struct KeyCheck {
  KeyLimitHit hit = KeyLimitHit::kNone;
  double retry_after_ms = 0;       // of a rate; unknown (0) for kConcurrent
  bool never_fits = false;         // more tokens than a whole minute has
  int64_t num_tokens_to_take = 0;  // by take(), where nothing is hit
};

class KeyLimiter {
 public:
  static constexpr size_t kMaxKeys = 10'000;

  // Changes nothing. `num_tokens` is the most the request can use; a request whose prompt fits into
  // a minute is never kept out for its longest answer.
  KeyCheck check(std::string_view key, const KeyLimits& limits, int64_t num_prompt_tokens,
                 int64_t num_tokens, TimePoint now);
  void take(std::string_view key, const KeyLimits& limits, int64_t num_tokens, TimePoint now);
  // A request that computes nothing: counted at once where the rate allows it, nothing to settle.
  KeyCheck take_request(std::string_view key, const KeyLimits& limits, TimePoint now);
  // The request ended: used of the tokens taken at that time. What has faded since is not given
  // back a second time.
  void settle(std::string_view key, int64_t num_taken, int64_t num_used, TimePoint taken_at);

  KeyStatus status(std::string_view key, const KeyLimits& limits, TimePoint now);
  size_t num_keys() const { return keys_.size(); }

 private:
  struct Bucket {
    double used = 0;  // of a minute's worth; fades at the rate of the limit
    TimePoint at{};
    void fade(double per_minute, TimePoint now);
  };
  struct Key {
    KeyLimits limits;  // as last asked with
    Bucket requests;
    Bucket tokens;
    int num_running = 0;
    void fade(TimePoint now);
    bool is_fresh() const { return num_running == 0 && requests.used <= 0 && tokens.used <= 0; }
  };
  static bool over_rate(const Key& key, double per_minute, KeyCheck& result);
  Key& key_at(std::string_view name, const KeyLimits& limits, TimePoint now);
  void make_room(TimePoint now);

  std::unordered_map<std::string, Key> keys_;
};

}  // namespace sparrow
