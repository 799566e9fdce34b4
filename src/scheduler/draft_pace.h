#pragma once
// DraftPace: how many guesses a sequence may put into its next step, learned from how its guesses
// fared. Two rules:
//
// - Size: the number with the best expected gain, right guesses minus price, when first guesses,
// and
//   those behind right ones, are right as often as in this sequence lately. Where no number gains,
//   one guess is tried now and then: after one that failed, twice as many steps pass as before it,
//   at most kMaxPause.
// - Account, in steps: a step earns kAllowance (2 %), a right guess 1 (the step it saved), guesses
//   cost what they made the step longer. Only what is in the account is spent, so guessing never
//   slows a sequence by more than 2 % and kInitialBalance, whatever its text.
//
// A plain value; pure arithmetic, no clock. Engine thread only.

#include <span>

namespace sparrow {

class DraftPace {
 public:
  static constexpr double kAllowance = 0.02;
  static constexpr double kInitialBalance = 0.25;
  static constexpr double kMaxBalance = 4;
  static constexpr int kMaxPause = 16;

  // Guesses the next step may hold, 0: none. prices[i]: what i + 1 guesses cost, in steps; no more
  // than prices.size() are wanted.
  int wanted(std::span<const double> prices) const;
  // A step gave the sequence its next token, and beside it num_right of num_guessed guesses, which
  // cost `cost` steps.
  void note_step(int num_guessed, int num_right, double cost);

 private:
  // How often guesses at a place of the draft were right, if those before them were.
  struct Share {
    double right = 0.5;
    int num_judged = 1;  // as far as they matter
  };

  Share first_, later_;
  int pause_ = 0;       // of the last failure
  int pause_left_ = 0;  // steps still to pass before a try
  double balance_ = kInitialBalance;
};

}  // namespace sparrow
