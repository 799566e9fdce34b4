// Article A3 collects requests for 100 ms and runs them as one batch to its end. Here both ways
// serve the same arrivals on the same (simulated) machine: a step costs 46 ms and 4 ms a row, what
// a 4-bit model of 1.5 B parameters costs on two ordinary cores. The window is treated kindly: no
// padding, answers leave as soon as they are complete.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/random.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

constexpr double kFixedMs = 46, kRowMs = 4, kWindowMs = 100;
constexpr int kMaxBatch = 16, kNumRequests = 150;

struct Arrival {
  double at_ms = 0;
  int prompt = 0;
  int output = 0;
};

struct Served {
  std::vector<double> first_ms = std::vector<double>(kNumRequests, -1);  // since arrival
  std::vector<double> whole_ms = std::vector<double>(kNumRequests, -1);
  double end_ms = 0;

  static double percentile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  }
};

std::vector<Arrival> arrivals_at(double per_second) {
  std::vector<Arrival> arrivals;
  double at_ms = 0;
  for (uint64_t i = 0; i < kNumRequests; ++i) {
    at_ms += -1000.0 / per_second * std::log(1 - random_uniform(5, 0, i));
    arrivals.push_back({at_ms, 20 + static_cast<int>(random_uniform(5, 1, i) * 130),
                        10 + static_cast<int>(random_uniform(5, 2, i) * 100)});
  }
  return arrivals;
}

// When each batch begins it takes what has come; the window opens with the first that waits.
Served serve_by_window(const std::vector<Arrival>& arrivals) {
  Served served;
  double now = 0;
  for (size_t next = 0; next < arrivals.size();) {
    now = std::max(now, arrivals[next].at_ms + kWindowMs);
    size_t end = next;
    int num_rows = 0, longest = 0;
    while (end < arrivals.size() && end - next < kMaxBatch && arrivals[end].at_ms <= now) {
      num_rows += arrivals[end].prompt;
      longest = std::max(longest, arrivals[end++].output);
    }
    now += kFixedMs + kRowMs * num_rows;
    for (int step = 1; step <= longest; ++step) {
      int num_left = 0;
      for (size_t i = next; i < end; ++i) {
        if (step == 1) served.first_ms[i] = now - arrivals[i].at_ms;
        if (step == arrivals[i].output) served.whole_ms[i] = now - arrivals[i].at_ms;
        num_left += arrivals[i].output > step;
      }
      if (num_left > 0) now += kFixedMs + kRowMs * num_left;
    }
    next = end;
  }
  served.end_ms = now;
  return served;
}

// What ended or began since it was last read.
class StampingSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    for (const StreamEvent& event : events) seen.push_back({event.request_id, event.finish});
  }
  std::vector<std::pair<uint64_t, FinishReason>> seen;
};

Served serve_by_engine(const std::vector<Arrival>& arrivals) {
  FakeExecutorOptions fake;
  fake.limits = {.block_tokens = 16,
                 .num_blocks = 2048,
                 .num_slots = kMaxBatch,
                 .max_batch_tokens = 512,
                 .max_context_tokens = 512,
                 .vocab_size = kTestVocab};
  fake.fixed_ms = kFixedMs;
  fake.row_ms = kRowMs;
  fake.first_token = 'a';
  fake.num_tokens = 26;
  FakeExecutor executor(fake);
  const auto tokenizer = test_tokenizer();
  EngineOptions options;
  options.max_num_seqs = kMaxBatch;
  options.prefix.enabled = false;  // every prompt is computed whole, as there
  Engine engine(executor, *tokenizer, options, nullptr);
  StampingSink sink;
  Served served;
  TimePoint now{};
  for (size_t next = 0; next < arrivals.size() || !engine.idle();) {
    for (; next < arrivals.size() && from_ms(arrivals[next].at_ms) <= now.time_since_epoch();
         ++next) {
      Request request =
          test_request(next + 1, prompt_of(next, arrivals[next].prompt), arrivals[next].output);
      EXPECT_TRUE(engine.submit(std::move(request), &sink).ok());
    }
    const StepReport report = engine.step(now);
    now += report.executor_time;
    if (!report.worked && next < arrivals.size()) now = TimePoint(from_ms(arrivals[next].at_ms));
    for (const auto& [id, finish] : std::exchange(sink.seen, {})) {
      const double since_ms = to_ms(now.time_since_epoch()) - arrivals[id - 1].at_ms;
      double& first_ms = served.first_ms[id - 1];
      if (first_ms < 0) first_ms = since_ms;
      if (finish != FinishReason::kNone) served.whole_ms[id - 1] = since_ms;
    }
  }
  served.end_ms = to_ms(now.time_since_epoch());
  return served;
}

TEST(WindowBatching, LosesAtEveryLoad) {
  std::printf("requests/s   first token P50, P95 [s]     answer P50, P95 [s]       all done [s]\n");
  for (const double per_second : {0.05, 0.2, 0.5, 0.8, 1.2, 3.0}) {
    const std::vector<Arrival> arrivals = arrivals_at(per_second);
    const Served window = serve_by_window(arrivals);
    const Served ours = serve_by_engine(arrivals);
    const auto s = [](const std::vector<double>& ms, double share) {
      return Served::percentile(ms, share) / 1000;
    };
    for (const auto& [name, one] : {std::pair("window", &window), std::pair("ours", &ours)}) {
      std::printf("%6.2f %-7s %8.2f %8.2f %20.2f %8.2f %18.1f\n", per_second, name,
                  s(one->first_ms, .5), s(one->first_ms, .95), s(one->whole_ms, .5),
                  s(one->whole_ms, .95), one->end_ms / 1000);
      EXPECT_EQ(std::count(one->whole_ms.begin(), one->whole_ms.end(), -1), 0);
    }
    for (const double share : {.5, .95}) {
      EXPECT_LT(s(ours.first_ms, share), s(window.first_ms, share)) << per_second;
      EXPECT_LT(s(ours.whole_ms, share), s(window.whole_ms, share)) << per_second;
    }
    EXPECT_LE(ours.end_ms, window.end_ms) << per_second;
  }
}

}  // namespace
}  // namespace sparrow
