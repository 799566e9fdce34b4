#include "tools/bench/spread.h"

#include <algorithm>

namespace sparrow {

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

Percentiles percentiles_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](size_t percent) { return values[(values.size() * percent + 99) / 100 - 1]; };
  return {at(50), at(95), values.back()};
}

}  // namespace sparrow
