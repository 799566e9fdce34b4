// What the engine's metrics say, against what one can count by hand.

#include "engine/engine_metrics.h"

#include <gtest/gtest.h>

#include "base/prometheus_test_support.h"
#include "engine/engine.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

class EngineMetricsTest : public ::testing::Test {
 protected:
  void make(FakeExecutorOptions fake = {}, EngineOptions options = {}) {
    fake.limits.vocab_size = kTestVocab;
    options.model_name = "a \"model\"\\\n";  // a path may hold anything
    executor_ = std::make_unique<FakeExecutor>(fake);
    engine_ = std::make_unique<Engine>(*executor_, *tokenizer_, options, &metrics_);
  }
  void run(Request request) {
    ASSERT_TRUE(engine_->submit(std::move(request), &sink_).ok());
    for (int step = 0; step < 1000 && (step == 0 || !engine_->idle()); ++step) {
      clock_.advance(from_ms(10));
      engine_->step(clock_.now());
    }
    text_ = PrometheusReader::read(metrics_.render());
    EXPECT_TRUE(text_.errors.empty()) << text_.errors.front();
  }
  // Of the series with the engine's labels and perhaps one more, which sorts before or after them.
  double value(const std::string& name, const std::string& before = "",
               const std::string& after = "") const {
    return text_.at(name + "{" + before + "engine=\"0\"," +
                    (after.starts_with("le") ? after + "," : "") +
                    R"(model_name="a \"model\"\\\n")" +
                    (after.empty() || after.starts_with("le") ? "" : "," + after) + "}");
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  MetricsRegistry metrics_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  CollectingSink sink_;
  FakeClock clock_;
  PrometheusText text_;
};

// Thinks for `num_thoughts` letters, then answers.
FakeExecutorOptions thinker(size_t num_prompt, size_t num_thoughts, char thought) {
  FakeExecutorOptions fake;
  fake.script = [=](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    const size_t at = tokens.size() - num_prompt;
    if (at < num_thoughts) return thought;
    return at == num_thoughts ? kThinkEnd : 'a';
  };
  return fake;
}

Request thinking_request(uint64_t id, int max_tokens) {
  Request request = test_request(id, prompt_of(1, 6), max_tokens);
  request.reasoning = {.start = kThinkStart, .end = kThinkEnd, .starts_inside = true};
  return request;
}

// Two choices: the second waits for the prompt's one full block and shares it.
TEST_F(EngineMetricsTest, OneRequest_IsToldToTheToken) {
  make();
  Request request = test_request(1, prompt_of(1, 6), 5);
  request.num_choices = 2;
  run(std::move(request));
  EXPECT_EQ(value("vllm:prompt_tokens_total"), 12);  // of each choice
  EXPECT_EQ(value("vllm:generation_tokens_total"), 10);
  EXPECT_EQ(text_.at(R"(vllm:request_success_total{engine="0",finished_reason="length",)"
                     R"(model_name="a \"model\"\\\n"})"),
            2);
  EXPECT_EQ(value("vllm:request_params_n_count"), 1);
  EXPECT_EQ(value("vllm:request_params_n_sum"), 2);
  EXPECT_EQ(value("vllm:request_params_max_tokens_sum"), 5);
  EXPECT_EQ(value("vllm:request_max_num_generation_tokens_sum"), 5);
  EXPECT_EQ(value("vllm:request_generation_tokens_count"), 2);
  EXPECT_EQ(value("vllm:request_prefill_kv_computed_tokens_sum"), 8);
  EXPECT_EQ(value("vllm:prefix_cache_queries_total"), 12);
  EXPECT_EQ(value("vllm:prefix_cache_hits_total"), 4);
  EXPECT_EQ(value("vllm:prompt_tokens_by_source_total", "", "source=\"local_compute\""), 8);
  EXPECT_EQ(value("vllm:prompt_tokens_by_source_total", "", "source=\"local_cache_hit\""), 4);
  EXPECT_EQ(value("vllm:inter_token_latency_seconds_count"), 8);
  EXPECT_EQ(value("vllm:time_per_output_token_seconds_count"), 2);
  EXPECT_EQ(value("sparrow_kv_blocks", "", "state=\"live\""), 0);
  EXPECT_EQ(value("sparrow_kv_blocks", "", "state=\"cached\"") +
                value("sparrow_kv_blocks", "", "state=\"free\""),
            64);
  EXPECT_EQ(value("sparrow_step_seconds_count"), 6);
  EXPECT_EQ(text_.at(R"(vllm:cache_config_info{block_size="4",engine="0",num_gpu_blocks="64"})"),
            1);
}

// The identity of the reference: what a request waited for is all it took.
// The second choice waits for what the first computes, and not for want of room.
TEST_F(EngineMetricsTest, WaitingForAPrefix_IsDeferredAndNotWantOfCapacity) {
  make();
  Request request = test_request(1, prompt_of(1, 6), 5);
  request.num_choices = 3;
  ASSERT_TRUE(engine_->submit(std::move(request), &sink_).ok());
  engine_->step(clock_.now());
  text_ = PrometheusReader::read(metrics_.render());
  EXPECT_EQ(value("vllm:num_requests_running"), 1);
  EXPECT_EQ(value("vllm:num_requests_waiting"), 2);
  EXPECT_EQ(value("vllm:num_requests_waiting_by_reason", "", R"(reason="deferred")"), 2);
  EXPECT_EQ(value("vllm:num_requests_waiting_by_reason", "", R"(reason="capacity")"), 0);
  engine_->step(clock_.now());
  text_ = PrometheusReader::read(metrics_.render());
  EXPECT_EQ(value("vllm:num_requests_running"), 3);
  EXPECT_EQ(value("vllm:num_requests_waiting_by_reason", "", R"(reason="deferred")"), 0);
}

TEST_F(EngineMetricsTest, Latency_IsQueuePlusPrefillPlusDecode) {
  make();
  Request request = test_request(1, prompt_of(1, 6), 8);
  request.arrival = clock_.now();
  run(std::move(request));
  const double parts = value("vllm:request_queue_time_seconds_sum") +
                       value("vllm:request_prefill_time_seconds_sum") +
                       value("vllm:request_decode_time_seconds_sum");
  EXPECT_NEAR(value("vllm:e2e_request_latency_seconds_sum"), parts, 1e-9);
  EXPECT_NEAR(value("vllm:request_inference_time_seconds_sum"),
              parts - value("vllm:request_queue_time_seconds_sum"), 1e-9);
  EXPECT_NEAR(value("vllm:request_time_per_output_token_seconds_sum"),
              value("vllm:request_decode_time_seconds_sum") / 7, 1e-9);
  EXPECT_GT(parts, 0);
}

TEST_F(EngineMetricsTest, FirstTokenBounds_HaveTwoAndThreeSeconds) {
  make();
  run(test_request(1, prompt_of(1, 6), 1));
  for (const char* bound : {"2", "2.5", "3"}) {
    EXPECT_EQ(
        value("vllm:time_to_first_token_seconds_bucket", "", std::string("le=\"") + bound + "\""),
        1)
        << bound;
  }
}

TEST_F(EngineMetricsTest, Thinking_IsCountedApartFromTheAnswer) {
  make(thinker(6, 4, 'x'));
  run(thinking_request(1, 9));
  EXPECT_EQ(value("sparrow_thinking_tokens_sum"), 5);  // with the closing tag
  EXPECT_EQ(value("sparrow_answer_tokens_sum"), 4);
  EXPECT_EQ(value("sparrow_time_to_first_answer_token_seconds_count"), 1);
  EXPECT_GT(value("sparrow_time_to_first_answer_token_seconds_sum"),
            value("vllm:time_to_first_token_seconds_sum"));
  EXPECT_EQ(value("sparrow_empty_thinking_total", "action=\"kept\","), 0);
  EXPECT_EQ(sink_.at(1).usage.num_reasoning_tokens, 5);
}

TEST_F(EngineMetricsTest, AnswerCutInACircle_IsCountedAsLooped) {
  FakeExecutorOptions fake;
  fake.script = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    return static_cast<TokenId>('a' + tokens.size() % 3);
  };
  make(fake);
  run(test_request(1, prompt_of(1, 6), 60));
  EXPECT_EQ(value("sparrow_looped_total"), 1);
  run(test_request(2, prompt_of(2, 6), 20));
  EXPECT_EQ(value("sparrow_looped_total"), 1) << "too short to say";
}

TEST_F(EngineMetricsTest, ThinkingOfNothing_IsEmpty) {
  make(thinker(6, 2, '\n'));
  run(thinking_request(1, 6));
  EXPECT_EQ(value("sparrow_empty_thinking_total", "action=\"kept\","), 1);
}

TEST_F(EngineMetricsTest, AnswerThatNeverCame_HasNoFirstToken) {
  make(thinker(6, 100, 'x'));
  run(thinking_request(1, 6));
  EXPECT_EQ(value("sparrow_time_to_first_answer_token_seconds_count"), 0);
  EXPECT_EQ(value("sparrow_answer_tokens_sum"), 0);
}

TEST_F(EngineMetricsTest, LegacyNames_CanBeLeftOut) {
  EngineOptions options;
  options.legacy_metric_names = false;
  make({}, options);
  run(test_request(1, prompt_of(1, 6), 3));
  for (const char* name : {"vllm:gpu_cache_usage_perc", "vllm:gpu_prefix_cache_hits_total",
                           "vllm:gpu_prefix_cache_queries_total", "vllm:gpu_prefix_cache_hit_rate",
                           "vllm:num_requests_swapped", "vllm:time_per_output_token_seconds"}) {
    EXPECT_EQ(text_.types.count(name), 0u) << name;
  }
  MetricsRegistry with;
  const EngineMetrics legacy(with, {.model_name = "m", .max_context_tokens = 64});
  const PrometheusText text = PrometheusReader::read(with.render());
  EXPECT_EQ(text.types.at("vllm:gpu_cache_usage_perc"), "gauge");
  EXPECT_EQ(text.types.at("vllm:num_requests_swapped"), "gauge");
  EXPECT_EQ(text.types.at("vllm:time_per_output_token_seconds"), "histogram");
}

TEST_F(EngineMetricsTest, EvictedBlocks_AreCountedAndTheStatesAddUp) {
  FakeExecutorOptions fake;
  fake.limits.num_blocks = 8;
  make(fake);
  for (uint64_t id = 1; id <= 4; ++id) run(test_request(id, prompt_of(id, 13), 4));
  EXPECT_GT(value("sparrow_kv_evictions_total"), 0);
  EXPECT_GT(value("sparrow_kv_blocks", "", "state=\"cached\""), 0);
  EXPECT_EQ(value("sparrow_kv_blocks", "", "state=\"live\"") +
                value("sparrow_kv_blocks", "", "state=\"cached\"") +
                value("sparrow_kv_blocks", "", "state=\"free\""),
            8);
  // The last prompt again: all its full blocks but the one with the last token are there.
  run(test_request(5, prompt_of(4, 13), 4));
  EXPECT_EQ(value("vllm:prefix_cache_hits_total"), 12);
  EXPECT_EQ(value("vllm:prompt_tokens_cached_total"), 12);
  EXPECT_EQ(value("vllm:request_prefill_kv_computed_tokens_sum"), 4 * 13 + 1);
  EXPECT_EQ(sink_.at(5).usage.num_cached_tokens, 12);
}

TEST_F(EngineMetricsTest, PrefixCache_CountsTokensAndTheOldNamesFollow) {
  MetricsRegistry registry;
  EngineMetrics metrics(registry, {.model_name = "m", .max_context_tokens = 64});
  metrics.on_prefix_cache(32, 16);
  metrics.on_prefix_cache(32, 0);
  const PrometheusText text = PrometheusReader::read(registry.render());
  const std::string labels = R"({engine="0",model_name="m"})";
  EXPECT_EQ(text.at("vllm:prefix_cache_queries_total" + labels), 64);
  EXPECT_EQ(text.at("vllm:prefix_cache_hits_total" + labels), 16);
  EXPECT_EQ(text.at("vllm:gpu_prefix_cache_queries_total" + labels), 64);
  EXPECT_EQ(text.at("vllm:gpu_prefix_cache_hits_total" + labels), 16);
  EXPECT_EQ(text.at("vllm:gpu_prefix_cache_hit_rate" + labels), 0.25);
}

}  // namespace
}  // namespace sparrow
