#pragma once
// TokenMasker: a constraint on the next token (JSON schema, regex, grammar), seen from the engine.
// One object per sequence. Implemented in constrain/, used by engine/; all calls from the engine
// thread.

#include <cstdint>
#include <span>

#include "core/ids.h"

namespace sparrow {

class TokenMasker {
 public:
  virtual ~TokenMasker() = default;
  // Sets bit t of `mask` (one bit per id of the padded vocabulary) iff token t may come next.
  // False when nothing is constrained at this point; the mask is then untouched.
  virtual bool fill(std::span<uint32_t> mask) = 0;
  // Advances over a committed token, or over a guess whose turn is rolled back. False, without
  // advancing, when the token breaks the constraint (a defect).
  virtual bool accept(TokenId token) = 0;
  // Undoes the last num_tokens accepts.
  virtual void roll_back(int num_tokens) = 0;
};

}  // namespace sparrow
