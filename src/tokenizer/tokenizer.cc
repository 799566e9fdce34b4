#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <unordered_map>

#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/added_token_matcher.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/nfc.h"
#include "tokenizer/piece_table.h"
#include "tokenizer/split_pattern.h"

namespace sparrow {
namespace {

static_assert(Tokenizer::kMaxTokens <= BpeModel::kMaxTokens);

// Whether merging the bytes of a piece ends in that piece; found out at its first use.
enum class SelfMerge : uint8_t { kUnknown, kYes, kNo };

std::string in_quotes(std::string_view text) {
  constexpr size_t kMaxShownBytes = 80;
  std::string out;
  append_json_string(out, text.substr(0, kMaxShownBytes));
  if (text.size() > kMaxShownBytes) out += fmt::format(" ({} bytes)", text.size());
  return out;
}

// UTF-8 never holds these bytes, so a tokenizer may do without pieces for them.
bool occurs_in_utf8(unsigned byte) { return byte < 0xC0 || (byte > 0xC1 && byte < 0xF5); }

}  // namespace

struct Tokenizer::Impl {
  TokenizerSpec spec;                // without pieces and merges, which live on in the tables
  std::vector<int32_t> added_index;  // by id: index in spec.added_tokens, or -1
  std::unordered_map<std::string_view, TokenId> added_ids;  // views of spec.added_tokens
  std::optional<PieceTable> pieces;
  std::optional<BpeModel> bpe;
  std::optional<SplitPattern> pattern;
  AddedTokenMatcher raw_matcher;         // normalized = false: found in the text as it comes
  AddedTokenMatcher normalized_matcher;  // normalized = true: found after NFC
  // By id. Every thread writes the same value for an id, so relaxed order is enough.
  std::unique_ptr<std::atomic<SelfMerge>[]> self_merge;

  Status build(TokenizerSpec from);
  Status size_ids();
  Status add_pieces(const std::vector<std::string>& texts);
  Status add_merges(const std::vector<std::pair<std::string, std::string>>& merges);
  Status add_added_tokens();

  size_t num_ids() const { return added_index.size(); }
  bool is_id(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < num_ids(); }
  const AddedToken* added(TokenId id) const {
    if (!is_id(id) || added_index[static_cast<size_t>(id)] < 0) return nullptr;
    return &spec.added_tokens[static_cast<size_t>(added_index[static_cast<size_t>(id)])];
  }

  void encode_word(std::string_view word, std::vector<TokenId>& ids) const;
};

Status Tokenizer::Impl::size_ids() {
  size_t end = spec.pieces.size();
  size_t num_tokens = spec.added_tokens.size();
  for (const std::string& piece : spec.pieces) num_tokens += piece.empty() ? 0u : 1u;
  for (const AddedToken& token : spec.added_tokens) {
    if (token.id < 0 || token.id >= kMaxTokens) {
      return invalid_argument(fmt::format("added token {} has id {}, expected 0 to {}",
                                          in_quotes(token.content), token.id, kMaxTokens - 1));
    }
    end = std::max(end, static_cast<size_t>(token.id) + 1);
  }
  if (end > static_cast<size_t>(kMaxTokens) || end > num_tokens + kMaxHoles) {
    return invalid_argument(
        fmt::format("the largest id is {}, but there are only {} tokens (at most {} ids may be "
                    "unused, and no id may reach {})",
                    end - 1, num_tokens, kMaxHoles, kMaxTokens));
  }
  added_index.assign(end, -1);
  for (size_t i = 0; i < spec.added_tokens.size(); ++i) {
    const AddedToken& token = spec.added_tokens[i];
    int32_t& index = added_index[static_cast<size_t>(token.id)];
    if (index >= 0) {
      return invalid_argument(
          fmt::format("id {} belongs to two added tokens, {} and {}", token.id,
                      in_quotes(spec.added_tokens[static_cast<size_t>(index)].content),
                      in_quotes(token.content)));
    }
    index = static_cast<int32_t>(i);
  }
  return ok_status();
}

Status Tokenizer::Impl::add_pieces(const std::vector<std::string>& texts) {
  pieces.emplace(num_ids());
  size_t total_bytes = 0;
  std::string bytes;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    const auto id = static_cast<TokenId>(i);
    bytes.clear();
    if (!append_piece_bytes(texts[i], bytes)) {
      if (added(id) != nullptr) continue;  // its content counts, and no merge can name it
      return invalid_argument(
          fmt::format("piece {} (id {}) has a character outside of the byte alphabet",
                      in_quotes(texts[i]), id));
    }
    total_bytes += bytes.size();
    if (total_bytes > PieceTable::kMaxArenaBytes) {
      return resource_exhausted(fmt::format("the pieces have more than the limit of {} bytes",
                                            PieceTable::kMaxArenaBytes));
    }
    const TokenId same = pieces->add(id, bytes);
    if (same >= 0) {
      return invalid_argument(
          fmt::format("piece {} has two ids, {} and {}", in_quotes(texts[i]), same, id));
    }
  }
  return ok_status();
}

Status Tokenizer::Impl::add_merges(const std::vector<std::pair<std::string, std::string>>& merges) {
  std::array<TokenId, 256> byte_ids{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids[byte] = pieces->find(std::string_view(&c, 1));
    if (byte_ids[byte] < 0 && occurs_in_utf8(byte)) {
      return invalid_argument(
          fmt::format("there is no piece for the byte 0x{:02X} ({}), so text with it could not be "
                      "encoded: this is not a byte-level vocabulary",
                      byte, in_quotes(piece_of_bytes(std::string_view(&c, 1)))));
    }
  }
  std::vector<BpeModel::Merge> by_id;
  by_id.reserve(merges.size());
  std::string left;
  std::string right;
  for (size_t i = 0; i < merges.size(); ++i) {
    left.clear();
    right.clear();
    const bool in_alphabet =
        append_piece_bytes(merges[i].first, left) && append_piece_bytes(merges[i].second, right);
    BpeModel::Merge merge{pieces->find(left), pieces->find(right), pieces->find(left + right)};
    if (!in_alphabet || merge.left < 0 || merge.right < 0 || merge.result < 0) {
      const bool sides_known = in_alphabet && merge.left >= 0 && merge.right >= 0;
      return invalid_argument(
          fmt::format("merge {} ({} with {}) {} a piece that is not in the "
                      "vocabulary",
                      i, in_quotes(merges[i].first), in_quotes(merges[i].second),
                      sides_known ? "makes" : "names"));
    }
    by_id.push_back(merge);
  }
  ASSIGN_OR_RETURN(bpe, BpeModel::create(byte_ids, by_id));
  return ok_status();
}

Status Tokenizer::Impl::add_added_tokens() {
  std::string buffer;
  std::unordered_map<std::string, TokenId> normalized_ids;
  for (const AddedToken& token : spec.added_tokens) {
    if (token.content.empty() || token.content.size() > AddedTokenMatcher::kMaxTokenBytes) {
      return invalid_argument(fmt::format("added token {} (id {}) has {} bytes, expected 1 to {}",
                                          in_quotes(token.content), token.id, token.content.size(),
                                          AddedTokenMatcher::kMaxTokenBytes));
    }
    if (!is_valid_utf8(token.content)) {
      return invalid_argument(fmt::format("added token {} (id {}) is not valid UTF-8",
                                          in_quotes(token.content), token.id));
    }
    if (!added_ids.emplace(token.content, token.id).second) {
      return invalid_argument(fmt::format("added token {} has two ids, {} and {}",
                                          in_quotes(token.content), added_ids.at(token.content),
                                          token.id));
    }
    const AddedTokenMatcher::Flags flags{token.single_word, token.lstrip, token.rstrip};
    if (!token.normalized) {
      raw_matcher.add(token.content, token.id, flags);
      continue;
    }
    // It is looked for in normalized text, so its own text has to be normalized as well.
    const std::string_view content = spec.nfc ? to_nfc(token.content, buffer) : token.content;
    const auto [other, is_new] = normalized_ids.emplace(content, token.id);
    if (!is_new || content.size() > AddedTokenMatcher::kMaxTokenBytes) {
      return invalid_argument(fmt::format(
          "added token {} (id {}) is, after NFC, {}", in_quotes(token.content), token.id,
          is_new ? "too long" : fmt::format("the same as that of id {}", other->second)));
    }
    normalized_matcher.add(content, token.id, flags);
  }
  return ok_status();
}

Status Tokenizer::Impl::build(TokenizerSpec from) {
  spec = std::move(from);
  RETURN_IF_ERROR(size_ids());
  RETURN_IF_ERROR(add_pieces(spec.pieces));
  RETURN_IF_ERROR(add_merges(spec.merges));
  RETURN_IF_ERROR(add_added_tokens());
  spec.pieces = {};
  spec.merges = {};
  if (!spec.split_pattern.empty()) {
    ASSIGN_OR_RETURN(pattern, SplitPattern::compile(spec.split_pattern));
  }
  for (const auto& [name, id] : {std::pair<const char*, TokenId>{"bos_token_id", spec.bos_token_id},
                                 {"eos_token_id", spec.eos_token_id}}) {
    if (id != -1 && (!is_id(id) || (added(id) == nullptr && pieces->bytes(id).empty()))) {
      return invalid_argument(fmt::format("{} is {}, which names no token", name, id));
    }
  }
  if (spec.add_bos && spec.bos_token_id == -1) {
    return invalid_argument("add_bos is set, but there is no bos token");
  }
  self_merge = std::make_unique<std::atomic<SelfMerge>[]>(num_ids());
  return ok_status();
}

void Tokenizer::Impl::encode_word(std::string_view word, std::vector<TokenId>& ids) const {
  const TokenId whole = pieces->find(word);
  if (whole < 0) return bpe->encode_word(word, ids);
  if (spec.ignore_merges) return ids.push_back(whole);
  std::atomic<SelfMerge>& known = self_merge[static_cast<size_t>(whole)];
  const SelfMerge state = known.load(std::memory_order_relaxed);
  if (state == SelfMerge::kYes) return ids.push_back(whole);
  const size_t begin = ids.size();
  bpe->encode_word(word, ids);
  if (state == SelfMerge::kUnknown) {
    const bool is_self = ids.size() == begin + 1 && ids[begin] == whole;
    known.store(is_self ? SelfMerge::kYes : SelfMerge::kNo, std::memory_order_relaxed);
  }
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::create(TokenizerSpec spec) {
  auto impl = std::make_unique<Impl>();
  const std::string source = spec.source;
  const Status built = impl->build(std::move(spec));
  if (!built.ok() && !source.empty()) {
    return Status(built.code(), fmt::format("{}: {}", source, built.message()));
  }
  RETURN_IF_ERROR(built);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    append_valid_utf8(repaired, text);
    text = repaired;
  }
  std::vector<TokenId> ids;
  constexpr size_t kExpectedBytesPerToken = 3;
  ids.reserve(text.size() / kExpectedBytesPerToken + 4);

  std::optional<SplitPattern::Splitter> splitter;
  if (impl_->pattern) splitter.emplace(*impl_->pattern);
  const auto encode_ordinary = [&](std::string_view piece) {
    if (!splitter) return impl_->encode_word(piece, ids);
    splitter->start(piece);
    while (true) {
      const std::string_view word = splitter->next_word();
      if (word.empty()) break;
      impl_->encode_word(word, ids);
    }
  };

  using Segment = AddedTokenMatcher::Segment;
  std::vector<Segment> segments;
  std::vector<Segment> inner_segments;
  std::string nfc_buffer;
  if (options.parse_added_tokens) {
    impl_->raw_matcher.split(text, segments);
  } else if (!text.empty()) {
    segments.push_back({text, -1});
  }
  for (const Segment& segment : segments) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    const std::string_view piece =
        impl_->spec.nfc ? to_nfc(segment.text, nfc_buffer) : segment.text;
    if (!options.parse_added_tokens || impl_->normalized_matcher.empty()) {
      encode_ordinary(piece);
      continue;
    }
    inner_segments.clear();
    impl_->normalized_matcher.split(piece, inner_segments);
    for (const Segment& inner : inner_segments) {
      if (inner.id >= 0) {
        ids.push_back(inner.id);
      } else {
        encode_ordinary(inner.text);
      }
    }
  }
  const bool starts_with_bos =
      options.parse_added_tokens && !ids.empty() && ids.front() == impl_->spec.bos_token_id;
  if (options.add_bos && impl_->spec.add_bos && !starts_with_bos) {
    ids.insert(ids.begin(), impl_->spec.bos_token_id);
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (skip_special_tokens && is_special(id)) continue;
    bytes += token_bytes(id);
  }
  if (is_valid_utf8(bytes)) return bytes;
  std::string text;
  text.reserve(bytes.size());
  append_valid_utf8(text, bytes);
  return text;
}

int Tokenizer::vocab_size() const { return static_cast<int>(impl_->num_ids()); }

bool Tokenizer::has_token(TokenId id) const { return !token_bytes(id).empty(); }

bool Tokenizer::is_special(TokenId id) const {
  const AddedToken* token = impl_->added(id);
  return token != nullptr && token->special;
}

bool Tokenizer::is_added(TokenId id) const { return impl_->added(id) != nullptr; }

std::string_view Tokenizer::token_bytes(TokenId id) const {
  if (!impl_->is_id(id)) return {};
  if (const AddedToken* token = impl_->added(id)) return token->content;
  return impl_->pieces->bytes(id);
}

std::optional<TokenId> Tokenizer::added_token_id(std::string_view content) const {
  const auto found = impl_->added_ids.find(content);
  if (found == impl_->added_ids.end()) return std::nullopt;
  return found->second;
}

TokenId Tokenizer::bos_token_id() const { return impl_->spec.bos_token_id; }
TokenId Tokenizer::eos_token_id() const { return impl_->spec.eos_token_id; }

}  // namespace sparrow
