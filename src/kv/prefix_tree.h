#pragma once
// PrefixTree: which block holds the K and V of which tokens. A block is found by the hash of its
// place (prefix_hash.h) and trusted only if its salt, the block before it and its own tokens are
// the wanted ones; going down from the start, the whole prefix is thereby compared and a collision
// of hashes costs a miss, never a wrong answer.
//
// Only full blocks stand here, and they are never written again. Ids only; engine thread only.

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/ids.h"
#include "kv/prefix_hash.h"

namespace sparrow {

// Where in all prefixes a block stands.
struct PrefixPlace {
  Hash128 root;               // PrefixHasher::root() of the salt
  Hash128 hash;               // of everything up to the block's end
  BlockId parent = kNoBlock;  // the block before; kNoBlock: the prefix starts here
};

class PrefixTree {
 public:
  PrefixTree(int num_blocks, int block_tokens);

  // The block of this place and these tokens (a block full), or kNoBlock.
  BlockId find(const PrefixPlace& place, std::span<const TokenId> tokens) const;
  // False when it cannot be found later and was left out: its parent is not in the tree, or
  // another block has the same hash. The block must not be in the tree.
  bool insert(BlockId block, const PrefixPlace& place, std::span<const TokenId> tokens);
  // The block that has this hash although the block before it is gone, so that nobody can find it
  // again; kNoBlock: none.
  BlockId orphan_at(const Hash128& hash) const;
  // What stands behind it is not found any more. Nothing happens if it is not in the tree.
  void erase(BlockId block);

  bool contains(BlockId block) const { return node(block).is_present; }
  int size() const { return static_cast<int>(blocks_.size()); }
  // CHECKs that map and nodes agree; for tests and simulation.
  void check_integrity() const;

 private:
  struct Node {
    bool is_present = false;
    uint64_t serial = 0;         // changes whenever the block leaves the tree
    uint64_t parent_serial = 0;  // the parent's when this one came in
    PrefixPlace place;
  };
  const Node& node(BlockId block) const { return nodes_.at(static_cast<size_t>(block)); }
  bool is_child_of(const Node& child, BlockId parent) const;
  std::span<const TokenId> tokens_of(BlockId block) const;

  const size_t block_tokens_;
  std::vector<Node> nodes_;                                     // by block
  std::vector<TokenId> tokens_;                                 // [num_blocks][block_tokens]
  std::unordered_map<Hash128, BlockId, Hash128Hasher> blocks_;  // by hash of the place
};

}  // namespace sparrow
