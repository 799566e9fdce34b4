#include "model/cuda/decode_trials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "base/log.h"
#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "model/cuda/trial_values.h"

namespace sparrow {
namespace {

// Sequences at once, and tokens of each as far as there is room. The last makes more ranges of
// attention than one level of merging takes.
struct TrialSize {
  int32_t num_rows;
  int32_t context;
};
constexpr TrialSize kSizes[] = {{1, 512}, {8, 512}, {64, 512}, {1, 2048}};
constexpr int kRuns = 5;          // timed; the fastest counts
constexpr int kChecks = 8;        // replays that are compared
constexpr double kMargin = 0.97;  // of the plain way's time: within it, the plain way stays
// ||a - b|| / ||b|| of two ways that are both right: other orders of sums, which bf16 rounds to
// different sides, grow over the layers of a model on random keys and values. A mistake is far
// more.
constexpr double kMostError = 5e-2;

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
  // A size of kSizes with what the plan has room for: whole blocks, then one block with one token.
  struct Trial {
    int32_t num_rows = 0;
    int32_t num_blocks = 0;  // full ones, of each sequence
  };
  // Of one way, for each trial.
  struct Outcome {
    std::vector<double> us;
    std::vector<std::vector<float>> logits;  // of all rows
    double error = 0;                        // against the plain way, the largest
  };

  void choose_trials();
  BatchPlan plan_of(const Trial& trial) const;
  Status fill_cache();
  void poison_written_cells(const Trial& trial);
  Result<std::vector<float>> logits_of(int32_t num_rows);
  Status check(const Trial& trial, GpuGraph& graph, std::vector<float>& logits);
  Result<Outcome> try_way(const GpuForwardChoices& choices, const Outcome* expected);

  const DecodeTrialScene& scene_;
  GpuForward& forward_;
  std::vector<Trial> trials_;
  int32_t num_full_blocks_ = 0;  // of the largest trial; behind them lie the written ones
};

// The written blocks of every trial lie behind all full ones, so that no trial spoils another's.
void DecodeTrials::choose_trials() {
  const GpuMemoryPlan& plan = scene_.plan;
  int32_t most_rows = 0;
  for (const TrialSize& size : kSizes) {
    if (size.num_rows <= plan.sizes.max_graph_rows) most_rows = std::max(most_rows, size.num_rows);
  }
  for (const TrialSize& size : kSizes) {
    if (size.num_rows > plan.sizes.max_graph_rows) continue;
    const int32_t wanted = std::min(size.context, plan.max_context) / kGpuBlockTokens - 1;
    const int32_t room = (plan.num_blocks - most_rows) / size.num_rows;
    const Trial trial = {size.num_rows, std::min(wanted, room)};
    if (trial.num_blocks <= 0) continue;
    const bool is_known = std::any_of(trials_.begin(), trials_.end(), [&](const Trial& other) {
      return other.num_rows == trial.num_rows && other.num_blocks == trial.num_blocks;
    });
    if (is_known) continue;
    trials_.push_back(trial);
    num_full_blocks_ = std::max(num_full_blocks_, trial.num_rows * trial.num_blocks);
  }
}

// Sequences of equal length, each about to get the first token of a block. Those blocks lie behind
// all others, one after the other.
BatchPlan DecodeTrials::plan_of(const Trial& trial) const {
  BatchPlan plan;
  for (int32_t row = 0; row < trial.num_rows; ++row) {
    Span span;
    span.slot = row;
    span.first_position = trial.num_blocks * kGpuBlockTokens;
    span.num_tokens = 1;
    span.num_logit_rows = 1;
    span.token_begin = row;
    span.block_begin = row * (trial.num_blocks + 1);
    span.num_blocks = trial.num_blocks + 1;
    plan.spans.push_back(span);
    plan.token_ids.push_back(row % scene_.config.vocab_size);
    for (int32_t block = 0; block < trial.num_blocks; ++block) {
      plan.block_ids.push_back(row * trial.num_blocks + block);
    }
    plan.block_ids.push_back(num_full_blocks_ + row);
  }
  return plan;
}

void DecodeTrials::poison_written_cells(const Trial& trial) {
  const auto cells =
      static_cast<size_t>(kGpuBlockTokens) * static_cast<size_t>(scene_.config.num_kv_heads);
  const bool is_int8 = scene_.kv_type == GpuKvFormat::kInt8;
  const size_t block_bytes =
      cells * static_cast<size_t>(scene_.config.head_dim) * (is_int8 ? 1 : 2);
  const size_t scale_bytes = cells * sizeof(float);
  const auto begin = static_cast<size_t>(num_full_blocks_);
  const auto count = static_cast<size_t>(trial.num_rows);
  const auto fill = [&](void* memory, size_t bytes) {
    if (memory == nullptr) return;
    scene_.device.fill(static_cast<std::byte*>(memory) + begin * bytes, 0xff, count * bytes);
  };
  for (int32_t index = 0; index < scene_.config.num_layers; ++index) {
    const GpuKvLayer& layer = scene_.cache.layer(index);
    fill(layer.keys, block_bytes);
    fill(layer.values, block_bytes);
    fill(layer.key_scales, scale_bytes);
    fill(layer.value_scales, scale_bytes);
  }
}

// Random keys and values: with equal ones any weights of attention would do.
Status DecodeTrials::fill_cache() {
  const std::vector<uint16_t> pattern = trial_pattern(GpuFloat::kBF16);  // bits like any as int8
  const std::vector<float> scales(1024, 0.01f);
  const auto values = std::as_bytes(std::span(pattern));
  const size_t num_tokens = static_cast<size_t>(num_full_blocks_) * kGpuBlockTokens;
  const size_t value_size = scene_.kv_type == GpuKvFormat::kInt8 ? 1 : 2;
  const size_t bytes = num_tokens * static_cast<size_t>(scene_.config.kv_size()) * value_size;
  const size_t scale_bytes =
      num_tokens * static_cast<size_t>(scene_.config.num_kv_heads) * sizeof(float);
  for (int32_t index = 0; index < scene_.config.num_layers; ++index) {
    const GpuKvLayer& layer = scene_.cache.layer(index);
    for (void* memory : {layer.keys, layer.values}) {
      RETURN_IF_ERROR(repeat_pattern(scene_.staging, memory, values, bytes));
    }
    for (float* memory : {layer.key_scales, layer.value_scales}) {
      if (memory == nullptr) continue;
      RETURN_IF_ERROR(
          repeat_pattern(scene_.staging, memory, std::as_bytes(std::span(scales)), scale_bytes));
    }
  }
  return ok_status();
}

Result<std::vector<float>> DecodeTrials::logits_of(int32_t num_rows) {
  const auto count = static_cast<size_t>(scene_.config.vocab_size) * static_cast<size_t>(num_rows);
  ASSIGN_OR_RETURN(const GpuBuffer pinned, GpuBuffer::create(scene_.device, count * sizeof(float),
                                                             GpuBuffer::Kind::kPinned));
  scene_.device.copy_to_host(pinned.as<void>(), scene_.logits, pinned.size_bytes());
  RETURN_IF_ERROR(scene_.device.synchronize());
  return std::vector<float>(pinned.as<float>(), pinned.as<float>() + count);
}

// Nothing in a step depends on who comes first: the same work gives the same bits. What a library
// computes of many rows may be an exception. kDataLoss: it does not hold.
Status DecodeTrials::check(const Trial& trial, GpuGraph& graph, std::vector<float>& logits) {
  constexpr double kMostDrift = 1e-3;
  for (int i = 0; i < kChecks; ++i) {
    poison_written_cells(trial);
    RETURN_IF_ERROR(scene_.runner.replay_us(graph).status());
    ASSIGN_OR_RETURN(std::vector<float> again, logits_of(trial.num_rows));
    const bool is_same = std::memcmp(again.data(), logits.data(), again.size() * 4) == 0;
    const bool may_drift = trial.num_rows > kMaxRowDots;
    if (!is_same && !(may_drift && relative_error(again, logits) <= kMostDrift)) {
      return data_loss(fmt::format("replays of {} rows differ", trial.num_rows));
    }
    logits = std::move(again);
  }
  return ok_status();
}

Result<DecodeTrials::Outcome> DecodeTrials::try_way(const GpuForwardChoices& choices,
                                                    const Outcome* expected) {
  forward_.set_choices(choices);
  // Whatever a way that failed left there.
  scene_.device.fill(scene_.arrivals, 0, scene_.arrivals_bytes);
  Outcome outcome;
  for (size_t i = 0; i < trials_.size(); ++i) {
    const Trial& trial = trials_[i];
    const BatchPlan plan = plan_of(trial);
    ASSIGN_OR_RETURN(const std::unique_ptr<GpuGraph> graph,
                     scene_.runner.prepare_decode(plan, scene_.logits));
    double best_us = std::numeric_limits<double>::infinity();
    for (int run = 0; run <= kRuns; ++run) {
      if (run == 0) poison_written_cells(trial);
      ASSIGN_OR_RETURN(const double us, scene_.runner.replay_us(*graph));
      if (run > 0) best_us = std::min(best_us, us);  // the first warms up
    }
    outcome.us.push_back(best_us);
    ASSIGN_OR_RETURN(std::vector<float> logits, logits_of(trial.num_rows));
    if (expected != nullptr) {
      const double error = relative_error(logits, expected->logits[i]);
      if (!(error <= kMostError)) {
        return data_loss(
            fmt::format("its logits are off by {:.1e} for {} rows", error, trial.num_rows));
      }
      outcome.error = std::max(outcome.error, error);
      RETURN_IF_ERROR(check(trial, *graph, logits));
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
  choose_trials();
  if (trials_.empty()) {
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
    log_debug("Decode steps, {}: {:.2f} of the plain way's time, logits within {:.1e}", way.name,
              share, outcome->error);
    if (share >= best_share) continue;
    best_share = share;
    best = way;
    best_outcome = std::move(outcome).value();
  }
  forward_.set_choices(best.choices);
  scene_.device.fill(scene_.arrivals, 0, scene_.arrivals_bytes);
  std::string line = fmt::format("Decode steps: {}", best.name);
  for (size_t i = 0; i < trials_.size(); ++i) {
    line += fmt::format("; {} x {} tokens {:.2f} ms (plain {:.2f})", trials_[i].num_rows,
                        trials_[i].num_blocks * kGpuBlockTokens, best_outcome.us[i] / 1e3,
                        plain.us[i] / 1e3);
  }
  return line;
}

}  // namespace

Result<std::string> choose_decode(const DecodeTrialScene& scene, const GpuForwardChoices& newest,
                                  GpuForward& forward) {
  return DecodeTrials(scene, forward).run(newest);
}

}  // namespace sparrow
