#pragma once
// DegradationLadder: how much a server under pressure gives up, and what that means for one
// request. Four levels, one at a time:
//
//   1  a shorter thinking budget
//   2  max_tokens capped, with a reserve that only the answer may use
//   3  no new work: a cached answer, else a friendly message
//   4  refused
//
// Triggers, each as a multiple of its threshold; the largest is the severity:
//   live KV blocks (cached ones do not count), age of the queue, duration of a step, answers that
//   missed their deadline one after the other, device memory that others hold.
// Severity 1 leads to levels 1 and 2, message_severity (3) to level 3, refuse_severity (6) to level
// 4: a server that is merely full goes on answering. Full blocks and foreign memory never lead
// further than 2, as shorter answers are their cure; nor do missed deadlines, which one impatient
// client can cause.
//
// Hysteresis: up one level at once, and then one more for each raise_ms of lasting pressure; down
// one level after each lower_ms of calm, that is, with every trigger below calm_share of its
// threshold. In between nothing moves.
//
// kGentle shortens only what the client left open. kArticle caps max_tokens and lowers the
// temperature of every request from level 1 on, whatever it says (and then goes on to 3 and 4).
// No clock; not thread-safe: its owner locks (AdmissionControl).

#include <optional>

#include "admission/load_snapshot.h"

namespace sparrow {

enum class DegradeProfile { kOff, kGentle, kArticle };

struct DegradationOptions {
  DegradeProfile profile = DegradeProfile::kGentle;
  int max_level = 4;
  // Thresholds; 0 turns a trigger off.
  double kv_share = 0.9;
  double queue_age_ms = 10'000;
  double step_ms = 2000;
  int deadline_misses = 3;
  double foreign_memory_share = 0.01;
  // Multiples of a threshold that lead to levels 3 and 4; 0 leaves the level out.
  double message_severity = 3;
  double refuse_severity = 6;
  // Pace.
  double raise_ms = 2000;
  double lower_ms = 5000;
  double calm_share = 0.8;
  // What is given up.
  int thinking_budget = 1024;
  int max_tokens = 512;
  int answer_reserve = 256;           // of max_tokens, not for thinking
  std::optional<double> temperature;  // where the client left it open; kArticle: of everybody
};

inline constexpr double kArticleTemperature = 0.3;

// What a request leaves to the server.
struct RequestShape {
  bool thinks = false;                 // the model may think in this request
  std::optional<int> thinking_budget;  // as asked for; empty: left open
  bool max_tokens_open = true;
  bool temperature_open = true;
  int max_tokens = 0;  // granted so far
  double temperature = 0;
};

// What changes; nothing where empty.
struct Shortening {
  std::optional<int> thinking_budget;
  std::optional<int> max_tokens;
  int answer_reserve = 0;
  std::optional<double> temperature;

  bool shortens_thinking() const { return thinking_budget || answer_reserve > 0; }
  bool any() const { return shortens_thinking() || max_tokens || temperature; }
};

class DegradationLadder {
 public:
  explicit DegradationLadder(const DegradationOptions& options) : options_(options) {}

  // Looks at the load; returns the level. Cheap, may be called as often as anybody likes.
  int update(const LoadSnapshot& load, TimePoint now);
  int level() const { return level_; }
  // At the present level; above 2 as at 2.
  Shortening shorten(const RequestShape& shape) const;
  const DegradationOptions& options() const { return options_; }

 private:
  struct Severity {
    double mild = 0;  // of triggers that lead to 2 at most
    double hard = 0;
  };
  Severity severity(const LoadSnapshot& load) const;
  int highest_level(const Severity& severity) const;
  void move(int direction);

  const DegradationOptions options_;
  int level_ = 0;
  TimePoint moved_at_{};  // last time the level changed, or calm or pressure ended
  bool was_calm_ = false;
};

}  // namespace sparrow
