#include "kv/block_pool.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {

BlockPool::BlockPool(int num_blocks) : num_holders_(static_cast<size_t>(num_blocks), 0) {
  free_.reserve(num_holders_.size());
  for (BlockId block = num_blocks; block-- > 0;) free_.push_back(block);
}

bool BlockPool::try_allocate(int count, std::vector<BlockId>& blocks) {
  DCHECK(count >= 0);
  if (count > num_free()) return false;
  const size_t needed = blocks.size() + static_cast<size_t>(count);
  if (needed > blocks.capacity()) blocks.reserve(std::max(needed, 2 * blocks.capacity()));
  for (int i = 0; i < count; ++i) {
    const BlockId block = free_.back();
    free_.pop_back();
    num_holders_[static_cast<size_t>(block)] = 1;
    blocks.push_back(block);
  }
  return true;
}

void BlockPool::add_holder(BlockId block) {
  int32_t& holders = num_holders_.at(static_cast<size_t>(block));
  CHECK(holders > 0);
  ++holders;
}

void BlockPool::release(std::span<const BlockId> blocks) {
  for (const BlockId block : blocks) {
    int32_t& holders = num_holders_.at(static_cast<size_t>(block));
    CHECK(holders > 0);
    if (--holders == 0) free_.push_back(block);
  }
}

void BlockPool::check_integrity() const {
  std::vector<bool> is_free(num_holders_.size(), false);
  for (const BlockId block : free_) {
    CHECK(!is_free.at(static_cast<size_t>(block)));
    is_free[static_cast<size_t>(block)] = true;
    CHECK(num_holders_[static_cast<size_t>(block)] == 0);
  }
  for (size_t block = 0; block < num_holders_.size(); ++block) {
    CHECK(is_free[block] == (num_holders_[block] == 0));
  }
}

}  // namespace sparrow
