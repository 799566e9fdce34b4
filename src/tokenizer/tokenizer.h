#pragma once
// Tokenizer: byte-level BPE exactly as the model's own tokenizer.json (or GGUF metadata) says:
// added tokens -> NFC -> split pattern (PCRE2) -> bytes -> merges -> ids, and back.
//
// Immutable after create(); thread-safe. TokenizerSpec is what a file says, format-neutral.
// Text that is not valid UTF-8 is encoded as if each maximal invalid part were U+FFFD.
//
//   ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::create(std::move(spec)));
//   std::vector<TokenId> ids = tokenizer->encode("Hello", {.add_bos = true});

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "core/ids.h"

namespace sparrow {

struct AddedToken {
  TokenId id = -1;
  std::string content;
  bool special = false;  // removed from text by skip_special_tokens
  bool normalized = false;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
};

struct TokenizerSpec {
  std::string source;  // names the file in errors
  // By id, in the byte alphabet of GPT-2; empty: no such token. The id of an added token may be
  // empty here or lie beyond the end; what stands there does not need to be in the alphabet.
  std::vector<std::string> pieces;
  std::vector<std::pair<std::string, std::string>> merges;  // first = merged first
  std::vector<AddedToken> added_tokens;
  std::string split_pattern;  // PCRE2 syntax; empty: the text is one word
  bool nfc = false;
  bool ignore_merges = false;  // a word that is a piece is taken whole
  TokenId bos_token_id = -1;   // the tokenizer's own, not config.json's
  TokenId eos_token_id = -1;
  bool add_bos = false;  // plain text prompts start with bos
};

struct EncodeOptions {
  bool parse_added_tokens = true;
  // Put bos first, if the spec says add_bos and the text does not already start with it as a token:
  // with parse_added_tokens off, bos written in the text is ordinary text.
  bool add_bos = false;
};

class Tokenizer {
 public:
  // Most ids a tokenizer may have, and most ids in front of the last one that name no token.
  static constexpr TokenId kMaxTokens = 1 << 21;
  static constexpr size_t kMaxHoles = 1u << 16;

  // Error: a sentence naming the piece, merge, added token or pattern that contradicts the rest.
  static Result<std::shared_ptr<const Tokenizer>> create(TokenizerSpec spec);
  ~Tokenizer();

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Complete UTF-8; invalid bytes become U+FFFD. Unknown ids give nothing.
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens = false) const;

  // Number of ids the tokenizer knows of, holes included: every valid id is below it.
  int vocab_size() const;
  bool has_token(TokenId id) const;
  bool is_special(TokenId id) const;
  bool is_added(TokenId id) const;
  // The bytes the token stands for; empty for an unknown id. May be a part of a character.
  std::string_view token_bytes(TokenId id) const;
  // Added tokens by content, e.g. "<think>".
  std::optional<TokenId> added_token_id(std::string_view content) const;
  TokenId bos_token_id() const;
  TokenId eos_token_id() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns ids into text as they come, never half a character: O(1) amortised per token, at most three
// bytes held back. One object per sequence and channel; one thread.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}
  // Appends what is complete to `out`.
  void push(TokenId id, std::string& out);
  // Appends what is left as U+FFFD.
  void flush(std::string& out);

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::string held_;  // 0..3 bytes
};

// Reads tokenizer.json and, when present beside it, tokenizer_config.json of a model directory.
// Error: one line naming file, field, what was found and what was expected; what we cannot do
// exactly is refused by name.
Result<TokenizerSpec> read_hf_tokenizer(const std::string& directory);

}  // namespace sparrow
