#pragma once
// Speculation: what the operator allows, what a sequence remembers, and what came of it. Plain
// values.

#include <array>
#include <cstdint>

#include "scheduler/draft_pace.h"
#include "scheduler/prompt_lookup.h"

namespace sparrow {

inline constexpr int kMaxDraftTokens = 32;

struct SpeculationOptions {
  int max_tokens = 0;  // guesses of one sequence and step, at most kMaxDraftTokens; 0: off
  // Lengths of the matches that are looked for.
  int min_ngram = 2;
  int max_ngram = 4;
  // A step with guesses has at most this many rows, the rows of other sequences included: below
  // about this number, more rows hardly make a step longer.
  int max_rows = 16;
};

// Guessing state of one sequence.
struct Drafting {
  explicit Drafting(const SpeculationOptions& options)
      : lookup(options.min_ngram, options.max_ngram) {}
  PromptLookup lookup;
  DraftPace pace;
};

// Totals since the scheduler was made.
struct SpeculationCounts {
  uint64_t num_drafts = 0;  // spans with guesses
  uint64_t num_draft_tokens = 0;
  uint64_t num_accepted_tokens = 0;
  std::array<uint64_t, kMaxDraftTokens> num_accepted_at{};  // by place in the draft
};

}  // namespace sparrow
