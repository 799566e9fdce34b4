#include "admission/predicted_wait.h"

#include <algorithm>
#include <cmath>

namespace sparrow {
namespace {

// A step always has room for this many prompt rows (the scheduler's own bound).
constexpr double kLeastPromptRows = 16;
// Above this share of live blocks it is memory that keeps sequences waiting.
constexpr double kBlocksScarce = 0.8;
// A prompt that is not cached after all costs more than one that is cached saves.
constexpr double kCacheTrust = 0.9;

struct StepLine {
  double fixed_ms = 0;
  double row_ms = 0;
  double of(double num_rows) const { return fixed_ms + num_rows * row_ms; }
};

// Before steps of two sizes were seen, all that is known is their mean.
StepLine step_line(const LoadSnapshot& load) {
  if (load.has_step_cost) return {load.step_fixed_ms, load.step_row_ms};
  const double rate = load.prefill_tokens_per_second;
  return {load.step_ms_mean, rate > 0 ? 1000 / rate : 0};
}

double num_places(const LoadSnapshot& load) {
  const double live =
      static_cast<double>(load.num_blocks_live) / std::max(1, load.num_blocks_total);
  const bool scarce = load.num_waiting > 0 && live > kBlocksScarce;
  return std::max(1,
                  scarce ? std::min(load.num_running, load.max_num_running) : load.max_num_running);
}

// Rows of prompts that a step with this many running sequences takes.
double prompt_rows(const LoadSnapshot& load, const StepLine& line, double num_running) {
  double rows = load.max_step_rows > 0 ? load.max_step_rows : 2048;
  if (line.row_ms > 0 && load.max_step_ms > 0) {
    rows = std::min(rows, (load.max_step_ms - line.fixed_ms) / line.row_ms);
  }
  return std::max(rows - num_running, kLeastPromptRows);
}

double num_beside(const LoadSnapshot& load, const Reservation& ahead) {
  const double wanted = load.num_running + load.num_waiting + ahead.num_sequences;
  return std::min(wanted, num_places(load));
}

}  // namespace

double mean_output_tokens(const LoadSnapshot& load) {
  return load.mean_output_tokens > 0 ? load.mean_output_tokens : kUnknownOutputTokens;
}

int64_t expected_prompt_tokens(double cached_share, int64_t num_prompt_tokens) {
  const double computed = 1 - kCacheTrust * std::clamp(cached_share, 0.0, 1.0);
  return std::llround(static_cast<double>(num_prompt_tokens) * computed);
}

double predicted_first_token_ms(const LoadSnapshot& load, const Reservation& ahead,
                                int64_t num_prompt_tokens) {
  const StepLine line = step_line(load);
  const double places = num_places(load);
  const double before = load.num_waiting + ahead.num_sequences;
  const double to_end = std::max(0.0, before + load.num_running + 1 - places);
  const auto prompts = static_cast<double>(load.num_waiting_prompt_tokens +
                                           ahead.num_prompt_tokens + num_prompt_tokens);
  const double beside = num_beside(load, ahead);
  const double steps = std::max(to_end * mean_output_tokens(load) / places,
                                std::ceil(prompts / prompt_rows(load, line, beside)));
  return steps * line.of(beside) + prompts * line.row_ms;
}

double predicted_answer_ms(const LoadSnapshot& load, const Reservation& ahead,
                           double num_output_tokens, double usual_prompt_tokens) {
  const StepLine line = step_line(load);
  const double places = num_places(load);
  const double rows = std::min(num_beside(load, ahead) + 1, places);
  const double waiting = load.num_waiting + ahead.num_sequences;
  const auto prompts =
      static_cast<double>(load.num_waiting_prompt_tokens + ahead.num_prompt_tokens);
  const double queued = prompts * std::min(1.0, places / std::max(waiting, 1.0));
  const double num_ending = (rows - 1) * num_output_tokens / mean_output_tokens(load);
  const double prompt_rows = std::max(queued, num_ending * usual_prompt_tokens);
  return num_output_tokens * line.of(rows) + prompt_rows * line.row_ms;
}

double predicted_share_ms(const LoadSnapshot& load, int64_t num_prompt_tokens,
                          double num_output_tokens) {
  const StepLine line = step_line(load);
  const double places = num_places(load);
  return num_output_tokens * line.of(places) / places +
         static_cast<double>(num_prompt_tokens) * line.row_ms;
}

double full_step_ms(const LoadSnapshot& load) { return step_line(load).of(num_places(load)); }

double first_token_alone_ms(const LoadSnapshot& load, int64_t num_prompt_tokens) {
  const StepLine line = step_line(load);
  const auto prompt = static_cast<double>(num_prompt_tokens);
  return std::ceil(prompt / prompt_rows(load, line, 0)) * line.fixed_ms + prompt * line.row_ms;
}

}  // namespace sparrow
