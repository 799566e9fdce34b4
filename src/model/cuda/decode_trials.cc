#include "model/cuda/decode_trials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/log.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

constexpr int32_t kContext = 512;    // tokens of each sequence, if there is room
constexpr int kRuns = 5;             // timed; the fastest counts
constexpr int kChecks = 8;           // replays whose logits are compared
constexpr double kMargin = 0.97;     // of the plain way's time: within it, the plain way stays
constexpr double kMostError = 1e-2;  // ||a - b|| / ||b||, as between us and PyTorch
constexpr size_t kPatternValues = 65521;

struct Way {
  const char* name;
  GpuForwardChoices choices;
};

class DecodeTrials {
 public:
  DecodeTrials(const DecodeTrialScene& scene, GpuForward& forward)
      : scene_(scene), forward_(forward) {}

  Result<std::string> run(const GpuForwardChoices& newest);

 private:
  // Of one way, for each number of rows.
  struct Outcome {
    std::vector<double> us;
    std::vector<std::vector<float>> logits;  // of the last row
  };

  BatchPlan plan_of(int32_t num_rows) const;
  Status fill_cache();
  Result<std::vector<float>> last_logits(int32_t num_rows);
  Result<Outcome> try_way(const GpuForwardChoices& choices, const Outcome* expected);

  const DecodeTrialScene& scene_;
  GpuForward& forward_;
  std::vector<int32_t> row_counts_;
  int32_t num_blocks_ = 0;  // of a sequence
};

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = double{a[i]} - double{b[i]};
    difference += d * d;
    norm += double{b[i]} * double{b[i]};
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

// Sequences of equal length, each about to get one more token.
BatchPlan DecodeTrials::plan_of(int32_t num_rows) const {
  BatchPlan plan;
  for (int32_t row = 0; row < num_rows; ++row) {
    Span span;
    span.slot = row;
    span.first_position = num_blocks_ * kGpuBlockTokens - 1;
    span.num_tokens = 1;
    span.num_logit_rows = 1;
    span.token_begin = row;
    span.block_begin = row * num_blocks_;
    span.num_blocks = num_blocks_;
    plan.spans.push_back(span);
    plan.token_ids.push_back(row % scene_.config.vocab_size);
    for (int32_t block = 0; block < num_blocks_; ++block) {
      plan.block_ids.push_back(row * num_blocks_ + block);
    }
  }
  return plan;
}

// Random keys and values: with equal ones any weights of attention would do.
Status DecodeTrials::fill_cache() {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> pattern(kPatternValues);
  const bool is_int8 = scene_.cache.layer(0).format == GpuKvFormat::kInt8;
  for (uint16_t& bits : pattern) {
    bits = is_int8 ? static_cast<uint16_t>(random()) : bf16_from_float(normal(random));
  }
  const std::vector<float> scales(kPatternValues, 0.01f);
  const auto num_tokens =
      static_cast<size_t>(row_counts_.back()) * static_cast<size_t>(num_blocks_) * kGpuBlockTokens;
  const auto upload = [&](void* to, const void* from, size_t total) {
    const size_t piece = kPatternValues * (from == scales.data() ? 4 : 2);
    for (size_t begin = 0; begin < total; begin += piece) {
      RETURN_IF_ERROR(scene_.staging.upload(static_cast<std::byte*>(to) + begin, from,
                                            std::min(piece, total - begin)));
    }
    return ok_status();
  };
  const size_t bytes =
      num_tokens * static_cast<size_t>(scene_.config.kv_size()) * (is_int8 ? 1 : 2);
  const size_t scale_bytes =
      num_tokens * static_cast<size_t>(scene_.config.num_kv_heads) * sizeof(float);
  for (int32_t index = 0; index < scene_.config.num_layers; ++index) {
    const GpuKvLayer& layer = scene_.cache.layer(index);
    RETURN_IF_ERROR(upload(layer.keys, pattern.data(), bytes));
    RETURN_IF_ERROR(upload(layer.values, pattern.data(), bytes));
    if (!is_int8) continue;
    RETURN_IF_ERROR(upload(layer.key_scales, scales.data(), scale_bytes));
    RETURN_IF_ERROR(upload(layer.value_scales, scales.data(), scale_bytes));
  }
  return ok_status();
}

Result<std::vector<float>> DecodeTrials::last_logits(int32_t num_rows) {
  const auto vocab = static_cast<size_t>(scene_.config.vocab_size);
  ASSIGN_OR_RETURN(const GpuBuffer pinned, GpuBuffer::create(scene_.device, vocab * sizeof(float),
                                                             GpuBuffer::Kind::kPinned));
  scene_.device.copy_to_host(pinned.as<void>(),
                             scene_.logits + static_cast<size_t>(num_rows - 1) * vocab,
                             pinned.size_bytes());
  RETURN_IF_ERROR(scene_.device.synchronize());
  return std::vector<float>(pinned.as<float>(), pinned.as<float>() + vocab);
}

// kDataLoss: the logits are not those that were expected.
Result<DecodeTrials::Outcome> DecodeTrials::try_way(const GpuForwardChoices& choices,
                                                    const Outcome* expected) {
  forward_.set_choices(choices);
  Outcome outcome;
  for (size_t i = 0; i < row_counts_.size(); ++i) {
    const int32_t num_rows = row_counts_[i];
    const BatchPlan plan = plan_of(num_rows);
    ASSIGN_OR_RETURN(const std::unique_ptr<GpuGraph> graph,
                     scene_.runner.prepare_decode(plan, scene_.logits));
    double best_us = std::numeric_limits<double>::infinity();
    for (int run = 0; run <= kRuns; ++run) {
      ASSIGN_OR_RETURN(const double us, scene_.runner.replay_us(*graph));
      if (run > 0) best_us = std::min(best_us, us);  // the first warms up
    }
    outcome.us.push_back(best_us);
    ASSIGN_OR_RETURN(std::vector<float> logits, last_logits(num_rows));
    for (int check = 0; expected != nullptr && check < kChecks; ++check) {
      const double error = relative_error(logits, expected->logits[i]);
      if (!(error <= kMostError)) {
        return data_loss(fmt::format("its logits are off by {:.1e} for {} rows", error, num_rows));
      }
      RETURN_IF_ERROR(scene_.runner.replay_us(*graph).status());
      ASSIGN_OR_RETURN(logits, last_logits(num_rows));
    }
    outcome.logits.push_back(std::move(logits));
  }
  return outcome;
}

// The mean of the ratios: a step of one row counts as much as one of many.
double share_of(const std::vector<double>& us, const std::vector<double>& plain_us) {
  double sum = 0;
  for (size_t i = 0; i < us.size(); ++i) sum += us[i] / plain_us[i];
  return sum / static_cast<double>(us.size());
}

Result<std::string> DecodeTrials::run(const GpuForwardChoices& newest) {
  const GpuMemoryPlan& plan = scene_.plan;
  for (const int32_t rows : {1, 8, 64}) {
    if (rows <= plan.sizes.max_graph_rows) row_counts_.push_back(rows);
  }
  const int32_t room = plan.num_blocks / row_counts_.back();
  num_blocks_ = std::min({kContext / kGpuBlockTokens, plan.max_context / kGpuBlockTokens, room});
  if (num_blocks_ == 0) {
    forward_.set_choices(GpuForwardChoices::plain());
    return std::string("Decode steps: the plain way; the KV cache is too small for trials");
  }
  RETURN_IF_ERROR(fill_cache());
  ASSIGN_OR_RETURN(const Outcome plain, try_way(GpuForwardChoices::plain(), nullptr));
  Way best = {"plain", GpuForwardChoices::plain()};
  Outcome best_outcome = plain;
  double best_share = kMargin;
  GpuForwardChoices one_by_one = newest;
  one_by_one.overlap_launches = false;
  for (const Way& way : {Way{"fused", one_by_one}, Way{"fused and overlapping", newest}}) {
    Result<Outcome> outcome = try_way(way.choices, &plain);
    if (!outcome.ok()) {
      log_warning("Decode steps: the way \"{}\" is left out: {}", way.name, outcome.message());
      continue;
    }
    const double share = share_of(outcome->us, plain.us);
    log_debug("Decode steps, {}: {:.2f} of the plain way's time", way.name, share);
    if (share >= best_share) continue;
    best_share = share;
    best = way;
    best_outcome = std::move(outcome).value();
  }
  forward_.set_choices(best.choices);
  std::string line = fmt::format("Decode steps: {}", best.name);
  for (size_t i = 0; i < row_counts_.size(); ++i) {
    line += fmt::format("; {} rows {:.2f} ms (plain {:.2f})", row_counts_[i],
                        best_outcome.us[i] / 1e3, plain.us[i] / 1e3);
  }
  return line;
}

}  // namespace

Result<std::string> choose_decode(const DecodeTrialScene& scene, const GpuForwardChoices& newest,
                                  GpuForward& forward) {
  return DecodeTrials(scene, forward).run(newest);
}

}  // namespace sparrow
