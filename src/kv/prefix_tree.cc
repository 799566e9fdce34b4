#include "kv/prefix_tree.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {

PrefixTree::PrefixTree(int num_blocks, int block_tokens)
    : block_tokens_(static_cast<size_t>(block_tokens)),
      nodes_(static_cast<size_t>(num_blocks)),
      tokens_(nodes_.size() * block_tokens_) {
  blocks_.reserve(nodes_.size());
}

std::span<const TokenId> PrefixTree::tokens_of(BlockId block) const {
  return std::span(tokens_).subspan(static_cast<size_t>(block) * block_tokens_, block_tokens_);
}

// Still the parent it was: a block that left the tree and came back holds something else.
bool PrefixTree::is_child_of(const Node& child, BlockId parent) const {
  if (child.place.parent != parent) return false;
  if (parent == kNoBlock) return true;
  return node(parent).is_present && node(parent).serial == child.parent_serial;
}

BlockId PrefixTree::find(const PrefixPlace& place, std::span<const TokenId> tokens) const {
  const auto found = blocks_.find(place.hash);
  if (found == blocks_.end()) return kNoBlock;
  const Node& candidate = node(found->second);
  const bool is_same = candidate.place.root == place.root && is_child_of(candidate, place.parent) &&
                       std::ranges::equal(tokens, tokens_of(found->second));
  return is_same ? found->second : kNoBlock;
}

bool PrefixTree::insert(BlockId block, const PrefixPlace& place, std::span<const TokenId> tokens) {
  CHECK(tokens.size() == block_tokens_);
  Node& added = nodes_.at(static_cast<size_t>(block));
  CHECK(!added.is_present);
  if (place.parent != kNoBlock && !contains(place.parent)) return false;
  if (!blocks_.try_emplace(place.hash, block).second) return false;
  added.is_present = true;
  added.place = place;
  added.parent_serial = place.parent == kNoBlock ? 0 : node(place.parent).serial;
  std::ranges::copy(tokens, tokens_.begin() + static_cast<ptrdiff_t>(block) *
                                                  static_cast<ptrdiff_t>(block_tokens_));
  return true;
}

BlockId PrefixTree::orphan_at(const Hash128& hash) const {
  const auto found = blocks_.find(hash);
  if (found == blocks_.end()) return kNoBlock;
  const Node& candidate = node(found->second);
  return is_child_of(candidate, candidate.place.parent) ? kNoBlock : found->second;
}

void PrefixTree::erase(BlockId block) {
  Node& erased = nodes_.at(static_cast<size_t>(block));
  if (!erased.is_present) return;
  blocks_.erase(erased.place.hash);
  erased.is_present = false;
  ++erased.serial;
}

void PrefixTree::check_integrity() const {
  size_t num_present = 0;
  for (const Node& one : nodes_) num_present += one.is_present;
  CHECK(num_present == blocks_.size());
  for (const auto& [hash, block] : blocks_) {
    CHECK(node(block).is_present && node(block).place.hash == hash);
  }
}

}  // namespace sparrow
