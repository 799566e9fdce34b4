// Admission in front of the real engine, on the fake executor and in simulated time: ten times the
// load it can serve, with clients that wait twenty seconds.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "admission/admission_control.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

constexpr double kDeadlineMs = 20'000;
constexpr double kEndMs = 300'000;
constexpr int kPromptTokens = 80;
constexpr int kAnswerTokens = 48;

// Two cores and a small model, about: 12 places, a row 4 ms.
FakeExecutorOptions slow_machine() {
  FakeExecutorOptions fake;
  fake.limits = {.block_tokens = 16,
                 .num_blocks = 512,
                 .num_slots = 12,
                 .max_batch_tokens = 64,
                 .max_context_tokens = 256,
                 .vocab_size = kTestVocab};
  fake.first_token = 'a';
  fake.num_tokens = 26;
  fake.fixed_ms = 60;
  fake.row_ms = 4;
  return fake;
}

struct Outcome {
  double goodput = 0;  // answers in time, per second
  int num_offered = 0;
  int num_refused = 0;
  int num_late = 0;
};

class OverloadRun {
 public:
  OverloadRun(double per_second, AdmissionControl* control)
      : per_second_(per_second), control_(control) {
    EngineOptions options;
    options.max_num_seqs = 12;
    engine_ = std::make_unique<Engine>(executor_, *tokenizer_, options, nullptr);
  }

  Outcome run() {
    TimePoint now{};
    const TimePoint end = now + from_ms(kEndMs);
    TimePoint next = now + gap();
    while (now < end) {
      for (; next <= now; next += gap()) arrive(next, now);
      const StepReport report = engine_->step(now);
      now = report.executor_time > Duration{} ? now + report.executor_time : std::max(now, next);
    }
    int num_in_time = 0;
    for (const auto& [id, transcript] : sink_.transcripts) {
      if (transcript.finishes.empty()) continue;
      const bool in_time = transcript.finishes.front() == FinishReason::kMaxTokens;
      (in_time ? num_in_time : outcome_.num_late) += 1;
    }
    outcome_.goodput = num_in_time / (kEndMs / 1000);
    return outcome_;
  }

 private:
  Duration gap() {
    const double uniform = static_cast<double>(random_bits(1, 0, index_++) >> 11) * 0x1p-53;
    return from_ms(-std::log(1 - uniform) * 1000 / per_second_);
  }
  void arrive(TimePoint arrival, TimePoint now) {
    const uint64_t id = static_cast<uint64_t>(++outcome_.num_offered);
    Request request = test_request(id, {}, kAnswerTokens);
    for (int i = 0; i < kPromptTokens; ++i) {  // no two begin alike
      request.prompt.push_back(
          static_cast<TokenId>(random_bits(id, 1, static_cast<uint64_t>(i)) % 256));
    }
    request.arrival = arrival;
    request.total_deadline = arrival + from_ms(kDeadlineMs);
    if (control_ != nullptr) {
      AdmissionRequest asked;
      asked.num_prompt_tokens = kPromptTokens;
      asked.shape.max_tokens = kAnswerTokens;
      asked.total_within_ms = to_ms(*request.total_deadline - now);
      if (control_->decide(engine_->snapshot(), asked, now).decision != Decision::kAccept) {
        ++outcome_.num_refused;
        return;
      }
    }
    if (!engine_->submit(std::move(request), &sink_).ok()) ++outcome_.num_refused;
  }

  const double per_second_;
  AdmissionControl* const control_;
  const std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  FakeExecutor executor_{slow_machine()};
  CollectingSink sink_;  // outlives the engine
  std::unique_ptr<Engine> engine_;
  uint64_t index_ = 0;
  Outcome outcome_;
};

Outcome serve(double per_second, const DegradeProfile* profile) {
  if (profile == nullptr) return OverloadRun(per_second, nullptr).run();
  AdmissionOptions options;
  options.degradation.profile = *profile;
  AdmissionControl control(options);
  return OverloadRun(per_second, &control).run();
}

TEST(EngineOverload, TenTimesTheLoad_KeepsTheGoodputOfThePeakAndWithoutAdmissionCollapses) {
  constexpr DegradeProfile kOff = DegradeProfile::kOff;
  constexpr DegradeProfile kGentle = DegradeProfile::kGentle;
  double peak = 0;
  for (double per_second = 0.4; per_second < 2.5; per_second += 0.3) {
    peak = std::max({peak, serve(per_second, nullptr).goodput, serve(per_second, &kOff).goodput});
  }
  ASSERT_GT(peak, 0.5);
  for (const DegradeProfile* profile : {&kOff, &kGentle}) {
    const Outcome guarded = serve(10 * peak, profile);
    EXPECT_GE(guarded.goodput, 0.9 * peak);
    EXPECT_LE(guarded.num_late, guarded.num_offered / 100);
    RecordProperty("goodput_percent_of_peak",
                   std::to_string(std::lround(100 * guarded.goodput / peak)));
  }
  const Outcome open = serve(10 * peak, nullptr);
  EXPECT_LT(open.goodput, 0.3 * peak);
  RecordProperty("unguarded_percent_of_peak",
                 std::to_string(std::lround(100 * open.goodput / peak)));
}

}  // namespace
}  // namespace sparrow
