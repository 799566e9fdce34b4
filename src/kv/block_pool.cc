#include "kv/block_pool.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

// A tenant that used none of its cached blocks while the whole pool was filled this often loses
// them to whoever needs them.
constexpr uint64_t kStaleFills = 4;

}  // namespace

BlockPool::BlockPool(int num_blocks, int block_tokens)
    : holders_(static_cast<size_t>(num_blocks)),
      cached_(num_blocks, kStaleFills * static_cast<uint64_t>(num_blocks)),
      tree_(num_blocks, block_tokens) {
  free_.reserve(holders_.size());
  for (BlockId block = num_blocks; block-- > 0;) free_.push_back(block);
}

bool BlockPool::try_allocate(int count, std::vector<BlockId>& blocks) {
  DCHECK(count >= 0);
  if (count > num_available()) return false;
  const size_t needed = blocks.size() + static_cast<size_t>(count);
  if (needed > blocks.capacity()) blocks.reserve(std::max(needed, 2 * blocks.capacity()));
  for (int i = 0; i < count; ++i) {
    if (free_.empty()) {
      const BlockId victim = cached_.take_victim();
      tree_.erase(victim);
      ++num_evictions_;
      free_.push_back(victim);
    }
    const BlockId block = free_.back();
    free_.pop_back();
    holders(block).count = 1;
    blocks.push_back(block);
  }
  return true;
}

void BlockPool::add_holder(BlockId block) {
  Holders& held = holders(block);
  if (held.count == 0) cached_.remove(block);  // CHECKs that it is cached
  ++held.count;
}

void BlockPool::release(std::span<const BlockId> blocks) {
  for (size_t i = blocks.size(); i-- > 0;) {
    const BlockId block = blocks[i];
    Holders& held = holders(block);
    CHECK(held.count > 0);
    if (--held.count > 0) continue;
    if (tree_.contains(block)) {
      cached_.add(block, held.owner);
    } else {
      free_.push_back(block);
    }
  }
}

BlockId BlockPool::publish(BlockId block, const PrefixPlace& place, std::span<const TokenId> tokens,
                           int owner) {
  CHECK(holders(block).count > 0);
  if (tree_.contains(block)) return block;
  const BlockId same = tree_.find(place, tokens);
  if (same != kNoBlock) {
    add_holder(same);
    release(std::span(&block, 1));
    return same;
  }
  holders(block).owner = owner;
  tree_.insert(block, place, tokens);
  return block;
}

void BlockPool::forget(std::span<const BlockId> blocks) {
  for (const BlockId block : blocks) {
    tree_.erase(block);
    if (!cached_.contains(block)) continue;
    cached_.remove(block);
    free_.push_back(block);
  }
}

void BlockPool::check_integrity() const {
  std::vector<bool> is_free(holders_.size(), false);
  for (const BlockId block : free_) {
    CHECK(!is_free.at(static_cast<size_t>(block)));
    is_free[static_cast<size_t>(block)] = true;
    CHECK(num_holders(block) == 0 && !tree_.contains(block) && !cached_.contains(block));
  }
  for (BlockId block = 0; block < num_blocks(); ++block) {
    const bool is_cached = cached_.contains(block);
    CHECK(!is_cached || tree_.contains(block));
    const bool is_unheld = is_cached || is_free[static_cast<size_t>(block)];
    CHECK(is_unheld == (num_holders(block) == 0));
  }
  tree_.check_integrity();
}

}  // namespace sparrow
