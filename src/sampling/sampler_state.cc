#include "sampling/sampler_state.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace sparrow {

void TokenCounts::clear() {
  std::fill(entries_.begin(), entries_.end(), Entry{});
  num_used_ = 0;
}

TokenCounts::Entry& TokenCounts::find_or_add(TokenId id) {
  DCHECK(id >= 0);
  if (num_used_ * 2 >= entries_.size()) grow();
  const size_t mask = entries_.size() - 1;
  size_t index = mix64(static_cast<uint64_t>(id)) & mask;
  while (entries_[index].id != id && entries_[index].id != -1) index = (index + 1) & mask;
  if (entries_[index].id == -1) {
    entries_[index].id = id;
    ++num_used_;
  }
  return entries_[index];
}

void TokenCounts::grow() {
  std::vector<Entry> old(std::max<size_t>(64, entries_.size() * 2));
  std::swap(old, entries_);
  num_used_ = 0;
  for (const Entry& entry : old) {
    if (entry.id != -1) find_or_add(entry.id) = entry;
  }
}

void SamplerState::start(const SlotStart& start) {
  CHECK(start.params != nullptr);
  params_ = start.params;
  banned_early_ = start.banned_early;
  min_tokens_ = start.min_tokens;
  counts_.clear();
  const auto num_prompt = static_cast<size_t>(start.num_prompt_tokens);
  CHECK(num_prompt <= start.tokens.size());
  num_generated_ = static_cast<int32_t>(start.tokens.size() - num_prompt);
  if (!params_->uses_penalties()) return;
  for (size_t i = 0; i < start.tokens.size(); ++i) {
    if (i < num_prompt) {
      counts_.add_prompt(start.tokens[i]);
    } else {
      counts_.add_generated(start.tokens[i]);
    }
  }
}

void SamplerState::record(TokenId id) {
  ++num_generated_;
  if (params_->uses_penalties()) counts_.add_generated(id);
}

}  // namespace sparrow
