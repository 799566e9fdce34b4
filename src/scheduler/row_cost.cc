#include "scheduler/row_cost.h"

#include <algorithm>
#include <limits>

namespace sparrow {
namespace {

// Weight of the newest step in the level, and in the mean of its size once that is settled: after a
// change of speed nearly all of it must end up in the level, or sizes seen rarely would go wrong.
constexpr double kLevelWeight = 0.3;
constexpr double kSizeWeight = 0.03;
// A stuck step counts as so many times what was expected, at most.
constexpr double kMaxSurprise = 2;
// Never below this share of the smallest size seen, for sizes below it.
constexpr double kMinShare = 0.25;

}  // namespace

void RowCost::observe(int num_rows, double duration_ms) {
  if (num_rows < 1 || num_rows > kMaxRows || duration_ms <= 0) return;
  if (level_ms_ == 0) level_ms_ = duration_ms / cost(num_rows);
  const double expected = cost(num_rows);
  Size& size = sizes_[static_cast<size_t>(num_rows)];
  const double found =
      std::clamp(duration_ms / level_ms_, expected / kMaxSurprise, expected * kMaxSurprise);
  // A size seen for the first time says nothing about the speed.
  if (size.num_seen > 0) level_ms_ *= 1 + kLevelWeight * (found / expected - 1);
  if (size.num_seen == 0) size.cost = found;
  ++size.num_seen;
  size.cost += std::max(1.0 / size.num_seen, kSizeWeight) * (found - size.cost);
}

double RowCost::cost(int num_rows) const {
  int below = 0, above = 0;  // the nearest sizes seen, 0: none
  double cheapest_above = std::numeric_limits<double>::infinity();
  for (int rows = 1; rows <= kMaxRows; ++rows) {
    const Size& size = sizes_[static_cast<size_t>(rows)];
    if (size.num_seen == 0) continue;
    if (rows <= num_rows) below = rows;
    if (rows < num_rows) continue;
    if (above == 0) above = rows;
    cheapest_above = std::min(cheapest_above, size.cost);
  }
  if (below == 0 && above == 0) return 1 + kUnknownRow * (num_rows - 1);
  const double low = sizes_[static_cast<size_t>(below)].cost;
  const double high = sizes_[static_cast<size_t>(above)].cost;
  if (above == 0) return low * (1 + kUnknownRow * (num_rows - below));
  if (below == 0) return high * std::max(1 - kUnknownRow * (above - num_rows), kMinShare);
  const double between =
      above == below ? low : low + (high - low) * (num_rows - below) / (above - below);
  return std::min(between, cheapest_above);
}

double RowCost::extra(int num_rows, int more) const {
  return std::max(cost(num_rows + more) / cost(num_rows) - 1, kMinRow * more);
}

}  // namespace sparrow
