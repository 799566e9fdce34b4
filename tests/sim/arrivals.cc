#include "arrivals.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "base/file.h"

namespace sparrow {
namespace {

constexpr size_t kMaxTraceBytes = 64u << 20;
constexpr double kGammaShape = 1.0 / 9;  // coefficient of variation 3

// "2023-11-16 18:17:03.9799600,4808,10": milliseconds within the day, and the two lengths.
std::optional<TraceRow> parse_row(const std::string& line) {
  int hour = 0, minute = 0;
  double second = 0;
  TraceRow row;
  const int found = std::sscanf(line.c_str(), "%*d-%*d-%*d %d:%d:%lf,%d,%d", &hour, &minute,
                                &second, &row.num_prompt_tokens, &row.num_output_tokens);
  if (found != 5) return std::nullopt;
  row.gap_ms = ((hour * 60 + minute) * 60 + second) * 1000;
  return row;
}

}  // namespace

Result<std::vector<TraceRow>> read_trace(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxTraceBytes));
  std::vector<TraceRow> rows;
  double last_ms = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::optional<TraceRow> row = parse_row(text.substr(begin, end - begin));
    begin = end + 1;
    if (!row) continue;
    const double at_ms = row->gap_ms;
    row->gap_ms = rows.empty() ? 0 : std::max(0.0, at_ms - last_ms);
    last_ms = at_ms;
    rows.push_back(*row);
  }
  if (rows.empty()) return data_loss(path + ": no row of TIMESTAMP,ContextTokens,GeneratedTokens");
  return rows;
}

ArrivalProcess::ArrivalProcess(SeededRandom& random, const std::vector<TraceRow>& trace)
    : trace_(trace),
      kind_(random.pick({ArrivalKind::kAtOnce, ArrivalKind::kPoisson, ArrivalKind::kPoisson,
                         ArrivalKind::kGamma, ArrivalKind::kGamma, ArrivalKind::kBursts})),
      mean_gap_ms_(random.pick({0.5, 5.0, 50.0, 300.0})) {
  if (!trace.empty() && random.chance(500)) {
    kind_ = ArrivalKind::kTrace;
    next_row_ = random.next() % trace.size();
  }
}

double ArrivalProcess::next_gap_ms(SeededRandom& random) {
  switch (kind_) {
    case ArrivalKind::kAtOnce:
      return 0;
    case ArrivalKind::kPoisson:
      return random.exponential(mean_gap_ms_);
    case ArrivalKind::kGamma:
      return random.gamma(kGammaShape, mean_gap_ms_ / kGammaShape);
    case ArrivalKind::kBursts: {
      if (burst_left_-- > 0) return 0;
      burst_left_ = random.between(0, 19);
      return random.exponential(mean_gap_ms_ * (burst_left_ + 1));
    }
    case ArrivalKind::kTrace:
      row_ = &trace_[next_row_];
      next_row_ = (next_row_ + 1) % trace_.size();
      return row_->gap_ms;
  }
  return 0;
}

}  // namespace sparrow
