#pragma once
// BlockPool: what every KV block is good for: free, held by sequences, or cached (nobody holds it,
// but a prompt may want its contents again). Ids only: memory belongs to the executor. Engine
// thread only.
//
// Full blocks are shared by their contents: publish() makes one findable, find() and add_holder()
// use it, and none is written again as long as it can be found. A held block's predecessors in its
// prefix are held too, so cached blocks can always be given up from a prefix' end.
//
// Invariant: a block is free (no holder, no contents), cached (no holder, in the tree) or used (at
// least one holder); the three numbers add up to num_blocks().

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"
#include "kv/cached_blocks.h"
#include "kv/prefix_tree.h"

namespace sparrow {

class BlockPool {
 public:
  BlockPool(int num_blocks, int block_tokens);

  // Takes memory for blocks cached for this owner, so that release() needs none.
  void add_owner(int owner) { cached_.add_owner(owner); }

  int num_blocks() const { return static_cast<int>(holders_.size()); }
  int num_free() const { return static_cast<int>(free_.size()); }
  int num_cached() const { return cached_.size(); }
  // What try_allocate() can give.
  int num_available() const { return num_free() + num_cached(); }
  int num_used() const { return num_blocks() - num_available(); }
  int num_holders(BlockId block) const { return holders_.at(static_cast<size_t>(block)).count; }
  uint64_t num_evictions() const { return num_evictions_; }

  // Appends `count` blocks with one holder each, or nothing and false when fewer are available.
  // Free blocks go first, then cached ones.
  bool try_allocate(int count, std::vector<BlockId>& blocks);
  // One more holder of a used or cached block.
  void add_holder(BlockId block);
  // Takes one holder from each, from the last to the first, so that of a prefix the end is given
  // up first. A block without holders is cached if it can be found, else free.
  void release(std::span<const BlockId> blocks);

  BlockId find(const PrefixPlace& place, std::span<const TokenId> tokens) const {
    return tree_.find(place, tokens);
  }
  // Makes a block whose K and V are all written findable; `owner` pays for it while it is cached.
  // Returns the block to hold from now on: where the same contents are there already the caller's
  // hold has moved to them.
  BlockId publish(BlockId block, const PrefixPlace& place, std::span<const TokenId> tokens,
                  int owner);
  // Nobody finds these any more (their contents are not to be trusted).
  void forget(std::span<const BlockId> blocks);

  // CHECKs the invariant; for tests and simulation.
  void check_integrity() const;

 private:
  struct Holders {
    int32_t count = 0;
    int32_t owner = 0;  // of the contents
  };
  Holders& holders(BlockId block) { return holders_.at(static_cast<size_t>(block)); }

  std::vector<Holders> holders_;  // by block
  std::vector<BlockId> free_;     // last in, first out: warm memory first
  CachedBlocks cached_;
  PrefixTree tree_;
  uint64_t num_evictions_ = 0;
};

}  // namespace sparrow
