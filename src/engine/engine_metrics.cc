#include "engine/engine_metrics.h"

#include <array>

namespace sparrow {
namespace {

// vLLM's bounds; 2.0 and 3.0 added to the first so that an alert on two seconds can fire, and finer
// ones to the second for fast machines.
const std::vector<double> kFirstTokenBounds = {.001, .005, .01, .02, .04, .06, .08, .1,
                                               .25,  .5,   .75, 1,   2,   2.5, 3,   5,
                                               7.5,  10,   20,  40,  80,  160, 640, 2560};
const std::vector<double> kInterTokenBounds = {.001, .0025, .005, .01, .025, .05, .075, .1,
                                               .15,  .2,    .3,   .4,  .5,   .75, 1,    2.5,
                                               5,    7.5,   10,   20,  40,   80};
const std::vector<double> kRequestBounds = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                            30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const std::vector<double> kRowBounds = {1,   8,    16,   32,   64,   128,  256,
                                        512, 1024, 2048, 4096, 8192, 16384};
const std::vector<double> kTokenBounds = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                                          1000, 2000, 5000, 10000, 20000, 50000, 100000, 131072};

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
    case FinishReason::kNoMemory:
    case FinishReason::kNotFinite:
    case FinishReason::kError:
      return 3;
  }
  return 3;
}

// Without speculation: all null.
struct SpeculationCounters {
  Counter* drafts = nullptr;
  Counter* draft_tokens = nullptr;
  Counter* accepted_tokens = nullptr;
  std::vector<Counter*> accepted_at;
};

SpeculationCounters speculation_counters(MetricsRegistry& registry, const MetricLabels& labels,
                                         int max_draft_tokens) {
  SpeculationCounters counters;
  if (max_draft_tokens == 0) return counters;
  counters.drafts = &registry.counter("vllm:spec_decode_num_drafts_total",
                                      "Steps of a sequence with guesses", labels);
  counters.draft_tokens =
      &registry.counter("vllm:spec_decode_num_draft_tokens_total", "Guessed tokens", labels);
  counters.accepted_tokens = &registry.counter("vllm:spec_decode_num_accepted_tokens_total",
                                               "Guessed tokens that were right", labels);
  for (int i = 0; i < max_draft_tokens; ++i) {
    MetricLabels with_position = labels;
    with_position.emplace_back("position", std::to_string(i));
    counters.accepted_at.push_back(
        &registry.counter("vllm:spec_decode_num_accepted_tokens_per_pos_total",
                          "Right guesses by place in the draft", std::move(with_position)));
  }
  return counters;
}

}  // namespace

struct EngineMetrics::Instruments {
  Gauge& running;
  Gauge& waiting;
  Gauge& kv_usage;
  Counter& prompt_tokens;
  Counter& generation_tokens;
  Counter& preemptions;
  std::array<Counter*, 4> finished;
  Histogram& first_token;
  Histogram& inter_token;
  Histogram& whole_request;
  Histogram& queue;
  Histogram& prefill;
  Histogram& decode;
  Histogram& rows;
  Histogram& prompt_sizes;
  Histogram& output_sizes;
  SpeculationCounters speculation;
};

EngineMetrics::EngineMetrics(MetricsRegistry& registry, const std::string& model_name,
                             int max_draft_tokens) {
  const MetricLabels labels = {{"engine", "0"}, {"model_name", model_name}};
  std::array<Counter*, 4> finished{};
  for (size_t i = 0; i < finished.size(); ++i) {
    MetricLabels with_reason = labels;
    with_reason.emplace_back("finished_reason", kFinishNames[i]);
    finished[i] = &registry.counter("vllm:request_success_total", "Finished requests by reason",
                                    std::move(with_reason));
  }
  const auto histogram = [&](const char* name, const char* help,
                             const std::vector<double>& bounds) -> Histogram& {
    return registry.histogram(name, help, bounds, labels);
  };
  instruments_ = std::make_shared<Instruments>(Instruments{
      registry.gauge("vllm:num_requests_running", "Sequences in the running batch", labels),
      registry.gauge("vllm:num_requests_waiting", "Sequences waiting for their first step", labels),
      registry.gauge("vllm:kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1", labels),
      registry.counter("vllm:prompt_tokens_total", "Prompt tokens of started requests", labels),
      registry.counter("vllm:generation_tokens_total", "Generated tokens", labels),
      registry.counter("vllm:num_preemptions_total", "Sequences preempted for KV blocks", labels),
      finished,
      histogram("vllm:time_to_first_token_seconds", "Arrival to first token", kFirstTokenBounds),
      histogram("vllm:inter_token_latency_seconds", "Between two tokens of a sequence",
                kInterTokenBounds),
      histogram("vllm:e2e_request_latency_seconds", "Arrival to last token", kRequestBounds),
      histogram("vllm:request_queue_time_seconds", "Arrival to first step", kRequestBounds),
      histogram("vllm:request_prefill_time_seconds", "First step to first token", kRequestBounds),
      histogram("vllm:request_decode_time_seconds", "First to last token", kRequestBounds),
      histogram("vllm:iteration_tokens_total", "Rows computed per step", kRowBounds),
      histogram("vllm:request_prompt_tokens", "Prompt tokens per request", kTokenBounds),
      histogram("vllm:request_generation_tokens", "Generated tokens per request", kTokenBounds),
      speculation_counters(registry, labels, max_draft_tokens),
  });
}

void EngineMetrics::set_load(int num_running, int num_waiting, double kv_usage) {
  instruments_->running.set(num_running);
  instruments_->waiting.set(num_waiting);
  instruments_->kv_usage.set(kv_usage);
}

void EngineMetrics::on_step(int num_rows, uint64_t num_preemptions_total) {
  instruments_->rows.observe(num_rows);
  instruments_->preemptions.add(num_preemptions_total - num_preemptions_seen_);
  num_preemptions_seen_ = num_preemptions_total;
}

void EngineMetrics::on_token(const Sequence& sequence, TimePoint previous) {
  instruments_->generation_tokens.add();
  if (previous == kNever) {
    instruments_->prompt_tokens.add(static_cast<uint64_t>(sequence.num_prompt_tokens));
    instruments_->first_token.observe(to_seconds(sequence.last_token - sequence.request->arrival));
  } else {
    instruments_->inter_token.observe(to_seconds(sequence.last_token - previous));
  }
}

void EngineMetrics::on_speculation(const SpeculationCounts& totals) {
  const SpeculationCounters& counters = instruments_->speculation;
  if (counters.drafts == nullptr || totals.num_drafts == speculation_seen_.num_drafts) return;
  counters.drafts->add(totals.num_drafts - speculation_seen_.num_drafts);
  counters.draft_tokens->add(totals.num_draft_tokens - speculation_seen_.num_draft_tokens);
  counters.accepted_tokens->add(totals.num_accepted_tokens - speculation_seen_.num_accepted_tokens);
  for (size_t i = 0; i < counters.accepted_at.size(); ++i) {
    counters.accepted_at[i]->add(totals.num_accepted_at[i] - speculation_seen_.num_accepted_at[i]);
  }
  speculation_seen_ = totals;
}

void EngineMetrics::on_finish(const Sequence& sequence, TimePoint now) {
  instruments_->finished[finish_index(sequence.finish)]->add();
  const TimePoint arrival = sequence.request->arrival;
  instruments_->whole_request.observe(to_seconds(now - arrival));
  instruments_->prompt_sizes.observe(sequence.num_prompt_tokens);
  instruments_->output_sizes.observe(sequence.num_output_tokens());
  if (sequence.first_planned == kNever) return;
  instruments_->queue.observe(to_seconds(sequence.first_planned - arrival));
  if (sequence.first_token == kNever) return;
  instruments_->prefill.observe(to_seconds(sequence.first_token - sequence.first_planned));
  instruments_->decode.observe(to_seconds(sequence.last_token - sequence.first_token));
}

}  // namespace sparrow
