#pragma once
// Whole passes over a row of the vocabulary, in the form the compiler makes vectors of. Pure
// functions; results do not depend on the instruction set.

#include <span>

#include "core/ids.h"

namespace sparrow {

struct RowSummary {
  bool finite = true;
  float largest = 0;  // of a finite row; -infinity of an empty one
};
RowSummary summarize(std::span<const float> logits);

// -infinity for none. Not for rows with NaN.
float largest_of(std::span<const float> values);
// The lowest id of this value, which is there.
TokenId first_of(std::span<const float> logits, float value);
double sum_of(std::span<const float> weights);

}  // namespace sparrow
