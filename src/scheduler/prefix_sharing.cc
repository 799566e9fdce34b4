#include "scheduler/prefix_sharing.h"

#include <algorithm>

namespace sparrow {

PrefixSharing::PrefixSharing(const PrefixOptions& options, BlockPool& pool, int block_tokens)
    : enabled_(options.enabled),
      hasher_(options.key, options.hash_bits),
      pool_(pool),
      block_tokens_(block_tokens) {}

int PrefixSharing::owner_of(const std::string& tenant) {
  if (tenant.empty()) return 0;
  const auto known = owners_.find(tenant);
  if (known != owners_.end()) return known->second;
  if (owners_.size() >= kMaxOwners) return 0;
  const int owner = static_cast<int>(owners_.size()) + 1;
  pool_.add_owner(owner);
  owners_.emplace(tenant, owner);
  return owner;
}

void PrefixSharing::enter(Sequence& sequence) {
  if (!enabled_) return;
  sequence.prefix.root = hasher_.root(sequence.request->cache_salt);
  sequence.prefix.owner = owner_of(sequence.request->tenant);
}

void PrefixSharing::name_blocks(Sequence& sequence, int num_tokens) const {
  PrefixState& prefix = sequence.prefix;
  const auto wanted = static_cast<size_t>(num_tokens / block_tokens_);
  while (prefix.hashes.size() < wanted) {
    const Hash128& before = prefix.hashes.empty() ? prefix.root : prefix.hashes.back();
    prefix.hashes.push_back(hasher_.next(before, tokens_of(sequence, prefix.hashes.size())));
  }
}

std::span<const TokenId> PrefixSharing::tokens_of(const Sequence& sequence, size_t block) const {
  const auto size = static_cast<size_t>(block_tokens_);
  return std::span(sequence.tokens).subspan(block * size, size);
}

PrefixPlace PrefixSharing::place_of(const Sequence& sequence, size_t block, BlockId parent) const {
  return {.root = sequence.prefix.root, .hash = sequence.prefix.hashes[block], .parent = parent};
}

void PrefixSharing::match(Sequence& sequence, std::vector<BlockId>& found) {
  found.clear();
  if (!enabled_) return;
  name_blocks(sequence, sequence.num_tokens() - 1);
  BlockId parent = kNoBlock;
  const auto num_usable = static_cast<size_t>((sequence.num_tokens() - 1) / block_tokens_);
  for (size_t i = 0; i < num_usable; ++i) {
    parent = pool_.find(place_of(sequence, i, parent), tokens_of(sequence, i));
    if (parent == kNoBlock) return;
    found.push_back(parent);
  }
}

bool PrefixSharing::is_on_its_way(const Sequence& sequence, int num_matched,
                                  const Sequence& other) const {
  const auto next = static_cast<size_t>(num_matched);
  if (!enabled_ || num_matched >= (sequence.num_tokens() - 1) / block_tokens_) return false;
  const std::vector<Hash128>& others = other.prefix.hashes;
  if (next >= others.size() || others[next] != sequence.prefix.hashes[next]) return false;
  // Computed already and still not found: it will never be.
  return other.num_computed < (num_matched + 1) * block_tokens_;
}

void PrefixSharing::publish(Sequence& sequence) {
  PrefixState& prefix = sequence.prefix;
  const int num_full = sequence.num_computed / block_tokens_;
  if (!enabled_ || num_full <= prefix.num_published) return;
  name_blocks(sequence, sequence.num_computed);
  for (int i = prefix.num_published; i < num_full; ++i) {
    const auto at = static_cast<size_t>(i);
    const BlockId parent = i == 0 ? kNoBlock : sequence.blocks[at - 1];
    sequence.blocks[at] = pool_.publish(sequence.blocks[at], place_of(sequence, at, parent),
                                        tokens_of(sequence, at), prefix.owner);
  }
  prefix.num_published = num_full;
}

void PrefixSharing::cut(Sequence& sequence, int num_kept) const {
  PrefixState& prefix = sequence.prefix;
  prefix.num_published = std::min(prefix.num_published, num_kept);
  if (prefix.hashes.size() > static_cast<size_t>(num_kept)) {
    prefix.hashes.resize(static_cast<size_t>(num_kept));
  }
}

void PrefixSharing::quarantine(Sequence& sequence) { pool_.forget(sequence.blocks); }

}  // namespace sparrow
