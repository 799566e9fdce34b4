#include "api/answers/answer_cache.h"

#include <algorithm>
#include <utility>

#include "api/answers/answer_key.h"
#include "base/log.h"
#include "http/access.h"

namespace sparrow::api {
namespace {

// Finished answers that wait for the disk; more are dropped, which only costs a later hit.
constexpr size_t kStoreQueue = 64;
constexpr size_t kMaxLabelBytes = 200;
constexpr const char* kWishHeader = "x-sparrow-cache";

// The list answers everybody, so only the operator may add to it.
bool may_warm(const http::Request& request, const ApiKeys& keys, const Caller& caller) {
  if (caller.is_admin) return true;
  return !keys.enabled() && http::is_loopback_address(request.remote_address) &&
         request.header("origin").empty() && !came_through_a_proxy(request);
}

MaybeError read_wish(const http::Request& request, const ApiKeys& keys, const Caller& caller,
                     CacheWish& wish) {
  const std::string_view text = request.header(kWishHeader);
  if (text.empty()) return std::nullopt;
  if (text == "off") {
    wish = CacheWish::kOff;
    return std::nullopt;
  }
  if (text != "warm") {
    return invalid_request(kWishHeader, "The header x-sparrow-cache may be off or warm.");
  }
  wish = CacheWish::kWarm;
  if (may_warm(request, keys, caller)) return std::nullopt;
  ApiError error = http_error(403, "x-sparrow-cache: warm needs the admin key.");
  error.code = "permission_denied";
  error.retry_cannot_help = true;
  return error;
}

std::string label_of(std::string_view question) {
  size_t size = std::min(question.size(), kMaxLabelBytes);
  // Not inside a character.
  while (size < question.size() && (static_cast<unsigned char>(question[size]) & 0xC0) == 0x80) {
    --size;
  }
  return std::string(question.substr(0, size));
}

// A list's answer is whole, and within what the client allows.
bool fits_client(const std::vector<StreamEvent>& events, const AnswerPlan& plan) {
  const StreamEvent& last = events.back();
  const bool whole =
      last.finish == FinishReason::kStopToken || last.finish == FinishReason::kStopString;
  return whole && last.usage.num_output_tokens <= plan.max_tokens;
}

}  // namespace

AnswerCache::AnswerCache(const AnswerStoreOptions& options, const Clock& clock,
                         MetricsRegistry& metrics)
    : clock_(clock),
      start_(clock.now()),
      start_s_(unix_seconds()),
      max_entry_bytes_(static_cast<size_t>(options.max_entry_bytes)),
      hits_(metrics.counter("sparrow_answer_cache_hits_total",
                            "Requests answered from the answer cache")),
      misses_(metrics.counter("sparrow_answer_cache_misses_total",
                              "Requests that the answer cache could have answered, but did not")),
      evictions_(metrics.counter("sparrow_answer_cache_evictions_total",
                                 "Answers removed from the cache to make room")),
      dropped_(metrics.counter("sparrow_answer_cache_dropped_total",
                               "Finished answers not stored: disk too slow, full or not writable")),
      bytes_(metrics.gauge("sparrow_answer_cache_bytes", "Bytes the answer cache holds on disk")),
      store_(options) {
  if (const std::string missing = answer_store_missing(); !missing.empty()) {
    log_warning("--answer-cache: {}", missing);
  }
  if (store_.open(now_s()).ok()) {
    if (const auto stats = store_.stats(); stats.ok()) {
      bytes_.set(static_cast<double>(stats->bytes));
      log_info("Answer cache: {} with {} answers ({} on the list), {:.1f} of {:.1f} MB",
               options.path, stats->num_answers, stats->num_listed,
               static_cast<double>(stats->bytes) * 1e-6,
               static_cast<double>(options.max_bytes) * 1e-6);
    }
  }
  writer_ = std::make_unique<TaskPool>(1, kStoreQueue);
}

AnswerCache::~AnswerCache() = default;

int64_t AnswerCache::now_s() const {
  const auto elapsed = std::chrono::duration_cast<std::chrono::seconds>(clock_.now() - start_);
  return start_s_ + elapsed.count();
}

MaybeError AnswerCache::consult(const http::Request& request, const ApiKeys& keys,
                                const Caller& caller, const ServedModel& model,
                                PreparedGeneration& prepared) {
  CacheWish wish = CacheWish::kUse;
  if (auto error = read_wish(request, keys, caller, wish)) return error;
  const std::vector<Request>& requests = prepared.requests;
  const Request& first = requests.front();
  const bool is_constrained = std::any_of(requests.begin(), requests.end(),
                                          [](const Request& one) { return one.masker != nullptr; });
  if (wish == CacheWish::kOff || is_constrained) return std::nullopt;

  AnswerPlan& plan = prepared.answers;
  plan.shape = {.first_request_id = first.id,
                .num_prompts = static_cast<int>(requests.size()),
                .choices_per_prompt = first.num_choices,
                .vocab_size = model.config().vocab_size};
  plan.num_prompt_tokens = static_cast<int>(first.prompt.size());
  plan.max_tokens = first.stop.max_tokens;
  if (plan.hints.is_seeded || first.sampling.greedy()) {
    plan.exact_key = exact_answer_key(caller.tenant, model.fingerprint(), requests);
  }
  if (!plan.hints.conversation.empty() && requests.size() == 1 && first.num_choices == 1) {
    plan.listed_key = listed_answer_key(model.fingerprint(), model.chat_template()->source(),
                                        plan.hints.conversation, first);
  }
  const bool for_list = !plan.listed_key.empty() && plan.hints.sampling_is_open;
  if (wish == CacheWish::kWarm && !for_list) {
    return invalid_request(kWishHeader,
                           "x-sparrow-cache: warm needs a chat that ends with a question of the "
                           "user, and nothing said about n, seed and sampling.");
  }
  if (plan.exact_key.empty() && !for_list) return std::nullopt;
  plan.consulted = true;
  if (wish != CacheWish::kWarm) plan.replay = look(plan.exact_key, false, plan);
  if (!plan.replay && for_list) plan.replay = look(plan.listed_key, true, plan);
  (plan.replay ? hits_ : misses_).add();
  if (!plan.replay) record(caller, wish, prepared);
  return std::nullopt;
}

std::optional<std::vector<StreamEvent>> AnswerCache::find_similar(
    const PreparedGeneration& prepared) {
  const AnswerPlan& plan = prepared.answers;
  if (plan.hints.is_seeded) return std::nullopt;
  auto events = look(plan.listed_key, true, plan);
  if (events) hits_.add();
  return events;
}

std::optional<std::vector<StreamEvent>> AnswerCache::look(const std::string& key, bool listed,
                                                          const AnswerPlan& plan) {
  if (key.empty()) return std::nullopt;
  const auto value = store_.find(key, now_s());
  std::vector<StreamEvent> events;
  if (!value || !decode_answer(*value, plan.shape, events)) return std::nullopt;
  if (!listed) return events;
  if (!fits_client(events, plan)) return std::nullopt;
  // The question may be spelled with fewer tokens than the one on the list.
  int& num_cached = events.back().usage.num_cached_tokens;
  num_cached = std::min(num_cached, plan.num_prompt_tokens);
  return events;
}

void AnswerCache::record(const Caller& caller, CacheWish wish, PreparedGeneration& prepared) {
  AnswerPlan& plan = prepared.answers;
  AnswerEntry entry;
  entry.listed = wish == CacheWish::kWarm;
  entry.key = entry.listed ? plan.listed_key : plan.exact_key;
  if (entry.listed) {
    entry.label = label_of(plan.hints.question);
  } else {
    entry.owner = caller.tenant;
  }
  if (entry.key.empty() || entry.key.size() >= max_entry_bytes_) return;
  if (!store_.is_writable(now_s())) return;
  const size_t max_bytes = max_entry_bytes_ - entry.key.size();
  const bool with_logprobs = prepared.requests.front().sampling.num_top_logprobs >= 0;
  plan.recorder = std::make_unique<AnswerRecorder>(
      plan.shape.num_prompts * plan.shape.choices_per_prompt, with_logprobs, max_bytes,
      [this, entry = std::move(entry)](std::string value, bool complete) mutable {
        if (entry.listed && !complete) return;  // cut at a limit: no answer for everybody
        entry.value = std::move(value);
        keep(std::move(entry));
      });
}

void AnswerCache::keep(AnswerEntry entry) {
  if (!writer_->try_submit([this, entry = std::move(entry)] { store(entry); })) dropped_.add();
}

void AnswerCache::store(const AnswerEntry& entry) {
  const PutOutcome outcome = store_.put(entry, now_s());
  evictions_.add(static_cast<uint64_t>(outcome.num_evicted));
  if (!outcome.stored) return dropped_.add();
  bytes_.set(static_cast<double>(outcome.bytes));
}

}  // namespace sparrow::api
