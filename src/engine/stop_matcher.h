#pragma once
// StopMatcher: finds the first stop string in a text that arrives in pieces, across any borders.
// Text that may still become a stop string is held back; nothing behind a match is ever given out.
// At most longest - 1 bytes are held, so the cost of a piece is bounded. One thread.

#include <string>
#include <string_view>
#include <vector>

namespace sparrow {

class StopMatcher {
 public:
  // `strings` outlives the matcher; empty strings are ignored.
  StopMatcher(const std::vector<std::string>& strings, bool include_match)
      : strings_(&strings), include_match_(include_match) {}

  // Appends to `out` what is certain not to belong to a stop string. True once a string matched:
  // `out` then holds everything before it (and the match itself if asked for).
  bool push(std::string_view text, std::string& out);
  // The text ended: what was held back is ordinary text.
  void flush(std::string& out);

 private:
  const std::vector<std::string>* strings_;
  bool include_match_;
  std::string held_;
};

}  // namespace sparrow
