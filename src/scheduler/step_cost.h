#pragma once
// StepCost: how long a step of n rows will take, learned while serving: duration = fixed + n * row,
// a least-squares line over past steps with exponentially fading weight. Both parts are kept
// non-negative. How far steps were off the line is remembered, too: on a machine whose speed varies
// a step is planned shorter, so that most stay within the budget.
//
// Small steps wait for memory and large ones for arithmetic, so a line through small steps promises
// too much for large ones: a step is at most twice as large as those seen lately. It then takes at
// most twice as long. Engine thread only; pure arithmetic, no clock.

#include <cstdint>

namespace sparrow {

class StepCost {
 public:
  void observe(int num_rows, double duration_ms);
  bool known() const { return weight_ > 0; }
  double predict_ms(int num_rows) const;
  // Most rows whose predicted duration fits even if the step is off as usual; at least min_rows,
  // max_rows while nothing is known.
  int rows_within(double budget_ms, int min_rows, int max_rows) const;
  // Steps of different sizes were seen, so that the fixed part and the rows were told apart.
  bool has_line() const { return has_line_; }
  double fixed_ms() const { return fixed_ms_; }
  double row_ms() const { return row_ms_; }
  // Mean distance of a step from its prediction, as a share of the prediction.
  double surprise() const { return surprise_; }

 private:
  // Sums over observations, fading by kFade each step.
  double weight_ = 0, sum_n_ = 0, sum_nn_ = 0, sum_t_ = 0, sum_nt_ = 0;
  double fixed_ms_ = 0;
  double row_ms_ = 0;
  double surprise_ = 0;
  double reach_ = 0;  // largest step seen lately
  bool has_line_ = false;
};

}  // namespace sparrow
