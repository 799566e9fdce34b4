#pragma once
// DraftPace: how many guesses a sequence may put into its next step, learned from how its guesses
// fared. Two rules:
//
// - Size: doubles when all guesses were right, else one more than were right. When none was, some
//   steps pass without guesses, twice as many each time in a row, at most kMaxPause.
// - Account, in steps: a step earns kAllowance (3 %), a right guess 1 (the step it saved), a
//   guessed row costs its price. Only what is in the account is spent, so guessing never slows a
//   sequence by more than 3 % and kInitialBalance, whatever its text.
//
// A plain value; pure arithmetic, no clock. Engine thread only.

namespace sparrow {

class DraftPace {
 public:
  static constexpr double kAllowance = 0.03;
  static constexpr double kInitialBalance = 0.25;
  static constexpr double kMaxBalance = 4;
  static constexpr int kMaxPause = 16;

  // Never more than max_drafts guesses.
  explicit DraftPace(int max_drafts) : max_drafts_(max_drafts) {}

  // Guesses the next step may hold, when a row costs `row_price` steps; 0: none.
  int wanted(double row_price) const;
  // A step gave the sequence its next token, and beside it num_right of num_guessed guesses.
  void note_step(int num_guessed, int num_right, double row_price);

 private:
  int max_drafts_;
  int size_ = 2;
  int pause_ = 0;       // of the last failure
  int pause_left_ = 0;  // steps still to pass
  double balance_ = kInitialBalance;
};

}  // namespace sparrow
