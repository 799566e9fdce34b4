// One rule of the metrics: what the server counts is exactly what its clients saw. Requests of
// every kind go through the whole API to the real engine on the fake executor, step by step.

#include <gtest/gtest.h>

#include <map>

#include "api/hand_driven_server.h"
#include "base/prometheus_test_support.h"

namespace sparrow::api {
namespace {

const std::string kEngineLabels = R"({engine="0",model_name="sparrow"})";

FakeExecutorOptions letters() {
  FakeExecutorOptions fake;
  fake.first_token = 'a';
  fake.num_tokens = 26;
  return fake;
}

PrometheusText scrape(HandDrivenServer& served) {
  const auto reply = served.get("/metrics");
  EXPECT_EQ(reply->status, 200);
  PrometheusText text = PrometheusReader::read(reply->body);
  EXPECT_TRUE(text.errors.empty()) << text.errors.front();
  return text;
}

double finished(const PrometheusText& text, const std::string& reason) {
  return text.at(R"(vllm:request_success_total{engine="0",finished_reason=")" + reason +
                 R"(",model_name="sparrow"})");
}

std::string chat(int max_tokens, const std::string& more = "") {
  return R"({"messages":[{"role":"user","content":"hi"}],"ignore_eos":true,"max_tokens":)" +
         std::to_string(max_tokens) + more + "}";
}

// Tokens in the chunks of a stream asked for with return_token_ids.
int64_t streamed_tokens(const std::string& body) {
  int64_t count = 0;
  for (size_t at = 0; (at = body.find("data: {", at)) != std::string::npos;) {
    at += 6;
    const auto chunk = json_of(body.substr(at, body.find("\n\n", at) - at));
    const auto* choices = chunk.as_object().if_contains("choices");
    if (choices == nullptr) continue;
    for (const auto& choice : choices->as_array()) {
      const auto* ids = choice.as_object().if_contains("token_ids");
      if (ids != nullptr) count += static_cast<int64_t>(ids->as_array().size());
    }
  }
  return count;
}

TEST(MetricsCounts, EveryCounter_IsWhatTheClientsSaw) {
  FakeExecutorOptions fake = letters();
  uint64_t bad_step = 0;
  fake.not_finite = [&](uint64_t step, size_t) { return step == bad_step; };
  HandDrivenServer served(fake);
  int64_t prompt_tokens = 0, output_tokens = 0, cached_tokens = 0, reasoning_tokens = 0;
  std::map<std::string, double> sent_bytes;
  std::map<std::string, double> by_status;
  const auto note = [&](const std::string& path, const Recorded& reply) {
    sent_bytes[path] += static_cast<double>(reply.body.size());
    ++by_status[path + " " + std::to_string(reply.status)];
  };
  const auto add_usage = [&](const boost::json::object& body, int choices_per_prompt) {
    const auto& usage = body.at("usage").as_object();
    prompt_tokens += usage.at("prompt_tokens").as_int64() * choices_per_prompt;
    output_tokens += usage.at("completion_tokens").as_int64();
    cached_tokens += usage.at("prompt_tokens_details").at("cached_tokens").as_int64();
    reasoning_tokens += usage.at("completion_tokens_details").at("reasoning_tokens").as_int64();
  };

  const std::string kChat = "/v1/chat/completions";
  const std::string kCompletions = "/v1/completions";
  std::vector<std::shared_ptr<Recorded>> whole = {served.post(kChat, chat(20)),
                                                  served.post(kChat, chat(1))};
  const auto pair =
      served.post(kCompletions, R"({"prompt":["abc","d"],"n":2,"max_tokens":5,"ignore_eos":true})");
  served.run();
  for (const auto& reply : whole) add_usage(reply->json(), 1);
  add_usage(pair->json(), 2);
  for (const auto& reply : whole) note(kChat, *reply);
  note(kCompletions, *pair);
  const int64_t num_chat_cached =
      whole[1]->json().at("usage").at("prompt_tokens_details").at("cached_tokens").as_int64();
  const int64_t num_chat_prompt = whole[0]->json().at("usage").at("prompt_tokens").as_int64();

  // A client that leaves, and a row that is not finite: their tokens were generated and seen.
  const std::string streamed = R"(,"stream":true,"return_token_ids":true)";
  auto leaving = served.post(kChat, chat(50, streamed));
  for (int i = 0; i < 7; ++i) served.step();
  leaving->closed = true;
  leaving->on_close();
  served.step();
  EXPECT_EQ(streamed_tokens(leaving->body), 7);
  const auto failing = served.post(kChat, chat(50, streamed));
  for (int i = 0; i < 4; ++i) served.step();
  bad_step = served.engine->snapshot().num_steps + 1;
  served.run();
  EXPECT_EQ(streamed_tokens(failing->body), 4);
  EXPECT_NE(failing->body.find("\"code\":\"not_finite\""), std::string::npos) << failing->body;
  for (const auto& reply : {leaving, failing}) {
    prompt_tokens += num_chat_prompt;
    cached_tokens += num_chat_cached;  // the same prompt once more
    output_tokens += streamed_tokens(reply->body);
    reasoning_tokens += streamed_tokens(reply->body);  // the prompt opened the thinking
  }
  note(kChat, *failing);
  sent_bytes[kChat] += static_cast<double>(leaving->body.size());
  ++by_status[kChat + " 499"];
  leaving.reset();

  note(kChat, *served.post(kChat, "{"));
  note(kChat, *served.post(kChat, R"({"model":"other","messages":[]})"));
  note("none", *served.get("/nowhere"));
  note("/v1/models", *served.get("/v1/models"));
  for (int i = 0; i < 3; ++i) note("/health", *served.get("/health"));
  scrape(served);

  const PrometheusText text = scrape(served);
  EXPECT_EQ(text.at("vllm:prompt_tokens_total" + kEngineLabels), prompt_tokens);
  EXPECT_EQ(text.at("vllm:generation_tokens_total" + kEngineLabels), output_tokens);
  EXPECT_EQ(text.at("vllm:prefix_cache_queries_total" + kEngineLabels), prompt_tokens);
  EXPECT_GT(cached_tokens, 0);
  EXPECT_EQ(text.at("vllm:prompt_tokens_cached_total" + kEngineLabels), cached_tokens);
  EXPECT_EQ(text.at("vllm:prefix_cache_hits_total" + kEngineLabels), cached_tokens);
  EXPECT_EQ(text.at("sparrow_thinking_tokens_sum" + kEngineLabels), reasoning_tokens);
  EXPECT_EQ(finished(text, "length"), 2 + 4);
  EXPECT_EQ(finished(text, "stop"), 0);
  EXPECT_EQ(finished(text, "abort"), 1);
  EXPECT_EQ(finished(text, "error"), 1);
  EXPECT_EQ(text.at("vllm:corrupted_requests_total" + kEngineLabels), 1);
  EXPECT_EQ(text.at("vllm:request_params_n_count" + kEngineLabels), 2 + 2 + 2);
  EXPECT_EQ(text.at("vllm:num_requests_running" + kEngineLabels), 0);
  double num_counted = 0;
  for (const auto& [what, count] : by_status) {
    const std::string handler = what.substr(0, what.find(' '));
    const std::string method = handler.starts_with("/v1/c") ? "POST" : "GET";
    EXPECT_EQ(text.at("http_requests_total{handler=\"" + handler + "\",method=\"" + method +
                      "\",status=\"" + what.substr(what.find(' ') + 1) + "\"}"),
              count)
        << what;
    if (handler != "/health") num_counted += count;
  }
  for (const auto& [handler, bytes] : sent_bytes) {
    EXPECT_EQ(text.at("http_response_size_bytes_sum{handler=\"" + handler + "\"}"), bytes);
  }
  EXPECT_EQ(text.at("deepseek_requests_total"), num_counted);
  EXPECT_EQ(text.at("deepseek_request_latency_seconds_count"), num_counted);
}

TEST(MetricsCounts, ArticleNames_AreExactlyThose) {
  HandDrivenServer served(letters());
  const PrometheusText text = scrape(served);
  EXPECT_EQ(text.types.at("deepseek_requests_total"), "counter");
  EXPECT_EQ(text.types.at("deepseek_request_latency_seconds"), "histogram");
  EXPECT_EQ(text.types.at("deepseek_gpu_memory_percent"), "gauge");
  for (const char* bound : {"0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75",
                            "1", "2.5", "5", "7.5", "10", "20", "40", "80", "+Inf"}) {
    EXPECT_TRUE(
        text.has("deepseek_request_latency_seconds_bucket{le=\"" + std::string(bound) + "\"}"))
        << bound;
  }
  EXPECT_GT(text.at("deepseek_gpu_memory_percent"), 0);
  EXPECT_LE(text.at("deepseek_gpu_memory_percent"), 1);
  EXPECT_GT(text.at("process_resident_memory_bytes"), 0);
  EXPECT_EQ(text.at("sparrow_build_info{version=\"0.1.0\"}"), 1);
  EXPECT_EQ(text.at("sparrow_engine_stuck"), 0);
}

// The gauge is the device's, not the process's; figures are kept ten seconds; what the device does
// not tell is no number, and has no gauge until it was told once.
TEST(MetricsCounts, Gpu_IsAskedEveryTenSeconds) {
  std::optional<DeviceHealth> health = DeviceHealth{.memory_share = 0.25, .temperature_c = 64};
  int num_reads = 0;
  HandDrivenServer served(letters(), {}, {}, [&] {
    ++num_reads;
    return health;
  });
  PrometheusText text = scrape(served);
  EXPECT_EQ(text.at("deepseek_gpu_memory_percent"), 0.25);
  EXPECT_EQ(text.at("sparrow_gpu_temperature_celsius"), 64);
  EXPECT_FALSE(text.has("sparrow_gpu_power_watts"));

  health = DeviceHealth{.memory_share = 0.75, .temperature_c = 70, .power_w = 312.5};
  served.clock.advance(from_ms(9'999));
  EXPECT_EQ(scrape(served).at("deepseek_gpu_memory_percent"), 0.25);
  EXPECT_EQ(num_reads, 1);
  served.clock.advance(from_ms(1));
  text = scrape(served);
  EXPECT_EQ(num_reads, 2);
  EXPECT_EQ(text.at("deepseek_gpu_memory_percent"), 0.75);
  EXPECT_EQ(text.at("sparrow_gpu_temperature_celsius"), 70);
  EXPECT_EQ(text.at("sparrow_gpu_power_watts"), 312.5);

  health.reset();  // a lost card: the rest of the text is as good as before
  served.clock.advance(from_ms(10'000));
  const std::string body = served.get("/metrics")->body;
  for (const char* line :
       {"\ndeepseek_gpu_memory_percent NaN\n", "\nsparrow_gpu_temperature_celsius NaN\n",
        "\nsparrow_gpu_power_watts NaN\n"}) {
    EXPECT_NE(body.find(line), std::string::npos) << line;
  }
  EXPECT_TRUE(PrometheusReader::read(body).errors.empty());
  EXPECT_EQ(served.get("/livez")->status, 200);
}

TEST(MetricsCounts, MetricsApart_AreOnlyThere) {
  ApiOptions options;
  options.metrics_apart = true;
  options.api_keys = {"secret"};
  HandDrivenServer served(letters(), options);
  const auto ask = [&](const http::Handler& handler, std::string path, std::string key = "") {
    http::Headers headers;
    if (!key.empty()) headers = {{"authorization", "Bearer " + key}};
    return served.call(handler, "GET", std::move(path), "", headers)->status;
  };
  EXPECT_EQ(ask(served.server->handler(), "/metrics", "secret"), 404);
  EXPECT_EQ(ask(served.server->handler(), "/health"), 200);
  EXPECT_EQ(ask(served.server->metrics_handler(), "/metrics", "secret"), 200);
  EXPECT_EQ(ask(served.server->metrics_handler(), "/metrics"), 401);
  EXPECT_EQ(ask(served.server->metrics_handler(), "/health"), 200);
  EXPECT_EQ(ask(served.server->metrics_handler(), "/readyz"), 200);
  EXPECT_EQ(ask(served.server->metrics_handler(), "/v1/models", "secret"), 404);
}

}  // namespace
}  // namespace sparrow::api
