// The simulator's own proof: on loads that queueing theory solves, engine and scheduler give the
// waits of the formulas. M/M/c against Erlang C, M/D/1 against Pollaczek and Khinchine, equal
// sharing of one processor against E[S] / (1 - rho), which holds whatever the lengths are
// distributed like (Kleinrock 1976, chapter 4).

#include <gtest/gtest.h>

#include <deque>

#include "engine/engine.h"
#include "engine/test_support.h"
#include "seeded_random.h"

namespace sparrow {
namespace {

constexpr TokenId kGoesOn = 'a';
constexpr double kNoArrivalMs = 1e15;

// Gives every sequence one token per step and takes as long as the test says. `race` chooses how
// the step ends: by time alone, or by an event that may end one sequence.
class QueueExecutor final : public Executor {
 public:
  struct StepEnd {
    double ms = 0;
    int done = -1;  // span that ends now, -1: none
  };
  QueueExecutor(int num_seats, std::function<StepEnd(int num_spans)> race)
      : num_seats_(num_seats), race_(std::move(race)) {}

  ExecutorLimits limits() const override {
    return {.block_tokens = 16,
            .num_blocks = num_seats_ * 64,
            .num_slots = num_seats_,
            .max_batch_tokens = 1024,
            .max_context_tokens = 1024,
            .vocab_size = kTestVocab};
  }
  Status load(TensorSource&) override { return ok_status(); }
  Ticket begin(const BatchPlan& plan) override {
    result_.clear();
    result_.step = plan.step;
    const auto num_spans = static_cast<int>(plan.spans.size());
    const StepEnd end = race_(num_spans);
    result_.elapsed_ns = static_cast<int64_t>(std::ceil(end.ms * 1e6));
    for (int span = 0; span < num_spans; ++span) {
      result_.spans.push_back({span, 1});
      result_.tokens.push_back({.id = span == end.done ? kEos : kGoesOn});
    }
    return plan.step;
  }
  void sample(Ticket, const TokenMasks&) override {}
  const StepResult& wait(Ticket) override { return result_; }
  void release(SlotId) override {}

 private:
  const int num_seats_;
  const std::function<StepEnd(int)> race_;
  StepResult result_;
};

class TimesSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    for (const StreamEvent& event : events) {
      if (event.finish == FinishReason::kNone) continue;
      EXPECT_TRUE(is_ordinary_end(event.finish));
      const ChoiceUsage& usage = event.usage;
      ++num_ended;
      num_delayed += usage.queue_time > std::chrono::microseconds(1) ? 1 : 0;
      sum_wait_ms += to_ms(usage.queue_time);
      sum_sojourn_ms += to_ms(usage.queue_time + usage.prefill_time + usage.decode_time);
    }
  }
  double mean_wait_ms() const { return sum_wait_ms / num_ended; }
  double mean_sojourn_ms() const { return sum_sojourn_ms / num_ended; }

  int num_ended = 0;
  int num_delayed = 0;
  double sum_wait_ms = 0;
  double sum_sojourn_ms = 0;
};

// Poisson arrivals of requests with a prompt of one token.
class Queue {
 public:
  Queue(uint64_t seed, int num_seats, double mean_gap_ms) : random_(seed), gap_ms_(mean_gap_ms) {
    options_.max_num_seqs = num_seats;
    options_.max_num_queued_reqs = 1'000'000;
    options_.inbox_capacity = 1'000'000;
    options_.max_step_ms = 1e9;
  }

  TimesSink run(QueueExecutor& executor, int num_requests,
                const std::function<int(SeededRandom&)>& num_tokens) {
    const auto tokenizer = test_tokenizer();
    Engine engine(executor, *tokenizer, options_, nullptr);
    TimesSink sink;
    TimePoint now{};
    next_arrival_ms = random_.exponential(gap_ms_);
    for (int num_sent = 0; num_sent < num_requests || !engine.idle();) {
      if (engine.idle()) now = std::max(now, TimePoint{from_ms(next_arrival_ms)});
      now_ms = to_ms(now.time_since_epoch());
      while (num_sent < num_requests && TimePoint{from_ms(next_arrival_ms)} <= now) {
        Request request =
            test_request(static_cast<uint64_t>(++num_sent), {kGoesOn}, num_tokens(random_));
        request.stop.token_ids = {kEos};
        request.arrival = TimePoint{from_ms(next_arrival_ms)};
        EXPECT_TRUE(engine.submit(std::move(request), &sink).ok());
        next_arrival_ms += random_.exponential(gap_ms_);
        if (num_sent == num_requests) next_arrival_ms = kNoArrivalMs;
      }
      now += engine.step(now).executor_time;
    }
    EXPECT_EQ(sink.num_ended, num_requests);
    return sink;
  }

  double now_ms = 0;
  double next_arrival_ms = 0;

 private:
  SeededRandom random_;
  const double gap_ms_;
  EngineOptions options_;
};

// Probability of having to wait (Erlang 1917).
double erlang_c(int servers, double load) {
  double term = 1, sum = 0;
  for (int k = 0; k < servers; ++k) {
    sum += term;
    term *= load / (k + 1);
  }
  const double busy = term / (1 - load / servers);
  return busy / (sum + busy);
}

// Memoryless services: the first of k ends after Exp(k), each is equally likely to be it, and a
// step may be cut at an arrival without changing what is left.
void expect_erlang_c(int num_seats, double utilisation) {
  constexpr double kServiceMs = 100;
  constexpr int kRequests = 200'000;
  SeededRandom random(static_cast<uint64_t>(num_seats));
  const double load = utilisation * num_seats;
  Queue queue(2, num_seats, kServiceMs / load);
  QueueExecutor executor(num_seats, [&](int num_spans) {
    const double until_arrival_ms = queue.next_arrival_ms - queue.now_ms;
    const double until_done_ms = random.exponential(kServiceMs / num_spans);
    if (until_done_ms > until_arrival_ms) return QueueExecutor::StepEnd{until_arrival_ms, -1};
    return QueueExecutor::StepEnd{until_done_ms, random.between(0, num_spans - 1)};
  });
  const TimesSink times = queue.run(executor, kRequests, [](SeededRandom&) { return 1000; });
  const double delayed = erlang_c(num_seats, load);
  const double wait_ms = delayed * kServiceMs / (num_seats - load);
  EXPECT_NEAR(static_cast<double>(times.num_delayed) / kRequests, delayed, 0.02 * delayed);
  EXPECT_NEAR(times.mean_wait_ms(), wait_ms, 0.03 * wait_ms);
  EXPECT_NEAR(times.mean_sojourn_ms(), wait_ms + kServiceMs, 0.02 * (wait_ms + kServiceMs));
}

TEST(Queueing, MemorylessServices_WaitLikeErlangC) {
  expect_erlang_c(1, 0.5);
  expect_erlang_c(4, 0.6);
}

TEST(Queueing, OneSeatAndEqualServices_WaitLikePollaczekKhinchine) {
  constexpr double kServiceMs = 10;
  for (const double utilisation : {0.3, 0.7}) {
    Queue queue(3, 1, kServiceMs / utilisation);
    QueueExecutor executor(1, [](int) { return QueueExecutor::StepEnd{kServiceMs, -1}; });
    const TimesSink times = queue.run(executor, 100'000, [](SeededRandom&) { return 1; });
    const double expected_ms = utilisation * kServiceMs / (2 * (1 - utilisation));
    EXPECT_NEAR(times.mean_wait_ms(), expected_ms, 0.03 * expected_ms) << utilisation;
  }
}

TEST(Queueing, EqualSharing_DoesNotCareHowLengthsAreDistributed) {
  constexpr double kRowMs = 1;
  constexpr double kUtilisation = 0.6;
  constexpr double kMeanTokens = 50;
  const auto mean_sojourn_ms = [&](const std::function<int(SeededRandom&)>& num_tokens) {
    Queue queue(4, 256, kMeanTokens * kRowMs / kUtilisation);
    QueueExecutor executor(256, [&](int num_spans) {
      return QueueExecutor::StepEnd{num_spans * kRowMs, -1};
    });
    return queue.run(executor, 20'000, num_tokens).mean_sojourn_ms();
  };
  const double expected_ms = kMeanTokens * kRowMs / (1 - kUtilisation);
  EXPECT_NEAR(mean_sojourn_ms([](SeededRandom&) { return 50; }), expected_ms, 0.04 * expected_ms);
  EXPECT_NEAR(mean_sojourn_ms([](SeededRandom& random) { return random.chance(800) ? 10 : 210; }),
              expected_ms, 0.04 * expected_ms);
}

}  // namespace
}  // namespace sparrow
