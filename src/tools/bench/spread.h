#pragma once
// Median and range of a few measurements. Pure.

#include <vector>

namespace sparrow {

struct Spread {
  double median = 0, low = 0, high = 0;
};

// Of at least one value.
Spread spread_of(std::vector<double> values);

}  // namespace sparrow
