#pragma once
// PromptLookup: guesses the next tokens of a sequence from its own text: what followed the most
// recent earlier occurrence of its last few tokens (prompt lookup decoding, Saxena 2023). Longer
// matches are tried first. Guesses are verified by the executor, so a bad one costs time only.
//
// One object per sequence. Work of a call: at most kMaxIndexedPerCall tokens enter the index, one
// probe per length. Memory: a table of 4-byte positions, at most kMaxEntries (512 KiB); in a longer
// text the oldest occurrences are forgotten. Tokens may be cut off and replaced between calls:
// every hit is compared with the text itself. Engine thread only.
//
//   lookup.propose(sequence.tokens, 8, drafts);

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"

namespace sparrow {

class PromptLookup {
 public:
  static constexpr int kMaxNgram = 16;
  static constexpr size_t kMaxIndexedPerCall = 1024;
  static constexpr size_t kMaxEntries = size_t{1} << 17;
  // A loop: the text ends with more than this many repeats of a period of at most so many tokens.
  // Guessing right would only feed it.
  static constexpr size_t kMaxRepeats = 8;
  static constexpr size_t kMaxLoopPeriod = 1024;

  // Lengths of the matches: 1 <= min_ngram <= max_ngram <= kMaxNgram.
  PromptLookup(int min_ngram, int max_ngram);

  // Appends `count` guesses of what follows `tokens`, or none: nothing matches, or a loop.
  void propose(std::span<const TokenId> tokens, int count, std::vector<TokenId>& drafts);

  size_t num_entries() const { return table_.size(); }

 private:
  void index(std::span<const TokenId> tokens);
  void resize_for(std::span<const TokenId> tokens);
  void insert(std::span<const TokenId> tokens, size_t position, int length);
  // The first slot of the n-gram's set.
  size_t set_of(const TokenId* end, int length) const;
  // Position behind the most recent known occurrence of the last tokens; 0: none.
  size_t find(std::span<const TokenId> tokens) const;

  const int min_ngram_;
  const int max_ngram_;
  // Positions of the tokens behind the latest occurrence of n-grams of all lengths; 0: none. An
  // n-gram has kSetSize slots by its hash; a new one takes that of the oldest position.
  std::vector<int32_t> table_;
  size_t num_indexed_ = 0;  // n-grams in front of positions below this are in the table
  size_t loop_period_ = 0;  // of the loop seen last
};

}  // namespace sparrow
