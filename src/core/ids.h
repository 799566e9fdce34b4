#pragma once
// The small integers everything is named by. An *Id is an index, never a pointer.

#include <cstdint>

namespace sparrow {

using TokenId = int32_t;  // row of the embedding table
using BlockId = int32_t;  // KV block of the executor's arena
using SlotId = int32_t;   // executor slot: sampler state and last token of one running sequence

// In a plan: "the token this slot sampled last", which the host may not have read yet.
inline constexpr TokenId kPendingToken = -1;
inline constexpr BlockId kNoBlock = -1;
inline constexpr SlotId kNoSlot = -1;

}  // namespace sparrow
