#pragma once
// Median and range of a few measurements, percentiles of many. Pure.

#include <vector>

namespace sparrow {

struct Spread {
  double median = 0, low = 0, high = 0;
};

// Of at least one value.
Spread spread_of(std::vector<double> values);

struct Percentiles {
  double p50 = 0, p95 = 0, max = 0;
};

// By nearest rank: the smallest value that so many percent of all do not exceed. Zeros of no value.
Percentiles percentiles_of(std::vector<double> values);

}  // namespace sparrow
