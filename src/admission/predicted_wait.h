#pragma once
// How long a request that arrives now will wait for its first token. Pure functions of a snapshot;
// times in milliseconds.
//
// The engine computes steps. A step of n rows takes T(n) = fixed + n * row; every running sequence
// has a row in each, and up to C more rows are pieces of prompts. The newcomer's first token comes
// when
//   - it has a place: of S places R are taken and A sequences wait before it, so k = A + R + 1 - S
//     sequences must end first (none if k <= 0). Sequences of L tokens end every L / S steps.
//   - every prompt before it, and its own, is computed: P tokens in pieces of C.
// Both go on in the same steps, so
//
//   steps = max(k * L / S, ceil(P / C)),   wait = steps * T(B) + P * row,   B = min(R + A, S)
//
// S is what the KV blocks allow where they, and not the places, keep sequences waiting.

#include <cstdint>

#include "admission/load_snapshot.h"

namespace sparrow {

// Of an answer while none has been seen.
inline constexpr double kUnknownOutputTokens = 256;

// Work that was let in since the snapshot was taken.
struct Reservation {
  int num_sequences = 0;
  int64_t num_prompt_tokens = 0;
};

// Of a prompt that comes now, by what the prefix cache held of the last ones.
int64_t expected_prompt_tokens(double cached_share, int64_t num_prompt_tokens);

double predicted_first_token_ms(const LoadSnapshot& load, const Reservation& ahead,
                                int64_t num_prompt_tokens);
// From its first token to its last: a step a token, with the others that will run beside it, and
// the prompts of those who will take their places: of the next S in the queue, or, where more will
// come, of as many as end meanwhile, with prompts of `usual_prompt_tokens`.
double predicted_answer_ms(const LoadSnapshot& load, const Reservation& ahead,
                           double num_output_tokens, double usual_prompt_tokens);
// How much later everybody behind it is served: its share of the machine's time.
double predicted_share_ms(const LoadSnapshot& load, int64_t num_prompt_tokens,
                          double num_output_tokens);
// As above, on a machine that has nothing else to do.
double first_token_alone_ms(const LoadSnapshot& load, int64_t num_prompt_tokens);

// Of a step with all places taken: what one machine's pace is compared by.
double full_step_ms(const LoadSnapshot& load);
double mean_output_tokens(const LoadSnapshot& load);

}  // namespace sparrow
