#include "tokenizer/bpe_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "base/random.h"

namespace sparrow {
namespace {

constexpr int kIdBits = 21;
constexpr int kRankBits = 22;
constexpr uint64_t kRankMask = (1u << kRankBits) - 1;
// All ones cannot be an entry: the largest rank is kMaxMerges - 1.
constexpr uint64_t kEmpty = ~uint64_t{0};
// A heap entry is rank << kPositionBits | position, so that equal ranks pop leftmost first.
constexpr int kPositionBits = 40;
constexpr size_t kMaxHeapWordBytes = size_t{1} << 30;

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t(uint32_t(left)) << kIdBits | uint32_t(right);
}

// One token of the word in the heap route; links are indexes of the byte the token starts at.
struct Node {
  TokenId id;
  uint32_t previous;
  uint32_t next;
  uint32_t rank;  // of the pair (this, next)
};

constexpr uint32_t kEndOfWord = 0xFFFFFFFFu;

}  // namespace

Result<BpeModel> BpeModel::create(const std::array<TokenId, 256>& byte_ids,
                                  const std::vector<Merge>& merges) {
  if (merges.size() >= kMaxMerges) {
    return resource_exhausted(
        fmt::format("{} merges are more than the limit of {}", merges.size(), kMaxMerges - 1));
  }
  BpeModel model;
  model.byte_ids_ = byte_ids;
  model.results_.reserve(merges.size());
  const size_t capacity = std::bit_ceil(std::max<size_t>(16, merges.size() * 2));
  model.pair_table_.assign(capacity, kEmpty);
  model.seed_ = entropy64();
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    CHECK(merge.left >= 0 && merge.left < kMaxTokens && merge.right >= 0 &&
          merge.right < kMaxTokens);
    const uint64_t key = pair_key(merge.left, merge.right);
    size_t slot = model.slot_of(key);
    while (model.pair_table_[slot] != kEmpty) {
      if (model.pair_table_[slot] >> kRankBits == key) {
        return invalid_argument(fmt::format("merge {} is listed before as merge {}", rank,
                                            model.pair_table_[slot] & kRankMask));
      }
      slot = (slot + 1) & (capacity - 1);
    }
    model.pair_table_[slot] = key << kRankBits | rank;
    model.results_.push_back(merge.result);
  }
  return model;
}

uint32_t BpeModel::rank_of(TokenId left, TokenId right) const {
  const uint64_t key = pair_key(left, right);
  size_t slot = slot_of(key);
  while (true) {
    const uint64_t entry = pair_table_[slot];
    if (entry >> kRankBits == key) return static_cast<uint32_t>(entry & kRankMask);
    if (entry == kEmpty) return kNoRank;
    slot = (slot + 1) & (pair_table_.size() - 1);
  }
}

void BpeModel::encode_word(std::string_view word, std::vector<TokenId>& ids) const {
  if (word.size() <= kMaxScanBytes) {
    encode_by_scan(word, ids);
    return;
  }
  // Positions are 32-bit; a word of more than a gigabyte is cut, which no request can reach.
  while (!word.empty()) {
    encode_by_heap(word.substr(0, kMaxHeapWordBytes), ids);
    word.remove_prefix(std::min(word.size(), kMaxHeapWordBytes));
  }
}

void BpeModel::encode_by_scan(std::string_view word, std::vector<TokenId>& ids) const {
  CHECK(word.size() <= kMaxScanBytes);
  if (word.empty()) return;
  TokenId tokens[kMaxScanBytes];
  uint32_t ranks[kMaxScanBytes];  // ranks[i] of (tokens[i], tokens[i + 1]); the last is kNoRank
  size_t num_tokens = word.size();
  for (size_t i = 0; i < num_tokens; ++i)
    tokens[i] = byte_ids_[static_cast<unsigned char>(word[i])];
  for (size_t i = 0; i + 1 < num_tokens; ++i) ranks[i] = rank_of(tokens[i], tokens[i + 1]);
  ranks[num_tokens - 1] = kNoRank;
  while (true) {
    uint32_t best = kNoRank;
    for (size_t i = 0; i < num_tokens; ++i) best = std::min(best, ranks[i]);
    if (best == kNoRank) break;
    const size_t at = static_cast<size_t>(std::find(ranks, ranks + num_tokens, best) - ranks);
    tokens[at] = results_[best];
    const size_t num_moved = num_tokens - at - 2;
    std::memmove(tokens + at + 1, tokens + at + 2, num_moved * sizeof(tokens[0]));
    std::memmove(ranks + at, ranks + at + 1, (num_moved + 1) * sizeof(ranks[0]));
    --num_tokens;
    if (at > 0) ranks[at - 1] = rank_of(tokens[at - 1], tokens[at]);
    if (at + 1 < num_tokens) ranks[at] = rank_of(tokens[at], tokens[at + 1]);
  }
  ids.insert(ids.end(), tokens, tokens + num_tokens);
}

size_t BpeModel::encode_by_heap(std::string_view word, std::vector<TokenId>& ids) const {
  CHECK(word.size() <= kMaxHeapWordBytes);
  if (word.empty()) return 0;
  const auto num_nodes = static_cast<uint32_t>(word.size());
  std::vector<Node> nodes(num_nodes);
  for (uint32_t i = 0; i < num_nodes; ++i) {
    nodes[i].id = byte_ids_[static_cast<unsigned char>(word[i])];
    nodes[i].previous = i == 0 ? kEndOfWord : i - 1;
    nodes[i].next = i + 1 == num_nodes ? kEndOfWord : i + 1;
  }
  std::vector<uint64_t> heap;
  heap.reserve(num_nodes);
  // Sets the rank of the pair that starts at `i`; an older entry of that position becomes stale.
  const auto rank_pair = [&](uint32_t i) {
    Node& node = nodes[i];
    node.rank = node.next == kEndOfWord ? kNoRank : rank_of(node.id, nodes[node.next].id);
    if (node.rank != kNoRank) heap.push_back(uint64_t{node.rank} << kPositionBits | i);
    return node.rank != kNoRank;
  };
  for (uint32_t i = 0; i < num_nodes; ++i) rank_pair(i);
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  size_t num_popped = 0;
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t entry = heap.back();
    heap.pop_back();
    ++num_popped;
    const auto at = static_cast<uint32_t>(entry & ((uint64_t{1} << kPositionBits) - 1));
    const auto rank = static_cast<uint32_t>(entry >> kPositionBits);
    Node& node = nodes[at];
    if (node.rank != rank) continue;  // stale: the pair has changed or is gone
    Node& merged_away = nodes[node.next];
    merged_away.rank = kNoRank;
    node.id = results_[rank];
    node.next = merged_away.next;
    if (node.next != kEndOfWord) nodes[node.next].previous = at;
    if (rank_pair(at)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    if (node.previous != kEndOfWord && rank_pair(node.previous)) {
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  }
  for (uint32_t i = 0; i != kEndOfWord; i = nodes[i].next) ids.push_back(nodes[i].id);
  return num_popped;
}

}  // namespace sparrow
