#pragma once
// StopMatcher: finds the first stop string in a text that arrives in pieces, across any borders.
// Text that may still become a stop string is held back; nothing behind a match is ever given out.
//
// The string that is complete first wins (of several ending at the same byte the longest), so the
// result does not depend on how the text is cut. Cost: one step per byte and string, by the failure
// function of Knuth, Morris, Pratt (1977); at most longest - 1 bytes are held. One thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sparrow {

class StopMatcher {
 public:
  // `strings` outlives the matcher; empty strings are ignored.
  StopMatcher(const std::vector<std::string>& strings, bool include_match);

  // Appends to `out` what is certain not to belong to a stop string. True once a string matched:
  // `out` then holds everything before it (and the match itself if asked for).
  bool push(std::string_view text, std::string& out);
  // The text ended: what was held back is ordinary text.
  void flush(std::string& out);

 private:
  struct Pattern {
    std::string_view string;
    // failure[i]: longest proper beginning of the string that is also an end of its first i + 1.
    std::vector<uint32_t> failure;
    size_t num_matched = 0;  // bytes of the string that the text so far ends with

    bool advance(char byte);
  };

  std::vector<Pattern> patterns_;
  bool include_match_;
  std::string held_;
};

}  // namespace sparrow
