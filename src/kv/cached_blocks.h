#pragma once
// CachedBlocks: the blocks that nobody holds but whose contents may be wanted again, and which of
// them goes first when memory is needed.
//
// Each owner (tenant) has a list in order of last use. Normally the owner with the most blocks
// gives up its least recently used one, so a tenant that floods the cache evicts itself. A block
// that was not used while `stale_age` others came goes before all that, so nobody keeps a share
// for ever. With one owner this is plain LRU. Engine thread only.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/ids.h"

namespace sparrow {

class CachedBlocks {
 public:
  CachedBlocks(int num_blocks, uint64_t stale_age);

  // Takes memory for this owner (a small index), so that add() needs none.
  void add_owner(int owner);
  // As the owner's most recently used.
  void add(BlockId block, int owner);
  void remove(BlockId block);
  // The block to give up, removed. Not when empty.
  BlockId take_victim();

  bool contains(BlockId block) const { return links_.at(static_cast<size_t>(block)).is_linked; }
  int size() const { return size_; }
  int size_of(int owner) const;

 private:
  struct Link {
    BlockId older = kNoBlock;
    BlockId newer = kNoBlock;
    int owner = 0;
    uint64_t used_at = 0;
    bool is_linked = false;
  };
  struct List {
    BlockId oldest = kNoBlock;
    BlockId newest = kNoBlock;
    int size = 0;
  };
  Link& link(BlockId block) { return links_.at(static_cast<size_t>(block)); }

  const uint64_t stale_age_;
  uint64_t clock_ = 0;  // blocks added so far
  int size_ = 0;
  std::vector<Link> links_;  // by block
  std::vector<List> lists_;  // by owner
};

}  // namespace sparrow
