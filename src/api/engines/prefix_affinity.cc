#include "api/engines/prefix_affinity.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace sparrow::api {
namespace {

std::span<const unsigned char> bytes_of(std::span<const TokenId> tokens) {
  return {reinterpret_cast<const unsigned char*>(tokens.data()), tokens.size_bytes()};
}

}  // namespace

PrefixAffinity::PrefixAffinity(SipKey key, size_t num_places)
    : key_(key), places_(std::max(kWays, num_places / kWays * kWays)) {}

// Each length is hashed with the hash of the one before as its key, so every token is read once.
PrefixAffinity::Prefix PrefixAffinity::name(std::string_view salt,
                                            std::span<const TokenId> prompt) const {
  Prefix prefix;
  Hash128 before = sip_hash(key_, salt);
  size_t begin = 0;
  while (prefix.num_lengths < kMaxLengths) {
    const auto end = static_cast<size_t>(tokens_at(prefix.num_lengths));
    if (end > prompt.size()) break;
    before = sip_hash({before.low, before.high}, bytes_of(prompt.subspan(begin, end - begin)));
    prefix.hashes[static_cast<size_t>(prefix.num_lengths++)] = before;
    begin = end;
  }
  return prefix;
}

std::span<PrefixAffinity::Place> PrefixAffinity::places_of(const Hash128& hash) {
  const size_t group = hash.low % (places_.size() / kWays);
  return std::span(places_).subspan(group * kWays, kWays);
}

PrefixAffinity::Place* PrefixAffinity::find(const Hash128& hash) {
  for (Place& place : places_of(hash)) {
    if (place.engines != 0 && place.tag == hash.high) return &place;
  }
  return nullptr;
}

void PrefixAffinity::look_up(const Prefix& prefix, std::span<int> tokens_by_engine) {
  std::fill(tokens_by_engine.begin(), tokens_by_engine.end(), 0);
  for (int i = 0; i < prefix.num_lengths; ++i) {
    const Place* place = find(prefix.hashes[static_cast<size_t>(i)]);
    if (place == nullptr) continue;  // a longer one may still be known
    for (uint64_t left = place->engines; left != 0; left &= left - 1) {
      const auto engine = static_cast<size_t>(std::countr_zero(left));
      if (engine < tokens_by_engine.size()) tokens_by_engine[engine] = tokens_at(i);
    }
  }
}

void PrefixAffinity::note(const Prefix& prefix, int engine) {
  CHECK(engine >= 0 && engine < kMaxEngines);
  ++num_uses_;
  for (int i = 0; i < prefix.num_lengths; ++i) {
    const Hash128& hash = prefix.hashes[static_cast<size_t>(i)];
    Place* place = find(hash);
    if (place == nullptr) {
      const std::span<Place> group = places_of(hash);
      place = &*std::min_element(group.begin(), group.end(), [](const Place& a, const Place& b) {
        return a.last_use < b.last_use;
      });
      *place = {.tag = hash.high};
    }
    place->engines |= uint64_t{1} << engine;
    place->last_use = num_uses_;
  }
}

}  // namespace sparrow::api
