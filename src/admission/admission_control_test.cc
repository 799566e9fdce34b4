#include "admission/admission_control.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "admission/admission_metrics.h"

namespace sparrow {
namespace {

TimePoint at(double seconds) { return TimePoint{} + from_ms(seconds * 1000); }

// 4 places, all taken; a step of all of them takes 14 ms, an answer 40 steps.
LoadSnapshot full_load(int num_waiting) {
  LoadSnapshot load;
  load.num_steps = 100;
  load.max_num_running = 4;
  load.num_running = 4;
  load.num_waiting = num_waiting;
  load.has_step_cost = true;
  load.step_fixed_ms = 10;
  load.step_row_ms = 1;
  load.max_step_rows = 100;
  load.mean_output_tokens = 40;
  load.num_blocks_total = 100;
  return load;
}

AdmissionRequest plain(int max_tokens = 1000) {
  AdmissionRequest request;
  request.num_prompt_tokens = 10;
  request.shape.max_tokens = max_tokens;
  return request;
}

AdmissionRequest within(double first_token_ms) {
  AdmissionRequest request = plain();
  request.first_token_within_ms = first_token_ms;
  return request;
}

AdmissionOptions with_wait(double max_queue_wait_ms) {
  AdmissionOptions options;
  options.max_queue_wait_ms = max_queue_wait_ms;
  return options;
}

TEST(AdmissionControl, Idle_LetsIn) {
  AdmissionControl control({});
  const Verdict verdict = control.decide(LoadSnapshot{}, plain(), at(0));
  EXPECT_EQ(verdict.decision, Decision::kAccept);
  EXPECT_EQ(verdict.reason, RejectReason::kNone);
  EXPECT_FALSE(verdict.shortening.any());
}

TEST(AdmissionControl, WaitBeyondTheOperatorsLimit_IsToldTheExcess) {
  // 20 wait and one more comes: 21 must end, one in 10 steps of 14 ms, and a prompt row a ms.
  const double predicted_ms = 210 * 14 + 10;
  AdmissionControl strict(with_wait(1000));
  const Verdict refused = strict.decide(full_load(20), plain(), at(0));
  EXPECT_EQ(refused.decision, Decision::kReject);
  EXPECT_EQ(refused.reason, RejectReason::kPredictedWait);
  EXPECT_DOUBLE_EQ(refused.predicted_wait_ms, predicted_ms);
  EXPECT_GE(refused.retry_after_ms, predicted_ms - 1000);
  EXPECT_LE(refused.retry_after_ms, predicted_ms);
  EXPECT_FALSE(refused.retry_cannot_help);
  AdmissionControl patient(with_wait(3000));
  EXPECT_EQ(patient.decide(full_load(20), plain(), at(0)).decision, Decision::kAccept);
  AdmissionControl none(with_wait(0));
  EXPECT_EQ(none.decide(full_load(900), plain(), at(0)).decision, Decision::kAccept);
}

TEST(AdmissionControl, WaitBeyondTheClientsPatience_IsRefused) {
  AdmissionControl control({});
  EXPECT_EQ(control.decide(full_load(20), within(5000), at(0)).decision, Decision::kAccept);
  const Verdict refused = control.decide(full_load(20), within(2000), at(0));
  EXPECT_EQ(refused.reason, RejectReason::kDeadline);
  EXPECT_FALSE(refused.retry_cannot_help);
  EXPECT_NEAR(refused.retry_after_ms, 950, 400);
  const Verdict never = control.decide(full_load(0), within(5), at(0));
  EXPECT_TRUE(never.retry_cannot_help) << "its prompt alone takes 20 ms";
}

// The next turn of a chat computes little of its prompt.
TEST(AdmissionControl, PromptsThatAreMostlyCached_AreExpectedSoon) {
  AdmissionRequest turn = within(1000);
  turn.num_prompt_tokens = 2000;
  LoadSnapshot load = full_load(0);
  load.num_running = 2;
  EXPECT_EQ(AdmissionControl({}).decide(load, turn, at(0)).reason, RejectReason::kDeadline);
  load.cached_prompt_share = 0.95;
  const Verdict verdict = AdmissionControl({}).decide(load, turn, at(0));
  EXPECT_EQ(verdict.decision, Decision::kAccept);
  // One in ten of what is cached is expected to be computed all the same: 290 rows of a ms, in four
  // steps of two more rows.
  EXPECT_DOUBLE_EQ(verdict.predicted_wait_ms, 290 + 3 * 12);
}

TEST(AdmissionControl, TotalDeadline_CountsTheAnswerIfItCanFit) {
  AdmissionControl control({});
  AdmissionRequest request = plain();
  // 150 ms to a place, then 40 steps of 14 ms, the prompts of those who come meanwhile, a margin.
  request.total_within_ms = 650;
  EXPECT_EQ(control.decide(full_load(0), request, at(0)).reason, RejectReason::kDeadline);
  request.total_within_ms = 1000;
  EXPECT_EQ(control.decide(full_load(0), request, at(0)).decision, Decision::kAccept);
  // An answer that is usually longer than the time may still be short: only the wait counts.
  request.total_within_ms = 400;
  EXPECT_EQ(control.decide(full_load(0), request, at(0)).decision, Decision::kAccept);
  request.shape.max_tokens = 10;
  request.total_within_ms = 250;
  EXPECT_EQ(control.decide(full_load(0), request, at(0)).reason, RejectReason::kDeadline);
}

TEST(AdmissionControl, BurstBetweenTwoSteps_IsNotLetInAsAWhole) {
  AdmissionControl control({});
  int num_let_in = 0;
  for (int i = 0; i < 100; ++i) {
    if (control.decide(full_load(0), within(2000), at(0)).decision == Decision::kAccept) {
      ++num_let_in;
    }
  }
  EXPECT_NEAR(num_let_in, 14, 2) << "140 ms and 10 ms of prompt each";
  LoadSnapshot later = full_load(num_let_in);
  later.num_steps += 2;  // what was let in is counted by the engine now
  later.num_waiting_prompt_tokens = 10 * num_let_in;
  const Verdict verdict = control.decide(later, within(1e6), at(0.1));
  EXPECT_NEAR(verdict.predicted_wait_ms, (num_let_in + 1) * 150, 1);
}

// What is let in spreads over them, and so do those who come back.
TEST(AdmissionControl, SeveralEngines_TakeAsManyTimesAsMuch) {
  LoadSnapshot load = full_load(0);
  load.num_engines = 4;
  AdmissionControl control({});
  int num_let_in = 0;
  for (int i = 0; i < 200; ++i) {
    num_let_in += control.decide(load, within(2000), at(0)).decision == Decision::kAccept;
  }
  EXPECT_GE(num_let_in, 3 * 14);
  EXPECT_LE(num_let_in, 4 * 14);
  LoadSnapshot crowded = full_load(20);
  crowded.num_engines = 4;
  AdmissionControl strict(with_wait(1000));
  const double first_ms = strict.decide(crowded, plain(), at(0)).retry_after_ms;
  EXPECT_NEAR(strict.decide(crowded, plain(), at(0)).retry_after_ms - first_ms, 150.0 / 4, 5);
}

TEST(AdmissionControl, FastMoment_IsBelievedWhenItLasts) {
  AdmissionControl control({});
  LoadSnapshot slow = full_load(5);
  slow.step_fixed_ms = 96;  // 100 ms a full step
  const double slow_ms = control.decide(slow, within(1e6), at(0)).predicted_wait_ms;
  LoadSnapshot fast = full_load(5);
  fast.num_steps += 10;
  const double just_now_ms = control.decide(fast, within(1e6), at(0.1)).predicted_wait_ms;
  EXPECT_GT(just_now_ms, 0.9 * slow_ms);
  for (double seconds = 1; seconds < 60; ++seconds) {
    fast.num_steps += 10;
    control.decide(fast, within(1e6), at(seconds));
  }
  fast.num_steps += 10;
  EXPECT_LT(control.decide(fast, within(1e6), at(60)).predicted_wait_ms, 0.2 * slow_ms);
  slow.num_steps = fast.num_steps + 10;
  EXPECT_GT(control.decide(slow, within(1e6), at(60.1)).predicted_wait_ms, 0.99 * slow_ms)
      << "slower counts at once";
}

// Found by the simulation: after a slow minute nobody waits any more, and nobody would be let in.
TEST(AdmissionControl, SlowMomentThatIsOver_KeepsNobodyOutOfAnIdleMachine) {
  AdmissionControl control(with_wait(1000));
  LoadSnapshot slow = full_load(0);
  slow.step_fixed_ms = 10'000;
  control.decide(slow, plain(), at(0));
  LoadSnapshot idle = full_load(0);
  idle.num_running = 0;
  idle.num_steps += 10;
  EXPECT_EQ(control.decide(idle, plain(), at(0.1)).decision, Decision::kAccept);
}

TEST(AdmissionControl, QueueOfTheEngine_IsABound) {
  AdmissionOptions options = with_wait(0);
  options.max_num_queued_reqs = 8;
  AdmissionControl control(options);
  EXPECT_EQ(control.decide(full_load(7), plain(), at(0)).decision, Decision::kAccept);
  const Verdict refused = control.decide(full_load(7), plain(), at(0));
  EXPECT_EQ(refused.reason, RejectReason::kQueueFull);
  EXPECT_GE(refused.retry_after_ms, 1000);
}

TEST(AdmissionControl, MoreThanQueueAndPlaces_NeverFits) {
  AdmissionOptions options = with_wait(0);
  options.max_num_queued_reqs = 8;
  AdmissionControl control(options);
  LoadSnapshot load;
  load.max_num_running = 4;
  AdmissionRequest request = plain();
  request.num_sequences = 12;
  EXPECT_EQ(control.decide(load, request, at(0)).decision, Decision::kAccept);
  load.num_steps += 10;
  request.num_sequences = 13;
  const Verdict refused = control.decide(load, request, at(1));
  EXPECT_EQ(refused.reason, RejectReason::kQueueFull);
  EXPECT_TRUE(refused.retry_cannot_help);
}

TEST(AdmissionControl, OpenBreaker_RefusesUntilItsProbe) {
  AdmissionControl control({});
  LoadSnapshot load = full_load(0);
  load.breaker = BreakerState::kOpen;
  load.breaker_retry_at = at(5);
  const Verdict refused = control.decide(load, plain(), at(2));
  EXPECT_EQ(refused.reason, RejectReason::kBreakerOpen);
  EXPECT_DOUBLE_EQ(refused.retry_after_ms, 3000);
  EXPECT_EQ(control.decide(load, plain(), at(5)).decision, Decision::kAccept) << "may be the probe";
}

TEST(AdmissionControl, KeysOwnLimits_GoBeforeTheUsualOnes) {
  AdmissionOptions options;
  options.key_limits.requests_per_minute = 2;
  AdmissionControl control(options);
  AdmissionRequest request = plain();
  request.key = "usual";
  EXPECT_EQ(control.decide({}, request, at(0)).key_status.remaining_requests, 1);
  control.decide({}, request, at(0));
  const Verdict refused = control.decide({}, request, at(0));
  EXPECT_EQ(refused.reason, RejectReason::kRequestsPerMinute);
  EXPECT_DOUBLE_EQ(refused.retry_after_ms, 30'000);
  EXPECT_EQ(refused.key_status.remaining_requests, 0);
  request.key = "more";
  request.limits.requests_per_minute = 3;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(control.decide({}, request, at(0)).decision, Decision::kAccept);
  }
  EXPECT_EQ(control.decide({}, request, at(0)).decision, Decision::kReject);
}

TEST(AdmissionControl, Tokens_AreBookedByWhatIsUsualAndSettled) {
  AdmissionOptions options;
  options.key_limits.tokens_per_minute = 1000;
  AdmissionControl control(options);
  AdmissionRequest request = plain(32'768);
  request.key = "a";
  // The limit was left open and answers have 40 tokens: 10 + 2 x 40 are booked.
  const Verdict verdict = control.decide(full_load(0), request, at(0));
  EXPECT_EQ(verdict.num_tokens_taken, 90);
  EXPECT_EQ(verdict.key_status.remaining_tokens, 910);
  control.settle("a", verdict, 35);
  request.shape.max_tokens_open = false;
  request.shape.max_tokens = 500;
  const Verdict written = control.decide(full_load(0), request, at(0));
  EXPECT_EQ(written.num_tokens_taken, 510);
  EXPECT_EQ(written.key_status.remaining_tokens, 1000 - 35 - 510);
  EXPECT_EQ(control.decide(full_load(0), request, at(0)).reason, RejectReason::kTokensPerMinute);
}

TEST(AdmissionControl, RefusedForLoad_CostsTheKeyNothing) {
  AdmissionOptions options = with_wait(100);
  options.key_limits = {.requests_per_minute = 5, .tokens_per_minute = 10'000, .max_concurrent = 1};
  AdmissionControl control(options);
  AdmissionRequest request = plain();
  request.key = "a";
  for (int i = 0; i < 20; ++i) {
    const Verdict refused = control.decide(full_load(20), request, at(0));
    ASSERT_EQ(refused.reason, RejectReason::kPredictedWait);
    control.settle("a", refused, 0);
  }
  EXPECT_EQ(control.decide({}, request, at(0)).key_status.remaining_requests, 4);
}

TEST(AdmissionControl, Concurrency_IsGivenBackByTheEnd) {
  AdmissionOptions options;
  options.key_limits.max_concurrent = 1;
  AdmissionControl control(options);
  AdmissionRequest request = plain();
  request.key = "a";
  const Verdict first = control.decide({}, request, at(0));
  const Verdict second = control.decide({}, request, at(0));
  EXPECT_EQ(second.reason, RejectReason::kConcurrentPerKey);
  control.settle("a", second, 0);
  EXPECT_EQ(control.decide({}, request, at(0)).decision, Decision::kReject);
  control.settle("a", first, 50);
  EXPECT_EQ(control.decide({}, request, at(0)).decision, Decision::kAccept);
}

TEST(AdmissionControl, LadderShortensThenAnswersWithoutComputingThenRefuses) {
  AdmissionControl control({});
  LoadSnapshot load = full_load(1);
  load.oldest_wait_ms = 1e6;
  AdmissionRequest request = plain(8000);
  request.shape.thinks = true;
  const Verdict one = control.decide(load, request, at(10));
  EXPECT_EQ(one.level, 1);
  EXPECT_EQ(one.shortening.thinking_budget, 1024);
  EXPECT_EQ(control.decide(load, request, at(12)).shortening.max_tokens, 512);
  EXPECT_EQ(control.decide(load, request, at(14)).decision, Decision::kMessage);
  const Verdict refused = control.decide(load, request, at(16));
  EXPECT_EQ(refused.decision, Decision::kReject);
  EXPECT_EQ(refused.reason, RejectReason::kDegraded);
  EXPECT_EQ(refused.retry_after_ms, 5000);
}

TEST(AdmissionControl, TheyWereToldDifferentTimes_OneAfterTheOther) {
  AdmissionControl control(with_wait(1000));
  double last_ms = 0;
  for (int i = 0; i < 50; ++i) {
    const Verdict refused = control.decide(full_load(20), plain(), at(0));
    ASSERT_EQ(refused.decision, Decision::kReject);
    EXPECT_NEAR(refused.retry_after_ms - last_ms, i == 0 ? 2100 : 150, 20)
        << "the machine serves one in 150 ms";
    last_ms = refused.retry_after_ms;
  }
  for (int i = 0; i < 2000; ++i)
    last_ms = control.decide(full_load(20), plain(), at(0)).retry_after_ms;
  EXPECT_EQ(last_ms, 120'000) << "bounded";
}

TEST(AdmissionControl, WhoComesBack_GoesBeforeNewcomers) {
  AdmissionControl control(with_wait(1000));
  ASSERT_EQ(control.decide(full_load(20), plain(), at(0)).decision, Decision::kReject);
  // 900 ms of wait are within the limit, but others were told to come.
  AdmissionRequest retry = plain();
  retry.is_retry = true;
  EXPECT_EQ(control.decide(full_load(5), plain(), at(1)).decision, Decision::kReject);
  EXPECT_EQ(control.decide(full_load(5), retry, at(1)).decision, Decision::kAccept);
  LoadSnapshot later = full_load(5);
  later.num_steps += 50;
  EXPECT_EQ(control.decide(later, plain(), at(10)).decision, Decision::kAccept)
      << "nobody is expected any more";
}

TEST(AdmissionMetrics, EveryReasonHasANameAndIsCounted) {
  MetricsRegistry registry;
  AdmissionMetrics metrics(registry);
  std::set<std::string> names;
  for (int i = 1; i < kNumRejectReasons; ++i) {
    const auto reason = static_cast<RejectReason>(i);
    EXPECT_TRUE(names.insert(reject_reason_name(reason)).second);
    metrics.on_reject(reason);
    EXPECT_EQ(registry
                  .counter("sparrow_rejected_total", "Requests refused before they were computed",
                           {{"reason", reject_reason_name(reason)}})
                  .value(),
              1u);
  }
  Verdict verdict;
  verdict.shortening.max_tokens = 512;
  verdict.shortening.answer_reserve = 256;
  metrics.on_verdict(verdict);
  metrics.set_state(2, BreakerState::kHalfOpen);
  const std::string text = registry.render();
  for (const char* line : {"sparrow_degraded_total{action=\"max_tokens\"} 1\n",
                           "sparrow_degraded_total{action=\"thinking_budget\"} 1\n",
                           "sparrow_degraded_total{action=\"temperature\"} 0\n",
                           "sparrow_degradation_level 2\n", "sparrow_breaker_state 2\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace sparrow
