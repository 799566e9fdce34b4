#include "api/served_model.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow::api {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string last_part(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return std::string(path.substr(path.rfind('/') + 1));
}

// Markers that begin the next turn. A model that writes one has finished its own.
constexpr std::string_view kTurnMarkers[] = {"<｜User｜>", "<｜end▁of▁sentence｜>", "<|EOT|>",
                                             "<|im_end|>", "<|endoftext|>",         "<|im_start|>"};
constexpr std::string_view kDeepSeekMarker = "<｜Assistant｜>";

}  // namespace

ServedModel::ServedModel(ModelInfo info, SystemRole system_role)
    : info_(std::move(info)), system_role_(system_role), root_(last_part(info_.path)) {
  CHECK(info_.tokenizer != nullptr);
  CHECK(info_.max_model_len > 0);
  if (info_.served_names.empty()) {
    info_.served_names.push_back(root_.empty() ? "default" : root_);
  }
  for (const std::string& name : info_.served_names) lower_names_.push_back(lower(name));
  for (const std::string& name : info_.aliases) lower_names_.push_back(lower(name));
  for (const std::string& name : {info_.path, root_, info_.hub_id, last_part(info_.hub_id)}) {
    if (!name.empty()) lower_names_.push_back(lower(name));
  }

  const Tokenizer& tokenizer = *info_.tokenizer;
  if (tokenizer.has_token(tokenizer.bos_token_id())) {
    bos_text_ = tokenizer.token_bytes(tokenizer.bos_token_id());
  }
  if (tokenizer.has_token(tokenizer.eos_token_id())) {
    eos_text_ = tokenizer.token_bytes(tokenizer.eos_token_id());
  }
  reasoning_tokens_.start = tokenizer.added_token_id("<think>").value_or(-1);
  reasoning_tokens_.end = tokenizer.added_token_id("</think>").value_or(-1);
  if (reasoning_tokens_.start < 0 || reasoning_tokens_.end < 0) {
    reasoning_tokens_ = {};
  } else {
    reasoning_tokens_.closing = tokenizer.encode("\n\n", {.parse_added_tokens = false});
    reasoning_tokens_.closing.insert(reasoning_tokens_.closing.begin(), reasoning_tokens_.end);
  }

  stop_token_ids_ = info_.generation.eos_token_ids;
  if (stop_token_ids_.empty()) stop_token_ids_ = info_.config.eos_token_ids;
  stop_token_ids_.push_back(tokenizer.eos_token_id());
  for (const std::string_view marker : kTurnMarkers) {
    stop_token_ids_.push_back(tokenizer.added_token_id(marker).value_or(-1));
  }
  std::sort(stop_token_ids_.begin(), stop_token_ids_.end());
  stop_token_ids_.erase(std::unique(stop_token_ids_.begin(), stop_token_ids_.end()),
                        stop_token_ids_.end());
  std::erase_if(stop_token_ids_, [&](TokenId id) { return id < 0 || id >= config().vocab_size; });

  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    longest_token_bytes_ = std::max(longest_token_bytes_, tokenizer.token_bytes(id).size());
  }
  has_r1_template_ = chat_template() != nullptr &&
                     chat_template()->source().find(kDeepSeekMarker) != std::string::npos;
  if (system_role_ == SystemRole::kAuto) {
    system_role_ = has_r1_template_ ? SystemRole::kFold : SystemRole::kKeep;
  }
}

bool ServedModel::answers_to(std::string_view name) const {
  if (name.empty()) return true;
  const std::string wanted = lower(name);
  return std::find(lower_names_.begin(), lower_names_.end(), wanted) != lower_names_.end();
}

}  // namespace sparrow::api
