#pragma once
// The byte alphabet of byte-level BPE: every byte has a printable character, so that pieces can be
// written as text. Bytes 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF keep their code point, the other 68 become
// U+0100...U+0143 in increasing order (GPT-2's bytes_to_unicode). Stateless, thread-safe.

#include <string>
#include <string_view>

namespace sparrow {

// Appends the bytes that `piece` stands for; false (and `bytes` unspecified) when the piece holds a
// character outside of the alphabet or is not valid UTF-8.
bool append_piece_bytes(std::string_view piece, std::string& bytes);

// The piece that stands for `bytes`.
std::string piece_of_bytes(std::string_view bytes);

}  // namespace sparrow
