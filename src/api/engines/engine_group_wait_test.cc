// What admission predicts from a group's snapshot, against what requests get in a model of several
// engines.

#include <gtest/gtest.h>

#include <cmath>

#include "admission/predicted_wait.h"
#include "admission/test_support.h"
#include "api/engines/engine_group.h"
#include "base/random.h"
#include "engine/test_support.h"

namespace sparrow::api {
namespace {

class ModelPort final : public EnginePort {
 public:
  explicit ModelPort(QueueModel& model, const double& now_ms) : model_(model), now_ms_(now_ms) {}
  Status submit(Request request, EventSink*) override {
    Job job;
    job.id = request.id;
    job.arrival_ms = now_ms_;
    job.num_prompt_tokens = static_cast<int>(request.prompt.size());
    job.num_output_tokens = request.stop.max_tokens;
    model_.submit(job);
    return ok_status();
  }
  void cancel(uint64_t) override {}
  EngineSnapshot snapshot() const override { return model_.load(); }

 private:
  QueueModel& model_;
  const double& now_ms_;
};

// Jobs arrive at random at several models; then comes one more.
class Fleet {
 public:
  Fleet(size_t num_engines, uint64_t seed) : models_(num_engines), seed_(seed) {
    std::vector<std::unique_ptr<EnginePort>> ports;
    for (QueueModel& model : models_) ports.push_back(std::make_unique<ModelPort>(model, now_ms_));
    group_ = std::make_unique<EngineGroup>(std::move(ports),
                                           EngineGroupOptions{.prefix_affinity = false});
  }
  double random() { return static_cast<double>(random_bits(seed_, 0, index_++) >> 11) * 0x1p-53; }
  int submit(uint64_t id) {
    const int num_prompt = 20 + static_cast<int>(200 * random());
    const int num_output = 1 + static_cast<int>(-48 * std::log(1 - random() * 0.999));
    EXPECT_TRUE(
        group_->submit(test_request(id, prompt_of(id, num_prompt), num_output), &sink_).ok());
    return num_prompt;
  }
  void run_until(double ms) {
    now_ms_ = ms;
    for (QueueModel& model : models_) {
      while (model.now_ms() < ms) model.step(ms);
    }
  }
  bool idle() const {
    return std::all_of(models_.begin(), models_.end(), [](const auto& one) { return one.idle(); });
  }
  double wait_of(uint64_t id) const {
    for (const QueueModel& model : models_) {
      for (const Job& job : model.finished) {
        if (job.id == id) return job.first_token_ms - job.arrival_ms;
      }
    }
    return -1;
  }

  double now_ms_ = 0;
  std::vector<QueueModel> models_;
  std::unique_ptr<EngineGroup> group_;

 private:
  const uint64_t seed_;
  uint64_t index_ = 0;
  CollectingSink sink_;
};

TEST(EngineGroupWait, PredictedForANewcomer_IsRightOnAverage) {
  for (const size_t num_engines : {1u, 3u}) {
    double predicted_sum = 0, actual_sum = 0;
    int num_far = 0;
    constexpr int kTrials = 200;
    for (uint64_t seed = 1; seed <= kTrials; ++seed) {
      Fleet fleet(num_engines, seed);
      const int num_jobs = static_cast<int>((40 + 120 * fleet.random()) * num_engines);
      for (int i = 0; i < num_jobs; ++i) {
        fleet.submit(1);
        fleet.run_until(fleet.now_ms_ + 300 * fleet.random() / static_cast<double>(num_engines));
      }
      fleet.run_until(fleet.now_ms_ + 1);  // and all of it is counted
      const EngineSnapshot load = fleet.group_->snapshot();
      const int num_prompt = fleet.submit(7);
      const double predicted_ms = predicted_first_token_ms(load, {}, num_prompt);
      while (!fleet.idle()) fleet.run_until(fleet.now_ms_ + 1000);
      const double actual_ms = fleet.wait_of(7);
      ASSERT_GE(actual_ms, 0);
      predicted_sum += predicted_ms;
      actual_sum += actual_ms;
      num_far += std::abs(predicted_ms - actual_ms) > 0.5 * actual_ms + 3000;
    }
    EXPECT_NEAR(predicted_sum / actual_sum, 1.0, 0.15) << num_engines << " engines";
    EXPECT_LE(num_far, kTrials / 20) << num_engines << " engines";
    RecordProperty("predicted over actual", std::to_string(predicted_sum / actual_sum));
    std::printf("%zu engines: predicted %.0f ms, actual %.0f ms on average, %d far\n", num_engines,
                predicted_sum / kTrials, actual_sum / kTrials, num_far);
  }
}

// Three engines must take about three times what one takes, and none of them may stand idle.
TEST(EngineGroupWait, ThreeEngines_FinishInAThirdOfTheTime) {
  const auto time_for = [](size_t num_engines, int num_jobs) {
    Fleet fleet(num_engines, 5);
    for (int i = 0; i < num_jobs; ++i) {
      fleet.submit(static_cast<uint64_t>(i) + 1);
      fleet.run_until(fleet.now_ms_ + 1);
    }
    while (!fleet.idle()) fleet.run_until(fleet.now_ms_ + 100);
    return fleet.now_ms_;
  };
  const double one_ms = time_for(1, 600);
  const double three_ms = time_for(3, 600);
  std::printf("600 requests: %.0f s on one engine, %.0f s on three\n", one_ms / 1e3,
              three_ms / 1e3);
  EXPECT_LT(three_ms, one_ms / 2.7);
}

}  // namespace
}  // namespace sparrow::api
