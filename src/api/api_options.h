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
#include "store/answer_store.h"
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
  size_t max_json_keys = 65'536;
  size_t max_json_number_bytes = 64;
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
  std::vector<std::string> api_keys;  // --api-key
  std::vector<std::string> admin_keys;
  std::string api_key_file;        // neither this nor api_keys: no authentication
  bool bound_to_loopback = false;  // admin endpoints may do without a key
  SystemRole system_role = SystemRole::kAuto;
  ReasoningField reasoning_field = ReasoningField::kBoth;
  bool reject_unknown_fields = false;  // --unknown-fields reject
  int default_max_tokens = 8192;       // when the request names no limit
  int max_concurrent_requests = 0;     // --limit-concurrency; 0 = off
  int64_t max_requests = 0;            // --limit-max-requests: then drain; 0 = off
  bool log_prompts = false;
  std::chrono::milliseconds heartbeat{12'000};
  Duration watchdog_timeout = std::chrono::seconds(60);  // of a step, beyond its predicted time
  bool metrics_apart = false;  // --metrics-port: only metrics_handler() serves /metrics
  size_t num_prep_threads = 2;
  size_t prep_queue_capacity = 1024;  // requests waiting for a prep thread
  AnswerStoreOptions answer_cache;    // --answer-cache; off without a path
  ApiLimits limits;
  AdmissionOptions admission;
  std::string degrade_message;           // of the ladder's third step; empty: friendly_message()
  std::optional<uint64_t> default_seed;  // of requests that name none; absent: a new one each
  const Clock* clock = nullptr;          // null: the real one
  // Asks the process to drain and end, once; from any thread, returns at once. May be empty.
  std::function<void()> request_drain;
};

// How the device that computes is, where it is not the CPU. What it does not tell is absent.
struct DeviceHealth {
  std::optional<double> memory_share;  // in use by everybody over all there is, 0 to 1
  std::optional<double> temperature_c;
  std::optional<double> power_w;
};
// Called by at most one thread at a time, and seldom (status_metrics.h). Nothing: it could not be
// read this time.
using ReadDeviceHealth = std::function<std::optional<DeviceHealth>()>;

struct ModelInfo {
  std::vector<std::string> served_names;  // --served-model-name; the first is used in replies
  std::vector<std::string> aliases;       // also answered to, not listed
  std::string path;                       // as given; also answers to its last part
  std::string hub_id;                     // "" = unknown
  std::string fingerprint;                // of the weights and how they are computed
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: completions only
  GenerationDefaults generation;
  int max_model_len = 0;            // prompt + output
  long long created = 0;            // unix seconds, for /v1/models
  int64_t memory_budget_bytes = 0;  // what the memory plan was held against; 0: unknown
  ReadDeviceHealth device_health;   // empty: the CPU computes
};

}  // namespace sparrow::api
