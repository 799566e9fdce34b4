#pragma once
// AddedTokenMatcher: cuts text at added tokens, leftmost and of those the longest, with the flags
// single_word, lstrip and rstrip as Hugging Face's tokenizers applies them. A trie over the bytes;
// O(text bytes * longest token) at worst. Immutable after construction; thread-safe.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/ids.h"

namespace sparrow {

class AddedTokenMatcher {
 public:
  static constexpr size_t kMaxTokenBytes = 512;  // bounds the work at one position

  struct Segment {
    std::string_view text;
    TokenId id;  // -1: ordinary text
  };
  struct Flags {
    bool single_word = false;
    bool lstrip = false;  // takes the white space before it along
    bool rstrip = false;
  };

  // `content` has 1..kMaxTokenBytes bytes and was not added before.
  void add(std::string_view content, TokenId id, const Flags& flags);
  bool empty() const { return entries_.empty(); }

  // Appends the segments of `text` in order, none of them empty. `text` must be valid UTF-8.
  void split(std::string_view text, std::vector<Segment>& segments) const;

 private:
  static constexpr uint32_t kNone = 0xFFFFFFFFu;
  struct Entry {
    TokenId id;
    Flags flags;
  };

  // Index of the longest token that starts at `at`, or kNone; `end` is where it ends.
  uint32_t longest_at(std::string_view text, size_t at, size_t& end) const;

  std::vector<Entry> entries_;
  std::array<bool, 256> starts_token_{};                  // by first byte
  std::vector<uint32_t> entry_of_node_{kNone};            // node 0 is the root
  std::unordered_map<uint64_t, uint32_t> child_of_node_;  // node << 8 | byte
};

}  // namespace sparrow
