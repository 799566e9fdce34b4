#include "tokenizer/piece_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/random.h"
#include "tokenizer/fold_hash.h"

namespace sparrow {

PieceTable::PieceTable(size_t num_ids)
    : seed_(entropy64()),
      spans_(num_ids),
      slots_(std::bit_ceil(std::max<size_t>(16, num_ids * 2))) {}

uint64_t PieceTable::hash(std::string_view bytes) const {
  uint64_t state = seed_ ^ bytes.size();
  while (bytes.size() >= sizeof(uint64_t)) {
    uint64_t chunk = 0;
    std::memcpy(&chunk, bytes.data(), sizeof(chunk));
    state = fold_multiply(state ^ chunk, kFoldMultiplier);
    bytes.remove_prefix(sizeof(chunk));
  }
  uint64_t tail = 0;
  for (const char c : bytes) tail = tail << 8 | static_cast<unsigned char>(c);
  return fold_multiply(state ^ tail, kFoldMultiplier);
}

size_t PieceTable::find_slot(std::string_view bytes, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  while (slots_[slot].id >= 0) {
    if (slots_[slot].tag == hash >> 32 && this->bytes(slots_[slot].id) == bytes) break;
    slot = (slot + 1) & mask;
  }
  return slot;
}

TokenId PieceTable::add(TokenId id, std::string_view bytes) {
  Span& span = spans_[static_cast<size_t>(id)];
  CHECK(span.len == 0 && !bytes.empty());
  CHECK(bytes.size() <= kMaxArenaBytes && arena_.size() <= kMaxArenaBytes - bytes.size());
  const uint64_t hash_of_bytes = hash(bytes);
  Slot& slot = slots_[find_slot(bytes, hash_of_bytes)];
  if (slot.id >= 0) return slot.id;
  slot = {static_cast<uint32_t>(hash_of_bytes >> 32), id};
  span = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(bytes.size())};
  arena_ += bytes;
  max_piece_bytes_ = std::max(max_piece_bytes_, bytes.size());
  return -1;
}

TokenId PieceTable::find(std::string_view bytes) const {
  if (bytes.empty() || bytes.size() > max_piece_bytes_) return -1;
  return slots_[find_slot(bytes, hash(bytes))].id;
}

}  // namespace sparrow
