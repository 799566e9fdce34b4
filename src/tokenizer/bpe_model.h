#pragma once
// BpeModel: the merge rules of byte pair encoding. A word's bytes become single-byte tokens, then
// the listed pair of lowest rank is merged, leftmost first, until no listed pair is left (Sennrich,
// Haddow, Birch 2016). Immutable after create(); thread-safe.
//
// Two routes give the same ids: short words rescan an array, O(n^2) with a small constant; longer
// ones use a heap over a linked list, O(n log n).

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "core/ids.h"
#include "tokenizer/fold_hash.h"

namespace sparrow {

class BpeModel {
 public:
  // Limits of the packed pair table: 21 bits an id, 22 bits a rank.
  static constexpr TokenId kMaxTokens = 1 << 21;
  static constexpr size_t kMaxMerges = (1u << 22) - 1;
  static constexpr size_t kMaxScanBytes = 96;  // longest word of the array route

  struct Merge {
    TokenId left;
    TokenId right;
    TokenId result;
  };

  // `byte_ids` may be -1 for bytes that no word holds; every other id is in [0, kMaxTokens).
  // `merges` in order of rank. Error: a pair that is listed twice, too many merges.
  static Result<BpeModel> create(const std::array<TokenId, 256>& byte_ids,
                                 const std::vector<Merge>& merges);

  // Appends the ids of one word.
  void encode_word(std::string_view word, std::vector<TokenId>& ids) const;

  // The two routes, for tests. The array route takes words of at most kMaxScanBytes bytes. The heap
  // route returns the number of heap entries it took out: its work, at most 3 a byte.
  void encode_by_scan(std::string_view word, std::vector<TokenId>& ids) const;
  size_t encode_by_heap(std::string_view word, std::vector<TokenId>& ids) const;

 private:
  static constexpr uint32_t kNoRank = 0xFFFFFFFFu;

  BpeModel() = default;
  size_t slot_of(uint64_t key) const {
    return fold_multiply(key ^ seed_, kFoldMultiplier) & (pair_table_.size() - 1);
  }
  uint32_t rank_of(TokenId left, TokenId right) const;

  std::array<TokenId, 256> byte_ids_{};
  std::vector<TokenId> results_;      // by rank
  std::vector<uint64_t> pair_table_;  // open addressing: left 21 bits, right 21 bits, rank 22 bits
  uint64_t seed_ = 0;
};

}  // namespace sparrow
