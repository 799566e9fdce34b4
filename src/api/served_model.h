#pragma once
// ServedModel: a loaded model as requests see it: its names, its special tokens, its window, its
// sampling defaults. Constant after construction; thread-safe.

#include <string>
#include <string_view>
#include <vector>

#include "api/api_options.h"
#include "core/request.h"

namespace sparrow::api {

class ServedModel {
 public:
  ServedModel(ModelInfo info, SystemRole system_role);

  // Every name, the path, its last part and the hub id, letter case ignored. Empty: the default.
  bool answers_to(std::string_view name) const;
  // What replies carry.
  const std::string& name() const { return info_.served_names.front(); }
  const std::vector<std::string>& names() const { return info_.served_names; }

  const Tokenizer& tokenizer() const { return *info_.tokenizer; }
  const ChatTemplate* chat_template() const { return info_.chat_template.get(); }
  const ModelConfig& config() const { return info_.config; }
  const GenerationDefaults& generation() const { return info_.generation; }
  const std::string& fingerprint() const { return info_.fingerprint; }
  int max_model_len() const { return info_.max_model_len; }
  long long created() const { return info_.created; }
  int64_t memory_budget_bytes() const { return info_.memory_budget_bytes; }
  const ReadDeviceHealth& device_health() const { return info_.device_health; }
  SystemRole system_role() const { return system_role_; }  // never kAuto
  // The template drops earlier thinking from the history.
  bool has_r1_template() const { return has_r1_template_; }
  const std::string& root() const { return root_; }  // last part of the path

  std::string_view bos_text() const { return bos_text_; }
  std::string_view eos_text() const { return eos_text_; }
  // End-of-sequence ids and the role markers that leak when a turn goes on; sorted.
  const std::vector<TokenId>& stop_token_ids() const { return stop_token_ids_; }
  // start and end of thinking, -1 each when the model has none, and what ends it early: the end
  // token and a blank line, as the model itself writes them.
  ReasoningTokens reasoning_tokens() const { return reasoning_tokens_; }
  // No text of n tokens is longer than n times this.
  size_t longest_token_bytes() const { return longest_token_bytes_; }

 private:
  ModelInfo info_;
  SystemRole system_role_;
  bool has_r1_template_ = false;
  std::string root_;
  std::vector<std::string> lower_names_;
  std::string bos_text_;
  std::string eos_text_;
  std::vector<TokenId> stop_token_ids_;
  ReasoningTokens reasoning_tokens_;
  size_t longest_token_bytes_ = 1;
};

}  // namespace sparrow::api
