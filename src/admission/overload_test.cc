// Admission in front of a small model of an engine, in simulated time: what comes of ten times the
// load it can serve, and whether those who were sent away are told the truth.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <queue>

#include "admission/admission_control.h"
#include "admission/test_support.h"
#include "base/random.h"

namespace sparrow {
namespace {

constexpr double kDeadlineMs = 20'000;

// Poisson arrivals by seed.
class Arrivals {
 public:
  Arrivals(uint64_t seed, double per_second) : seed_(seed), per_second_(per_second) {}
  double next_gap_ms() {
    const double uniform = static_cast<double>(random_bits(seed_, 0, index_++) >> 11) * 0x1p-53;
    return -std::log(1 - uniform) * 1000 / per_second_;
  }

 private:
  const uint64_t seed_;
  const double per_second_;
  uint64_t index_ = 0;
};

struct Outcome {
  double goodput = 0;  // answers in time, per second
  int num_offered = 0;
  int num_refused = 0;
  int num_late = 0;
};

// Ten minutes of load; every client waits kDeadlineMs for its whole answer.
Outcome serve(double per_second, AdmissionControl* control, uint64_t seed = 1) {
  constexpr double kEndMs = 600'000;
  QueueModel model;
  Arrivals arrivals(seed, per_second);
  Outcome outcome;
  double next_ms = arrivals.next_gap_ms();
  while (model.now_ms() < kEndMs) {
    for (; next_ms <= model.now_ms(); next_ms += arrivals.next_gap_ms()) {
      ++outcome.num_offered;
      Job job;
      job.arrival_ms = next_ms;
      job.deadline_ms = next_ms + kDeadlineMs;
      if (control != nullptr) {
        AdmissionRequest request;
        request.num_prompt_tokens = job.num_prompt_tokens;
        request.shape.max_tokens = 4 * job.num_output_tokens;
        // Arrivals of the last step are decided at its end: that much is gone already.
        request.total_within_ms = job.deadline_ms - model.now_ms();
        if (control->decide(model.load(), request, model.now()).decision != Decision::kAccept) {
          ++outcome.num_refused;
          continue;
        }
      }
      model.submit(job);
    }
    model.step(next_ms);
  }
  int num_in_time = 0;
  for (const Job& job : model.finished) {
    num_in_time += job.in_time ? 1 : 0;
    outcome.num_late += job.in_time ? 0 : 1;
  }
  outcome.goodput = num_in_time / (kEndMs / 1000);
  return outcome;
}

// The most that any load gets out of the model, guarded or not.
double peak_goodput() {
  double peak = 0;
  for (double per_second = 0.2; per_second < 3; per_second += 0.1) {
    AdmissionControl control({});
    peak =
        std::max({peak, serve(per_second, nullptr).goodput, serve(per_second, &control).goodput});
  }
  return peak;
}

TEST(Overload, TenTimesTheLoad_KeepsTheGoodputOfThePeak) {
  const double peak = peak_goodput();
  ASSERT_GT(peak, 0.5);
  for (const DegradeProfile profile : {DegradeProfile::kOff, DegradeProfile::kGentle}) {
    AdmissionOptions options;
    options.degradation.profile = profile;
    AdmissionControl control(options);
    const Outcome outcome = serve(10 * peak, &control);
    EXPECT_GE(outcome.goodput, 0.9 * peak) << static_cast<int>(profile);
    EXPECT_LE(outcome.num_late, outcome.num_offered / 100);
    EXPECT_GT(outcome.num_refused, outcome.num_offered * 8 / 10);
    RecordProperty("goodput_percent_of_peak",
                   std::to_string(std::lround(100 * outcome.goodput / peak)));
  }
}

TEST(Overload, WithoutAdmission_ItCollapses) {
  const double peak = peak_goodput();
  const Outcome outcome = serve(10 * peak, nullptr);
  EXPECT_LT(outcome.goodput, 0.3 * peak) << "answers begin when their clients have nearly left";
}

TEST(Overload, BelowThePeak_NobodyIsRefused) {
  const double peak = peak_goodput();
  AdmissionControl control({});
  const Outcome outcome = serve(0.6 * peak, &control);
  EXPECT_LE(outcome.num_refused, outcome.num_offered / 50);
  EXPECT_LE(outcome.num_late, outcome.num_offered / 100);
}

// Clients that come back exactly when they were told, as SDKs do, and say so.
struct Honesty {
  int num_returns = 0;
  int num_let_in = 0;
};

Honesty follow_retry_after(double burst_per_second, double calm_per_second, uint64_t seed) {
  struct Client {
    double at_ms;
    bool is_retry;
    bool operator>(const Client& other) const { return at_ms > other.at_ms; }
  };
  QueueModel model;
  AdmissionOptions options;
  options.max_queue_wait_ms = 10'000;
  options.degradation.profile = DegradeProfile::kOff;
  AdmissionControl control(options);
  std::priority_queue<Client, std::vector<Client>, std::greater<>> clients;
  Arrivals burst(seed, burst_per_second);
  Arrivals calm(seed + 1000, calm_per_second);
  double at_ms = 0;
  while (at_ms < 600'000) {  // a minute of each in turn
    const bool in_burst = static_cast<int64_t>(at_ms / 60'000) % 2 == 0;
    at_ms += in_burst ? burst.next_gap_ms() : calm.next_gap_ms();
    clients.push({at_ms, false});
  }
  Honesty honesty;
  while (!clients.empty() || !model.idle()) {
    while (!clients.empty() && clients.top().at_ms <= model.now_ms()) {
      const Client client = clients.top();
      clients.pop();
      Job job;
      job.arrival_ms = client.at_ms;
      AdmissionRequest request;
      request.num_prompt_tokens = job.num_prompt_tokens;
      request.is_retry = client.is_retry;
      const Verdict verdict = control.decide(model.load(), request, model.now());
      const bool let_in = verdict.decision == Decision::kAccept;
      if (client.is_retry) {
        ++honesty.num_returns;
        honesty.num_let_in += let_in ? 1 : 0;
      }
      if (let_in) {
        model.submit(job);
      } else {
        clients.push({model.now_ms() + verdict.retry_after_ms, true});
      }
    }
    model.step(clients.empty() ? model.now_ms() + 1000 : clients.top().at_ms);
  }
  return honesty;
}

TEST(Overload, WhoComesBackWhenTold_IsLetIn) {
  Honesty sum;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    for (const double burst : {2.0, 3.0}) {
      const Honesty one = follow_retry_after(burst, 0.2, seed);
      sum.num_returns += one.num_returns;
      sum.num_let_in += one.num_let_in;
    }
  }
  ASSERT_GT(sum.num_returns, 500);
  EXPECT_GE(sum.num_let_in, 0.8 * sum.num_returns) << sum.num_let_in << " of " << sum.num_returns;
  RecordProperty("let_in_percent", std::to_string(100 * sum.num_let_in / sum.num_returns));
}

}  // namespace
}  // namespace sparrow
