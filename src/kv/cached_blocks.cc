#include "kv/cached_blocks.h"

#include "base/check.h"

namespace sparrow {

CachedBlocks::CachedBlocks(int num_blocks, uint64_t stale_age)
    : stale_age_(stale_age), links_(static_cast<size_t>(num_blocks)), lists_(1) {}

void CachedBlocks::add_owner(int owner) {
  CHECK(owner >= 0);
  if (static_cast<size_t>(owner) >= lists_.size()) lists_.resize(static_cast<size_t>(owner) + 1);
}

void CachedBlocks::add(BlockId block, int owner) {
  Link& added = link(block);
  CHECK(!added.is_linked);
  add_owner(owner);
  List& list = lists_[static_cast<size_t>(owner)];
  added = {.older = list.newest, .owner = owner, .used_at = ++clock_, .is_linked = true};
  (list.newest == kNoBlock ? list.oldest : link(list.newest).newer) = block;
  list.newest = block;
  ++list.size;
  ++size_;
}

void CachedBlocks::remove(BlockId block) {
  Link& removed = link(block);
  CHECK(removed.is_linked);
  List& list = lists_[static_cast<size_t>(removed.owner)];
  (removed.older == kNoBlock ? list.oldest : link(removed.older).newer) = removed.newer;
  (removed.newer == kNoBlock ? list.newest : link(removed.newer).older) = removed.older;
  --list.size;
  --size_;
  removed = {};
}

BlockId CachedBlocks::take_victim() {
  CHECK(size_ > 0);
  const List* largest = &lists_.front();
  BlockId stalest = kNoBlock;
  for (const List& list : lists_) {
    if (list.size > largest->size) largest = &list;
    if (list.size == 0) continue;
    if (stalest == kNoBlock || link(list.oldest).used_at < link(stalest).used_at) {
      stalest = list.oldest;
    }
  }
  const bool is_stale = clock_ - link(stalest).used_at > stale_age_;
  const BlockId victim = is_stale ? stalest : largest->oldest;
  remove(victim);
  return victim;
}

int CachedBlocks::size_of(int owner) const {
  const auto index = static_cast<size_t>(owner);
  return index < lists_.size() ? lists_[index].size : 0;
}

}  // namespace sparrow
