// Every family of /metrics, by name and type. Dashboards, alerts and routers read them by name, so
// one that comes, goes or changes its type is a decision, and this list is where it is taken.

#include <gtest/gtest.h>

#include "api/hand_driven_server.h"
#include "base/prometheus_test_support.h"

namespace sparrow::api {
namespace {

// With guesses (speculation), which have families of their own, and without an answer cache, whose
// families answer_cache_test.cc knows.
constexpr const char* kFamilies = R"(
deepseek_gpu_memory_percent gauge
deepseek_request_latency_seconds histogram
deepseek_requests_total counter
http_request_duration_seconds histogram
http_request_size_bytes histogram
http_requests_total counter
http_response_size_bytes histogram
process_cpu_seconds_total counter
process_max_fds gauge
process_open_fds gauge
process_resident_memory_bytes gauge
process_start_time_seconds gauge
process_threads gauge
process_virtual_memory_bytes gauge
sparrow_answer_tokens histogram
sparrow_breaker_state gauge
sparrow_build_info gauge
sparrow_degradation_level gauge
sparrow_degraded_total counter
sparrow_empty_thinking_total counter
sparrow_engine_stuck gauge
sparrow_failed_steps_total counter
sparrow_kv_blocks gauge
sparrow_kv_evictions_total counter
sparrow_looped_total counter
sparrow_rejected_total counter
sparrow_step_seconds histogram
sparrow_thinking_tokens histogram
sparrow_time_to_first_answer_token_seconds histogram
vllm:cache_config_info gauge
vllm:corrupted_requests_total counter
vllm:e2e_request_latency_seconds histogram
vllm:engine_sleep_state gauge
vllm:generation_tokens_total counter
vllm:gpu_cache_usage_perc gauge
vllm:gpu_prefix_cache_hit_rate gauge
vllm:gpu_prefix_cache_hits_total counter
vllm:gpu_prefix_cache_queries_total counter
vllm:inter_token_latency_seconds histogram
vllm:iteration_tokens_total histogram
vllm:kv_cache_usage_perc gauge
vllm:num_preemptions_total counter
vllm:num_requests_running gauge
vllm:num_requests_swapped gauge
vllm:num_requests_waiting gauge
vllm:num_requests_waiting_by_reason gauge
vllm:prefix_cache_hits_total counter
vllm:prefix_cache_queries_total counter
vllm:prompt_tokens_by_source_total counter
vllm:prompt_tokens_cached_total counter
vllm:prompt_tokens_total counter
vllm:request_decode_time_seconds histogram
vllm:request_generation_tokens histogram
vllm:request_inference_time_seconds histogram
vllm:request_max_num_generation_tokens histogram
vllm:request_params_max_tokens histogram
vllm:request_params_n histogram
vllm:request_prefill_kv_computed_tokens histogram
vllm:request_prefill_time_seconds histogram
vllm:request_prompt_tokens histogram
vllm:request_queue_time_seconds histogram
vllm:request_success_total counter
vllm:request_time_per_output_token_seconds histogram
vllm:spec_decode_num_accepted_tokens_per_pos_total counter
vllm:spec_decode_num_accepted_tokens_total counter
vllm:spec_decode_num_draft_tokens_total counter
vllm:spec_decode_num_drafts_total counter
vllm:time_per_output_token_seconds histogram
vllm:time_to_first_token_seconds histogram
)";

constexpr const char* kFamiliesOfAGpu[] = {"sparrow_gpu_power_watts",
                                           "sparrow_gpu_temperature_celsius"};

TEST(MetricFamilies, AreThisListAndNothingElse) {
  EngineOptions engine;
  engine.speculation.max_tokens = 4;
  HandDrivenServer served({}, {}, engine);
  served.get("/health");  // a family without a sample does not show
  const PrometheusText text = PrometheusReader::read(served.get("/metrics")->body);
  ASSERT_TRUE(text.errors.empty()) << text.errors.front();
  std::string families = "\n";
  for (const auto& [name, type] : text.types) families += name + " " + type + "\n";
  EXPECT_EQ(families, kFamilies);
  for (const char* of_a_gpu : kFamiliesOfAGpu) EXPECT_EQ(text.types.count(of_a_gpu), 0u);
}

TEST(MetricFamilies, OfAGpu_AreTheseBesides) {
  const DeviceHealth health{.memory_share = 0.5, .temperature_c = 64, .power_w = 312.5};
  HandDrivenServer served({}, {}, {}, [&] { return std::optional(health); });
  served.get("/health");
  HandDrivenServer without{FakeExecutorOptions{}};
  without.get("/health");
  PrometheusText text = PrometheusReader::read(served.get("/metrics")->body);
  ASSERT_TRUE(text.errors.empty()) << text.errors.front();
  for (const char* family : kFamiliesOfAGpu) {
    EXPECT_EQ(text.types[family], "gauge") << family;
    text.types.erase(family);
  }
  EXPECT_EQ(text.types, PrometheusReader::read(without.get("/metrics")->body).types);
}

}  // namespace
}  // namespace sparrow::api
