#pragma once
// Text of a file for an error message: quoted, one line, bounded, whatever the bytes are.

#include <string>
#include <string_view>

namespace sparrow {

// At most 80 bytes of `text` as a JSON string, with "..." when it is longer.
std::string printable(std::string_view text);

}  // namespace sparrow
