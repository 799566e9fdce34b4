#pragma once
// BlockPool: which KV blocks are free and how many sequences hold each. Ids only: memory belongs to
// the executor. Engine thread only.
//
// Invariant: every block is either free with no holder or used with at least one;
// num_free() + num_used() == num_blocks().

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.h"

namespace sparrow {

class BlockPool {
 public:
  explicit BlockPool(int num_blocks);

  int num_blocks() const { return static_cast<int>(num_holders_.size()); }
  int num_free() const { return static_cast<int>(free_.size()); }
  int num_used() const { return num_blocks() - num_free(); }

  // Appends `count` blocks with one holder each, or nothing and false when fewer are free.
  bool try_allocate(int count, std::vector<BlockId>& blocks);
  // One more holder of a used block (shared prefixes).
  void add_holder(BlockId block);
  // Takes one holder from each; a block without holders is free again.
  void release(std::span<const BlockId> blocks);

  // CHECKs the invariant; for tests and simulation.
  void check_integrity() const;

 private:
  std::vector<int32_t> num_holders_;  // by block
  std::vector<BlockId> free_;         // last in, first out: warm memory first
};

}  // namespace sparrow
