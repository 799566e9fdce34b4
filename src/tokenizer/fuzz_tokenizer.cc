// Fuzz entry of the tokenizer. The first byte chooses: text as tokenizer.json with a config, text
// to encode, or ids to decode. Properties are CHECKed: no input may crash, and what is encoded
// decodes to the normalized text.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/hf_tokenizer.h"
#include "tokenizer/nfc.h"

namespace sparrow {
namespace {

constexpr size_t kMaxInputBytes = 1u << 16;

void encode_and_decode(const Tokenizer& tokenizer, std::string_view text, bool nfc) {
  const std::vector<TokenId> ids =
      tokenizer.encode(text, {.parse_added_tokens = false, .add_bos = false});
  std::string repaired;
  append_valid_utf8(repaired, text);
  std::string buffer;
  CHECK(tokenizer.decode(ids) == (nfc ? to_nfc(repaired, buffer) : repaired));
  // With added tokens white space around them may go, so only the ids are looked at.
  for (const TokenId id : tokenizer.encode(text, {.add_bos = true})) CHECK(tokenizer.has_token(id));
}

const Tokenizer& small_tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = [] {
    TokenizerSpec spec;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      spec.pieces.push_back(piece_of_bytes(std::string_view(&c, 1)));
    }
    for (const auto& [left, right] : {std::pair("a", "b"), {"ab", "a"}, {"a", "a"}, {"aa", "aa"}}) {
      spec.merges.emplace_back(left, right);
      spec.pieces.push_back(std::string(left) + right);
    }
    spec.split_pattern =
        R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
    spec.nfc = true;
    spec.added_tokens.push_back({.id = 260, .content = "<s>", .special = true});
    spec.added_tokens.push_back({.id = 261, .content = "<ab>", .lstrip = true, .rstrip = true});
    spec.added_tokens.push_back(
        {.id = 262, .content = "é", .normalized = true, .single_word = true});
    spec.bos_token_id = 260;
    spec.add_bos = true;
    auto created = Tokenizer::create(std::move(spec));
    CHECK(created.ok());
    return *created;
  }();
  return *tokenizer;
}

void fuzz_decode(std::string_view bytes) {
  std::vector<TokenId> ids(bytes.size() / sizeof(TokenId));
  if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(TokenId));
  for (size_t i = 0; i < ids.size(); i += 2) ids[i] &= 0x1FF;  // half of them are likely to exist
  for (const bool skip_special : {false, true}) {
    StreamDecoder decoder(small_tokenizer(), skip_special);
    std::string streamed;
    for (const TokenId id : ids) {
      decoder.push(id, streamed);
      CHECK(is_valid_utf8(streamed));
    }
    decoder.flush(streamed);
    CHECK(streamed == small_tokenizer().decode(ids, skip_special));
  }
}

// `bytes`: tokenizer.json, then optionally a zero byte and tokenizer_config.json.
void fuzz_files(std::string_view bytes) {
  const size_t zero = bytes.find('\0');
  const std::string_view config =
      zero == std::string_view::npos ? std::string_view() : bytes.substr(zero + 1);
  Result<TokenizerSpec> spec =
      parse_hf_tokenizer(bytes.substr(0, zero), "t.json", config, "c.json");
  if (!spec.ok()) {
    CHECK(!spec.message().empty());
    return;
  }
  const bool nfc = spec->nfc;
  const auto tokenizer = Tokenizer::create(std::move(*spec));
  if (!tokenizer.ok()) {
    CHECK(!tokenizer.message().empty());
    return;
  }
  encode_and_decode(*tokenizer.value(), bytes.substr(0, 512), nfc);
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > sparrow::kMaxInputBytes) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      sparrow::fuzz_files(bytes);
      break;
    case 1:
      sparrow::encode_and_decode(sparrow::small_tokenizer(), bytes, true);
      break;
    default:
      sparrow::fuzz_decode(bytes);
  }
  return 0;
}
