#pragma once
// ApiOptions: what the operator decides about the API. ModelInfo: what the API must know of the
// loaded model. Plain values, constant after construction.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admission/admission_control.h"
#include "api/caller.h"
#include "base/clock.h"
#include "model/model_config.h"
#include "model/model_files.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace sparrow::api {

// What happens to system messages. kAuto: kFold for templates of the R1 family, which were trained
// without a system message, else kKeep.
enum class SystemRole { kAuto, kFold, kKeep, kReject };

// Where thinking goes: two fields, one of them, or inline as <think>…</think>.
enum class ReasoningField { kBoth, kReasoningContent, kReasoning, kInline };

struct ApiLimits {
  size_t max_json_depth = 128;
  int max_n = 16;  // choices of one prompt
  int max_messages = 4096;
  int max_prompts = 128;  // of one completions request
  int max_choices = 256;  // prompts x n of one request
  int max_stop_strings = 16;
  size_t max_stop_bytes = 256;  // of one stop string
  int max_stop_token_ids = 256;
  size_t max_template_kwargs = 32;
};

struct ApiOptions {
  std::string version = "0.1.0";
  std::vector<std::string> api_keys;  // empty: no authentication
  SystemRole system_role = SystemRole::kAuto;
  ReasoningField reasoning_field = ReasoningField::kBoth;
  bool reject_unknown_fields = false;  // --unknown-fields reject
  int default_max_tokens = 8192;       // when the request names no limit
  int max_concurrent_requests = 0;     // --limit-concurrency; 0 = off
  std::chrono::milliseconds heartbeat{12'000};
  size_t num_prep_threads = 2;
  size_t prep_queue_capacity = 1024;  // requests waiting for a prep thread
  ApiLimits limits;
  AdmissionOptions admission;
  // The stored answer to a question, if there is one: sent when the load allows no computing.
  std::function<std::optional<std::string>(const Caller&, std::string_view question)> cached_answer;
  std::optional<uint64_t> default_seed;  // of requests that name none; absent: a new one each
  const Clock* clock = nullptr;          // null: the real one
};

struct ModelInfo {
  std::vector<std::string> served_names;  // --served-model-name; the first is used in replies
  std::vector<std::string> aliases;       // also answered to, not listed
  std::string path;                       // as given; also answers to its last part
  std::string hub_id;                     // "" = unknown
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: completions only
  GenerationDefaults generation;
  int max_model_len = 0;  // prompt + output
  long long created = 0;  // unix seconds, for /v1/models
};

}  // namespace sparrow::api
