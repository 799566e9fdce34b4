#include "engine/engine_metrics.h"

#include <algorithm>

#include "engine/metric_buckets.h"

namespace sparrow {
namespace {

MetricLabels labels_of(const EngineMetricsOptions& options) {
  return {{"engine", std::to_string(options.engine_index)}, {"model_name", options.model_name}};
}

MetricLabels with_label(MetricLabels labels, const char* name, const char* value) {
  labels.emplace_back(name, value);
  return labels;
}

}  // namespace

EngineMetrics::EngineMetrics(MetricsRegistry& registry, const EngineMetricsOptions& options)
    : EngineMetrics(registry, labels_of(options), options) {}

EngineMetrics::EngineMetrics(MetricsRegistry& registry, const MetricLabels& labels,
                             const EngineMetricsOptions& options)
    : running_(
          registry.gauge("vllm:num_requests_running", "Sequences in the running batch", labels)),
      waiting_(registry.gauge("vllm:num_requests_waiting",
                              "Sequences that have no place in the batch: new, or preempted",
                              labels)),
      waiting_for_capacity_(registry.gauge("vllm:num_requests_waiting_by_reason",
                                           "Waiting sequences by what they wait for",
                                           with_label(labels, "reason", "capacity"))),
      waiting_deferred_(registry.gauge("vllm:num_requests_waiting_by_reason",
                                       "Waiting sequences by what they wait for",
                                       with_label(labels, "reason", "deferred"))),
      kv_usage_(registry.gauge("vllm:kv_cache_usage_perc",
                               "Share of KV blocks held by sequences, 0 to 1", labels)),
      prompt_tokens_(registry.counter("vllm:prompt_tokens_total",
                                      "Prompt tokens of sequences that got their first token",
                                      labels)),
      prompt_tokens_cached_(registry.counter("vllm:prompt_tokens_cached_total",
                                             "Those of them found in the prefix cache", labels)),
      prompt_tokens_computed_(registry.counter("vllm:prompt_tokens_by_source_total",
                                               "Prompt tokens by where their KV came from",
                                               with_label(labels, "source", "local_compute"))),
      prompt_tokens_hit_(registry.counter("vllm:prompt_tokens_by_source_total",
                                          "Prompt tokens by where their KV came from",
                                          with_label(labels, "source", "local_cache_hit"))),
      generation_tokens_(
          registry.counter("vllm:generation_tokens_total", "Generated tokens", labels)),
      cache_queries_(registry.counter("vllm:prefix_cache_queries_total",
                                      "Prompt tokens looked up in the prefix cache", labels)),
      cache_hits_(registry.counter("vllm:prefix_cache_hits_total",
                                   "Prompt tokens found in the prefix cache", labels)),
      preemptions_(registry.counter("vllm:num_preemptions_total",
                                    "Sequences preempted for KV blocks", labels)),
      evictions_(registry.counter("sparrow_kv_evictions_total",
                                  "Cached KV blocks given up for other sequences", labels)),
      failed_steps_(registry.counter("sparrow_failed_steps_total",
                                     "Steps the executor could not finish", labels)),
      first_token_(registry.histogram("vllm:time_to_first_token_seconds", "Arrival to first token",
                                      metric_buckets::kFirstTokenSeconds, labels)),
      first_answer_token_(registry.histogram("sparrow_time_to_first_answer_token_seconds",
                                             "Arrival to the first token behind the thinking",
                                             metric_buckets::kFirstTokenSeconds, labels)),
      inter_token_(registry.histogram("vllm:inter_token_latency_seconds",
                                      "Between two tokens of a sequence",
                                      metric_buckets::kTokenSeconds, labels)),
      rows_(registry.histogram("vllm:iteration_tokens_total", "Rows computed per step",
                               metric_buckets::kStepRows, labels)),
      step_seconds_(registry.histogram("sparrow_step_seconds", "Time of the executor per step",
                                       metric_buckets::kStepSeconds, labels)),
      speculation_(registry, labels, options.max_draft_tokens),
      requests_(registry, labels, options.max_context_tokens, options.legacy_names) {
  constexpr std::array<const char*, 3> kStates = {"live", "cached", "free"};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i] = &registry.gauge("sparrow_kv_blocks", "KV blocks by what they are used for",
                                 with_label(labels, "state", kStates[i]));
  }
  add_constants(registry, labels, options);
  if (options.legacy_names) add_legacy_names(registry, labels);
}

// What vLLM's boards and routers ask for and never changes here.
void EngineMetrics::add_constants(MetricsRegistry& registry, const MetricLabels& labels,
                                  const EngineMetricsOptions& options) {
  registry
      .gauge("vllm:cache_config_info", "Sizes of the KV cache, as labels",
             {{"block_size", std::to_string(options.block_tokens)},
              {"engine", std::to_string(options.engine_index)},
              {"num_gpu_blocks", std::to_string(options.num_blocks)}})
      .set(1);
  for (const char* state : {"awake", "weights_offloaded", "discard_all"}) {
    registry
        .gauge("vllm:engine_sleep_state", "The engine never sleeps",
               with_label(labels, "sleep_state", state))
        .set(std::string_view(state) == "awake" ? 1 : 0);
  }
}

void EngineMetrics::add_legacy_names(MetricsRegistry& registry, const MetricLabels& labels) {
  legacy_.kv_usage =
      &registry.gauge("vllm:gpu_cache_usage_perc", "Old name of vllm:kv_cache_usage_perc", labels);
  legacy_.hit_rate =
      &registry.gauge("vllm:gpu_prefix_cache_hit_rate",
                      "Hits over queries of the prefix cache since the start", labels);
  legacy_.cache_queries = &registry.counter("vllm:gpu_prefix_cache_queries_total",
                                            "Old name of vllm:prefix_cache_queries_total", labels);
  legacy_.cache_hits = &registry.counter("vllm:gpu_prefix_cache_hits_total",
                                         "Old name of vllm:prefix_cache_hits_total", labels);
  registry.gauge("vllm:num_requests_swapped", "Old name without a meaning here: always 0", labels);
}

void EngineMetrics::set_load(const LoadSnapshot& load, uint64_t num_evictions_total) {
  evictions_.add(num_evictions_total - num_evictions_seen_);
  num_evictions_seen_ = num_evictions_total;
  running_.set(load.num_running);
  waiting_.set(load.num_waiting);
  waiting_for_capacity_.set(load.num_waiting - load.num_deferred);
  waiting_deferred_.set(load.num_deferred);
  const double usage =
      static_cast<double>(load.num_blocks_live) / std::max(1, load.num_blocks_total);
  kv_usage_.set(usage);
  if (legacy_.kv_usage != nullptr) legacy_.kv_usage->set(usage);
  blocks_[0]->set(load.num_blocks_live);
  blocks_[1]->set(load.num_blocks_cached);
  blocks_[2]->set(load.num_blocks_total - load.num_blocks_live - load.num_blocks_cached);
}

void EngineMetrics::on_step(int num_rows, double seconds, bool failed,
                            uint64_t num_preemptions_total) {
  rows_.observe(num_rows);
  if (failed) failed_steps_.add();
  step_seconds_.observe(seconds);
  preemptions_.add(num_preemptions_total - num_preemptions_seen_);
  num_preemptions_seen_ = num_preemptions_total;
}

void EngineMetrics::on_prefix_cache(int num_queried, int num_hits) {
  cache_queries_.add(static_cast<uint64_t>(num_queried));
  cache_hits_.add(static_cast<uint64_t>(num_hits));
  if (legacy_.hit_rate == nullptr) return;
  legacy_.cache_queries->add(static_cast<uint64_t>(num_queried));
  legacy_.cache_hits->add(static_cast<uint64_t>(num_hits));
  const auto queries = static_cast<double>(cache_queries_.value());
  legacy_.hit_rate->set(static_cast<double>(cache_hits_.value()) / std::max(1.0, queries));
}

void EngineMetrics::on_token(const Sequence& sequence, TimePoint previous, int num_cached) {
  generation_tokens_.add();
  if (previous != kNever) {
    inter_token_.observe(seconds_between(previous, sequence.last_token));
    return;
  }
  const auto num_prompt = static_cast<uint64_t>(sequence.num_prompt_tokens);
  const auto num_hits = static_cast<uint64_t>(num_cached);
  prompt_tokens_.add(num_prompt);
  prompt_tokens_cached_.add(num_hits);
  prompt_tokens_hit_.add(num_hits);
  prompt_tokens_computed_.add(num_prompt - num_hits);
  first_token_.observe(seconds_between(sequence.request->arrival, sequence.last_token));
}

void EngineMetrics::on_first_answer_token(const Sequence& sequence) {
  first_answer_token_.observe(seconds_between(sequence.request->arrival, sequence.last_token));
}

}  // namespace sparrow
