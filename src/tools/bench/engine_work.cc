#include "tools/bench/engine_work.h"

#include <algorithm>

namespace sparrow {
namespace {

constexpr Duration kShowEvery = std::chrono::milliseconds(200);

}  // namespace

EngineWork engine_work(const MeteredExecutor::Totals& totals, double seconds,
                       int64_t output_tokens) {
  EngineWork work;
  work.seconds = seconds;
  work.output_tokens = output_tokens;
  work.steps = totals.num_steps;
  if (totals.num_steps > 0) {
    const auto steps = static_cast<double>(totals.num_steps);
    work.mean_batch = static_cast<double>(totals.num_spans) / steps;
    work.step_s = seconds / steps;
    work.beside_s = std::max(seconds - totals.executor_s, 0.0) / steps;
  }
  if (totals.limit_s > 0) work.share_at_bandwidth = totals.bandwidth_s / totals.limit_s;
  if (seconds <= 0) return work;
  work.tokens_per_s = static_cast<double>(output_tokens) / seconds;
  work.bytes_per_s = totals.work.bytes / seconds;
  work.ops_per_s = (totals.work.ops + totals.work.attention_ops) / seconds;
  work.share_of_limit = totals.limit_s / seconds;
  return work;
}

bool PacedProgress::is_due() {
  const TimePoint now = clock_.now();
  if (has_shown_ && now - last_ < kShowEvery) return false;
  has_shown_ = true;
  last_ = now;
  return true;
}

}  // namespace sparrow
