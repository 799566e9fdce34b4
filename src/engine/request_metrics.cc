#include "engine/request_metrics.h"

#include <algorithm>

#include "engine/loop_check.h"
#include "engine/metric_buckets.h"

namespace sparrow {
namespace {

constexpr std::array<const char*, 4> kFinishNames = {"stop", "length", "abort", "error"};

// vLLM's word for our exact reason.
size_t finish_index(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopToken:
    case FinishReason::kStopString:
      return 0;
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
      return 1;
    case FinishReason::kCancelled:
    case FinishReason::kDeadline:
    case FinishReason::kNone:
      return 2;
    case FinishReason::kUnavailable:
    case FinishReason::kNoMemory:
    case FinishReason::kNotFinite:
    case FinishReason::kError:
      return 3;
  }
  return 3;
}

Histogram& seconds(MetricsRegistry& registry, const MetricLabels& labels, const char* name,
                   const char* help, const std::vector<double>& bounds) {
  return registry.histogram(name, help, bounds, labels);
}

Histogram& tokens(MetricsRegistry& registry, const MetricLabels& labels, int max_tokens,
                  const char* name, const char* help) {
  return registry.histogram(name, help, metric_buckets::tokens_up_to(max_tokens), labels);
}

MetricLabels with_label(MetricLabels labels, const char* name, const char* value) {
  labels.emplace_back(name, value);
  return labels;
}

}  // namespace

double seconds_between(TimePoint begin, TimePoint end) {
  return std::max(0.0, to_seconds(end - begin));
}

RequestMetrics::RequestMetrics(MetricsRegistry& registry, const MetricLabels& labels,
                               int max_context_tokens, bool legacy_names)
    : corrupted_(registry.counter("vllm:corrupted_requests_total",
                                  "Requests ended because the model gave NaN", labels)),
      whole_(seconds(registry, labels, "vllm:e2e_request_latency_seconds",
                     "Arrival to the end of the request", metric_buckets::kRequestSeconds)),
      queue_(seconds(registry, labels, "vllm:request_queue_time_seconds", "Arrival to first step",
                     metric_buckets::kRequestSeconds)),
      inference_(seconds(registry, labels, "vllm:request_inference_time_seconds",
                         "First step to last token", metric_buckets::kRequestSeconds)),
      prefill_(seconds(registry, labels, "vllm:request_prefill_time_seconds",
                       "First step to first token", metric_buckets::kRequestSeconds)),
      decode_(seconds(registry, labels, "vllm:request_decode_time_seconds", "First to last token",
                      metric_buckets::kRequestSeconds)),
      per_token_(seconds(registry, labels, "vllm:request_time_per_output_token_seconds",
                         "Mean time between the tokens of a request",
                         metric_buckets::kTokenSeconds)),
      prompt_tokens_(tokens(registry, labels, max_context_tokens, "vllm:request_prompt_tokens",
                            "Prompt tokens per request")),
      computed_tokens_(tokens(registry, labels, max_context_tokens,
                              "vllm:request_prefill_kv_computed_tokens",
                              "Prompt tokens per request that were not found in the prefix cache")),
      output_tokens_(tokens(registry, labels, max_context_tokens, "vllm:request_generation_tokens",
                            "Generated tokens per choice")),
      max_output_tokens_(tokens(registry, labels, max_context_tokens,
                                "vllm:request_max_num_generation_tokens",
                                "Generated tokens of the longest choice of a request")),
      params_max_tokens_(tokens(registry, labels, max_context_tokens,
                                "vllm:request_params_max_tokens", "max_tokens of a request")),
      params_n_(registry.histogram("vllm:request_params_n", "Choices of a request",
                                   metric_buckets::kChoices, labels)),
      thinking_tokens_(tokens(registry, labels, max_context_tokens, "sparrow_thinking_tokens",
                              "Tokens of thinking per choice, of models that think")),
      answer_tokens_(tokens(registry, labels, max_context_tokens, "sparrow_answer_tokens",
                            "Tokens behind the thinking per choice")),
      empty_thinking_(registry.counter("sparrow_empty_thinking_total",
                                       "Choices that closed their thinking without a word of it",
                                       with_label(labels, "action", "kept"))),
      looped_(registry.counter(
          "sparrow_looped_total",
          "Choices cut at a limit while they repeated one piece of text again and again", labels)) {
  for (size_t i = 0; i < finished_.size(); ++i) {
    finished_[i] =
        &registry.counter("vllm:request_success_total", "Finished choices by reason, errors too",
                          with_label(labels, "finished_reason", kFinishNames[i]));
  }
  if (!legacy_names) return;
  legacy_per_token_ = &seconds(registry, labels, "vllm:time_per_output_token_seconds",
                               "Old name of vllm:request_time_per_output_token_seconds",
                               metric_buckets::kTokenSeconds);
}

void RequestMetrics::on_finish(const FinishedChoice& choice) {
  const Sequence& sequence = choice.sequence;
  observe_request(sequence);
  finished_[finish_index(sequence.finish)]->add();
  if (sequence.finish == FinishReason::kNotFinite) corrupted_.add();
  whole_.observe(seconds_between(sequence.request->arrival, choice.now));
  prompt_tokens_.observe(sequence.num_prompt_tokens);
  output_tokens_.observe(sequence.num_output_tokens());
  observe_times(choice);
  observe_reasoning(choice);
}

void RequestMetrics::observe_times(const FinishedChoice& choice) {
  const Sequence& sequence = choice.sequence;
  if (sequence.first_planned == kNever) return;
  queue_.observe(seconds_between(sequence.request->arrival, sequence.first_planned));
  if (sequence.first_token == kNever) return;
  computed_tokens_.observe(sequence.num_prompt_tokens - choice.num_cached);
  inference_.observe(seconds_between(sequence.first_planned, sequence.last_token));
  prefill_.observe(seconds_between(sequence.first_planned, sequence.first_token));
  const double decode = seconds_between(sequence.first_token, sequence.last_token);
  decode_.observe(decode);
  const int num_gaps = sequence.num_output_tokens() - 1;
  if (num_gaps <= 0) return;
  per_token_.observe(decode / num_gaps);
  if (legacy_per_token_ != nullptr) legacy_per_token_->observe(decode / num_gaps);
}

void RequestMetrics::observe_reasoning(const FinishedChoice& choice) {
  const Sequence& sequence = choice.sequence;
  const bool is_cut =
      sequence.finish == FinishReason::kMaxTokens || sequence.finish == FinishReason::kContextFull;
  const auto num_prompt = static_cast<size_t>(sequence.num_prompt_tokens);
  if (is_cut && ends_in_loop(std::span(sequence.tokens).subspan(num_prompt))) looped_.add();
  if (sequence.request->reasoning.end < 0 || sequence.first_token == kNever) return;
  thinking_tokens_.observe(choice.num_reasoning_tokens);
  answer_tokens_.observe(sequence.num_output_tokens() - choice.num_reasoning_tokens);
  if (choice.has_empty_thinking) empty_thinking_.add();
}

// Once per request, with its last choice.
void RequestMetrics::observe_request(const Sequence& sequence) {
  const Request& request = *sequence.request;
  int max_output = sequence.num_output_tokens();
  if (request.num_choices > 1) {
    Group& group = groups_[request.id];
    group.max_output_tokens = max_output = std::max(group.max_output_tokens, max_output);
    if (++group.num_ended < request.num_choices) return;
    groups_.erase(request.id);
  }
  params_n_.observe(request.num_choices);
  params_max_tokens_.observe(request.stop.max_tokens);
  max_output_tokens_.observe(max_output);
}

}  // namespace sparrow
