#pragma once
// Whether an answer that did not end by itself runs in a circle, as reasoning models do at low
// temperatures: its end is one short piece again and again. Asked once, when the answer is over.
// Pure.

#include <span>

#include "core/ids.h"

namespace sparrow {

// The longest piece that counts, and how much of the end must consist of it: three times the piece
// and at least kMinLoopTokens.
inline constexpr int kMaxLoopPeriod = 256;
inline constexpr int kMinLoopTokens = 48;

bool ends_in_loop(std::span<const TokenId> tokens);

}  // namespace sparrow
