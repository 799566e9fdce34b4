#pragma once
// PrefixSharing: the part of the scheduler that lets sequences use each other's KV blocks. It names
// the full blocks of a sequence, finds those that are there already, says when it is better to
// wait for one that another sequence is computing, and publishes what a sequence has computed.
// Engine thread only.

#include <string>
#include <unordered_map>
#include <vector>

#include "kv/block_pool.h"
#include "kv/prefix_hash.h"
#include "scheduler/sequence.h"

namespace sparrow {

struct PrefixOptions {
  bool enabled = true;
  SipKey key;           // secret of the process
  int hash_bits = 128;  // fewer in tests, to make hashes collide
};

class PrefixSharing {
 public:
  // Tenants told apart; more of them share one list of cached blocks.
  static constexpr size_t kMaxOwners = 1024;

  PrefixSharing(const PrefixOptions& options, BlockPool& pool, int block_tokens);

  // A new sequence, before anything else.
  void enter(Sequence& sequence);
  // The leading blocks of the sequence that are there, holders not yet added. The last token stays
  // out: its logits are needed, so it is computed in any case.
  void match(Sequence& sequence, std::vector<BlockId>& found);
  // `other`, which runs, is about to compute the block behind the first `num_matched` of
  // `sequence`, which was matched just now.
  bool is_on_its_way(const Sequence& sequence, int num_matched, const Sequence& other) const;
  // Offers the sequence's newly computed full blocks to others. Its block table may change to
  // blocks of the same contents that were there first.
  void publish(Sequence& sequence);
  // The sequence was cut; its first `num_kept` blocks stay.
  void cut(Sequence& sequence, int num_kept) const;
  // What the sequence computed or used is not to be trusted.
  void quarantine(Sequence& sequence);

 private:
  void name_blocks(Sequence& sequence, int num_tokens) const;
  PrefixPlace place_of(const Sequence& sequence, size_t block, BlockId parent) const;
  std::span<const TokenId> tokens_of(const Sequence& sequence, size_t block) const;
  int owner_of(const std::string& tenant);

  const bool enabled_;
  const PrefixHasher hasher_;
  BlockPool& pool_;
  const int block_tokens_;
  std::unordered_map<std::string, int> owners_;
};

}  // namespace sparrow
