#pragma once
// PieceTable: the bytes of every piece by id, and the id by bytes. Filled once, then read-only and
// thread-safe. Owns the bytes in one arena; views live as long as the table does.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"

namespace sparrow {

class PieceTable {
 public:
  static constexpr size_t kMaxArenaBytes = 1u << 30;

  // Ids are in [0, num_ids).
  explicit PieceTable(size_t num_ids);

  // Sets the bytes of `id`, not empty and not set before; the caller keeps the sum of all below
  // kMaxArenaBytes. Returns the id that has the same bytes already, then nothing is set; else -1.
  TokenId add(TokenId id, std::string_view bytes);

  TokenId find(std::string_view bytes) const;  // -1: no such piece
  std::string_view bytes(TokenId id) const {
    const Span& span = spans_[static_cast<size_t>(id)];
    return std::string_view(arena_).substr(span.begin, span.len);
  }
  size_t max_piece_bytes() const { return max_piece_bytes_; }

 private:
  struct Span {
    uint32_t begin = 0;
    uint32_t len = 0;
  };
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash: most misses end here
    TokenId id = -1;
  };

  uint64_t hash(std::string_view bytes) const;
  // The slot that holds `bytes`, or the empty one where they belong.
  size_t find_slot(std::string_view bytes, uint64_t hash) const;

  uint64_t seed_;
  std::string arena_;
  std::vector<Span> spans_;  // by id
  std::vector<Slot> slots_;  // a power of two, at most half full
  size_t max_piece_bytes_ = 0;
};

}  // namespace sparrow
