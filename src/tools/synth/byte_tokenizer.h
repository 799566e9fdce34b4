#pragma once
// A tokenizer that needs no file: one token per byte, and the added tokens and chat format of R1.
// For tests and for the model the first start makes itself.

#include <string>

#include "tokenizer/tokenizer.h"

namespace sparrow {

// Ids 0-255 are the bytes in the order of Qwen2's vocabulary ('!' is 0); the added tokens follow,
// 263 ids in all.
TokenizerSpec byte_tokenizer_spec();
// Behaves like R1's template for text messages: BOS, the last system text, turns, then an opened
// <think> as the generation prompt; earlier reasoning is dropped.
std::string byte_tokenizer_chat_template();

}  // namespace sparrow
