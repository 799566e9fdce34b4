#pragma once
// Unicode normalization form C by utf8proc's tables. Text that is plainly normalized is recognised
// in one pass and not copied; otherwise only the stretches around the characters in question are
// rewritten. O(n log n) for every input (utf8proc's own reordering of combining marks is quadratic
// in a run of marks, so the reordering is ours). Stateless, thread-safe.

#include <string>
#include <string_view>

namespace sparrow {

// `text` must be valid UTF-8. Returns `text` itself when it is normalized, else a view of `buffer`.
std::string_view to_nfc(std::string_view text, std::string& buffer);

}  // namespace sparrow
