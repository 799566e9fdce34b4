#include "tokenizer/bpe_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "tokenizer/byte_alphabet.h"

namespace sparrow {
namespace {

using Ids = std::vector<TokenId>;
using Merge = BpeModel::Merge;

BpeModel model_with(const std::vector<Merge>& merges) {
  std::array<TokenId, 256> byte_ids{};
  for (TokenId byte = 0; byte < 256; ++byte) byte_ids[static_cast<size_t>(byte)] = byte;
  auto model = BpeModel::create(byte_ids, merges);
  CHECK(model.ok());
  return std::move(model).value();
}

Ids by_scan(const BpeModel& model, std::string_view word) {
  Ids ids;
  model.encode_by_scan(word, ids);
  return ids;
}

Ids by_heap(const BpeModel& model, std::string_view word) {
  Ids ids;
  model.encode_by_heap(word, ids);
  return ids;
}

// The definition, word for word: the lowest rank anywhere, leftmost first, one merge at a time.
Ids by_definition(const std::vector<Merge>& merges, std::string_view word) {
  Ids ids;
  for (const char c : word) ids.push_back(static_cast<unsigned char>(c));
  while (true) {
    size_t best_rank = merges.size();
    size_t best_at = 0;
    for (size_t at = 0; at + 1 < ids.size(); ++at) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left == ids[at] && merges[rank].right == ids[at + 1]) {
          best_rank = rank;
          best_at = at;
        }
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best_at] = merges[best_rank].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

TEST(BpeModel, EncodeWord_LowerRank_IsMergedFirstWhereverItStands) {
  const BpeModel model = model_with({{'b', 'c', 256}, {'a', 'b', 257}});
  EXPECT_EQ(by_scan(model, "abc"), (Ids{'a', 256}));
  EXPECT_EQ(by_heap(model, "abc"), (Ids{'a', 256}));
}

TEST(BpeModel, EncodeWord_EqualRanks_AreMergedFromTheLeft) {
  const BpeModel model = model_with({{'a', 'a', 256}});
  EXPECT_EQ(by_scan(model, "aaa"), (Ids{256, 'a'}));
  EXPECT_EQ(by_heap(model, "aaa"), (Ids{256, 'a'}));
}

TEST(BpeModel, EncodeWord_SamePieceByAnotherPair_OnlyListedPairsMerge) {
  // "abc" is listed as ab + c; a + bc would spell it as well, but is not listed.
  const BpeModel model = model_with({{'b', 'c', 256}, {'a', 'b', 257}, {257, 'c', 258}});
  EXPECT_EQ(by_scan(model, "abc"), (Ids{'a', 256}));
  EXPECT_EQ(by_heap(model, "abc"), (Ids{'a', 256}));
}

TEST(BpeModel, EncodeWord_EmptyAndSingleByte_AreThemselves) {
  const BpeModel model = model_with({});
  EXPECT_EQ(by_scan(model, ""), Ids{});
  EXPECT_EQ(by_heap(model, ""), Ids{});
  EXPECT_EQ(by_scan(model, "x"), Ids{'x'});
  EXPECT_EQ(by_heap(model, "x"), Ids{'x'});
}

TEST(BpeModel, Create_PairListedTwice_IsRefused) {
  const auto model = BpeModel::create({}, {{1, 2, 3}, {1, 2, 4}});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.message(), "merge 1 is listed before as merge 0");
}

// Random merge lists, also such where a later merge makes an earlier one possible.
TEST(BpeModel, BothRoutes_RandomMergesAndWords_AgreeWithTheDefinition) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t bound) { return random_bits(seed, 0, counter++) % bound; };
    std::vector<Merge> merges;
    std::vector<std::pair<TokenId, TokenId>> pairs;
    std::vector<TokenId> tokens{'a', 'b', 'c'};
    const size_t num_merges = 1 + draw(30);
    for (size_t i = 0; i < num_merges; ++i) {
      const std::pair<TokenId, TokenId> pair{tokens[draw(tokens.size())],
                                             tokens[draw(tokens.size())]};
      if (std::find(pairs.begin(), pairs.end(), pair) != pairs.end()) continue;
      pairs.push_back(pair);
      tokens.push_back(static_cast<TokenId>(256 + merges.size()));
      merges.push_back({pair.first, pair.second, tokens.back()});
    }
    for (size_t i = merges.size(); i > 1; --i) std::swap(merges[i - 1], merges[draw(i)]);
    const BpeModel model = model_with(merges);
    for (int round = 0; round < 20; ++round) {
      std::string word;
      const size_t len = draw(BpeModel::kMaxScanBytes + 1);
      for (size_t i = 0; i < len; ++i) word.push_back(static_cast<char>('a' + draw(3)));
      const Ids expected = by_definition(merges, word);
      ASSERT_EQ(by_scan(model, word), expected) << "seed " << seed << " word " << word;
      ASSERT_EQ(by_heap(model, word), expected) << "seed " << seed << " word " << word;
    }
  }
}

TEST(BpeModel, EncodeByHeap_LongRun_TakesAtMostThreeEntriesAByte) {
  std::vector<Merge> merges{{'a', 'a', 256}};
  for (TokenId i = 0; i < 8; ++i) merges.push_back({256 + i, 256 + i, 257 + i});
  const BpeModel model = model_with(merges);
  constexpr size_t kNumBytes = 1u << 18;
  Ids ids;
  const size_t num_popped = model.encode_by_heap(std::string(kNumBytes, 'a'), ids);
  EXPECT_EQ(ids.size(), kNumBytes / 512);
  EXPECT_LE(num_popped, 3 * kNumBytes);
}

TEST(ByteAlphabet, EveryByte_GoesToAPieceAndBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  std::string bytes;
  ASSERT_TRUE(append_piece_bytes(piece_of_bytes(all), bytes));
  EXPECT_EQ(bytes, all);
  EXPECT_EQ(piece_of_bytes(" a\n"), "ĠaĊ");
  EXPECT_EQ(piece_of_bytes("\xC2\xAD"), "ÂŃ");  // 0xAD is moved to U+0143
}

TEST(ByteAlphabet, OtherCharacters_AreRefused) {
  for (const char* piece :
       {" ", "中", "\x7F", "\xC2\xAD", "\xC4", "\xC4\x41", "\xC5\x84", "\xFF"}) {
    std::string bytes;
    EXPECT_FALSE(append_piece_bytes(piece, bytes)) << piece;
  }
}

}  // namespace
}  // namespace sparrow
