#include "scheduler/prompt_lookup.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/random.h"

namespace sparrow {
namespace {

constexpr size_t kMinEntries = 256;
constexpr size_t kSetSize = 4;

// Whether the `length` tokens before both positions are the same.
bool is_same(std::span<const TokenId> tokens, size_t position, size_t other, size_t length) {
  if (other < length || other > tokens.size()) return false;  // cut off since
  const auto at = [&](size_t end) { return tokens.begin() + static_cast<ptrdiff_t>(end - length); };
  return std::equal(at(position), tokens.begin() + static_cast<ptrdiff_t>(position), at(other));
}

// Whether the text ends with more than kMaxRepeats repeats of its last `period` tokens. Stops at
// the first difference: where nothing repeats, this is one comparison.
bool is_loop(std::span<const TokenId> tokens, size_t period) {
  const size_t num_equal = period * PromptLookup::kMaxRepeats;
  if (period == 0 || period > PromptLookup::kMaxLoopPeriod) return false;
  if (tokens.size() < num_equal + period) return false;
  const auto end = tokens.rbegin() + static_cast<ptrdiff_t>(num_equal);
  return std::equal(tokens.rbegin(), end, tokens.rbegin() + static_cast<ptrdiff_t>(period));
}

}  // namespace

PromptLookup::PromptLookup(int min_ngram, int max_ngram)
    : min_ngram_(min_ngram), max_ngram_(max_ngram) {
  CHECK(min_ngram >= 1 && min_ngram <= max_ngram && max_ngram <= kMaxNgram);
}

size_t PromptLookup::set_of(const TokenId* end, int length) const {
  auto hash = static_cast<uint64_t>(length);
  for (int i = 1; i <= length; ++i) hash = mix64(hash ^ static_cast<uint64_t>(end[-i]));
  return hash & (table_.size() - kSetSize);
}

// Room for twice the n-grams, as long as the bound allows; what was indexed is indexed again.
void PromptLookup::resize_for(std::span<const TokenId> tokens) {
  const size_t num_lengths = static_cast<size_t>(max_ngram_ - min_ngram_ + 1);
  const size_t wanted =
      std::clamp(std::bit_ceil(2 * num_lengths * tokens.size()), kMinEntries, kMaxEntries);
  if (wanted <= table_.size()) return;
  table_.assign(wanted, 0);
  num_indexed_ = 0;
}

void PromptLookup::insert(std::span<const TokenId> tokens, size_t position, int length) {
  const std::span<int32_t> set =
      std::span(table_).subspan(set_of(tokens.data() + position, length), kSetSize);
  int32_t* place = &set[0];
  for (int32_t& slot : set) {
    if (is_same(tokens, position, static_cast<size_t>(slot), static_cast<size_t>(length))) {
      place = &slot;
      break;
    }
    if (slot < *place) place = &slot;
  }
  *place = static_cast<int32_t>(position);
}

void PromptLookup::index(std::span<const TokenId> tokens) {
  resize_for(tokens);
  if (tokens.size() < num_indexed_) {  // the text was cut: what it still says may be overwritten
    std::fill(table_.begin(), table_.end(), 0);
    num_indexed_ = 0;
  }
  const size_t end = std::min(tokens.size(), num_indexed_ + kMaxIndexedPerCall);
  for (size_t position = num_indexed_; position < end; ++position) {
    for (int length = min_ngram_; length <= max_ngram_; ++length) {
      if (static_cast<size_t>(length) > position) break;
      insert(tokens, position, length);
    }
  }
  num_indexed_ = end;
}

size_t PromptLookup::find(std::span<const TokenId> tokens) const {
  const size_t end = tokens.size();
  for (int length = max_ngram_; length >= min_ngram_; --length) {
    if (static_cast<size_t>(length) >= end) continue;
    size_t latest = 0;
    for (const int32_t slot :
         std::span(table_).subspan(set_of(tokens.data() + end, length), kSetSize)) {
      const auto position = static_cast<size_t>(slot);
      if (position <= latest || position >= end) continue;
      if (is_same(tokens, end, position, static_cast<size_t>(length))) latest = position;
    }
    if (latest > 0) return latest;
  }
  return 0;
}

void PromptLookup::propose(std::span<const TokenId> tokens, int count,
                           std::vector<TokenId>& drafts) {
  index(tokens);
  if (is_loop(tokens, loop_period_)) return;
  const size_t found = find(tokens);
  if (found == 0) return;
  const size_t period = tokens.size() - found;
  if (is_loop(tokens, period)) {
    loop_period_ = period;
    return;
  }
  // A match that reaches the end goes on with its own guesses.
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    drafts.push_back(tokens[found + i % period]);
  }
}

}  // namespace sparrow
