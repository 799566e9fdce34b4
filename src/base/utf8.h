#pragma once
// UTF-8: what is complete, what is valid, and nothing about meaning. Stateless, thread-safe.

#include <cstddef>
#include <string>
#include <string_view>

namespace sparrow {

// Length (1..4) of the valid sequence at the start of `text`, 0 when it is invalid or cut off.
// Overlong forms, surrogates and values above U+10FFFF are invalid (RFC 3629).
size_t utf8_sequence_len(std::string_view text);
bool is_valid_utf8(std::string_view text);

// Number of bytes at the end of `text` (0..3) that begin a character which may still be completed.
size_t utf8_incomplete_suffix_len(std::string_view text);

// Appends `bytes` to `out`, each maximal invalid part as one U+FFFD.
void append_valid_utf8(std::string& out, std::string_view bytes);

}  // namespace sparrow
