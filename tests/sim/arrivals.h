#pragma once
// Arrivals: when requests come and how long they are: Poisson, gamma with a coefficient of
// variation of 3 (what ServeGen measured of real services), bursts, all at once, or a trace. Plain
// values.

#include <string>
#include <vector>

#include "base/status.h"
#include "seeded_random.h"

namespace sparrow {

struct TraceRow {
  double gap_ms = 0;  // since the row before
  int num_prompt_tokens = 0;
  int num_output_tokens = 0;
};

// The CSV of the Azure LLM inference traces: TIMESTAMP,ContextTokens,GeneratedTokens.
Result<std::vector<TraceRow>> read_trace(const std::string& path);

enum class ArrivalKind { kAtOnce, kPoisson, kGamma, kBursts, kTrace };

// Gaps between arrivals of one run.
class ArrivalProcess {
 public:
  // `trace` may be empty: then kTrace is never chosen.
  ArrivalProcess(SeededRandom& random, const std::vector<TraceRow>& trace);
  double next_gap_ms(SeededRandom& random);
  // The row behind the last gap; null unless it came from a trace.
  const TraceRow* row() const { return row_; }

 private:
  const std::vector<TraceRow>& trace_;
  ArrivalKind kind_;
  double mean_gap_ms_;
  int burst_left_ = 0;
  size_t next_row_ = 0;
  const TraceRow* row_ = nullptr;
};

}  // namespace sparrow
