#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

void StreamDecoder::push(TokenId id, std::string& out) {
  if (skip_special_tokens_ && tokenizer_->is_special(id)) return;
  std::string_view bytes = tokenizer_->token_bytes(id);
  // First the character that was begun before: at most three more bytes decide it.
  while (!held_.empty() && !bytes.empty()) {
    held_.push_back(bytes.front());
    bytes.remove_prefix(1);
    const size_t open = utf8_incomplete_suffix_len(held_);
    if (open == held_.size()) continue;
    append_valid_utf8(out, std::string_view(held_).substr(0, held_.size() - open));
    held_.erase(0, held_.size() - open);
  }
  if (bytes.empty()) return;
  const size_t open = utf8_incomplete_suffix_len(bytes);
  append_valid_utf8(out, bytes.substr(0, bytes.size() - open));
  held_.assign(bytes.substr(bytes.size() - open));
}

void StreamDecoder::flush(std::string& out) {
  append_valid_utf8(out, held_);
  held_.clear();
}

}  // namespace sparrow
