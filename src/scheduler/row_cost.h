#pragma once
// RowCost: what a few more rows add to a step in which every sequence generates, learned while
// serving. Small steps wait for memory and larger ones for arithmetic, and kernels compute rows in
// tiles, so the price of a row jumps: four may cost what two do, and the fifth as much as a step.
// A line (step_cost.h) through prompts and single tokens says nothing of that; here every number of
// rows has its own mean.
//
// Kept as shape times level: the level follows the machine's speed and the length of the contexts
// within a few steps, the shape moves slowly and is told apart from it. Sizes not seen lie on the
// line between their neighbours, or cost kUnknownRow a row more than the largest that was. A step
// is never dearer than one of more rows. Engine thread only; pure arithmetic, no clock.

#include <array>

namespace sparrow {

class RowCost {
 public:
  static constexpr int kMaxRows = 64;
  static constexpr double kUnknownRow = 0.125;  // of a step
  static constexpr double kMinRow = 0.01;       // no row is cheaper

  // Steps of more than kMaxRows rows are ignored.
  void observe(int num_rows, double duration_ms);
  // How much longer a step of num_rows gets by `more` rows, in steps of num_rows.
  double extra(int num_rows, int more) const;

 private:
  struct Size {
    double cost = 0;  // in levels
    int num_seen = 0;
  };

  double cost(int num_rows) const;

  std::array<Size, kMaxRows + 1> sizes_;  // by rows
  double level_ms_ = 0;                   // 0: nothing was seen
};

}  // namespace sparrow
