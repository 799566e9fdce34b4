#include "api/engines/routing.h"

#include <algorithm>
#include <array>
#include <limits>

#include "api/engines/prefix_affinity.h"
#include "base/check.h"

namespace sparrow::api {
namespace {

// While no step was measured: only proportions matter. A row is never free, or a flat measurement
// would send everybody to one engine until its places are full.
constexpr double kUnknownFixedMs = 16;
constexpr double kLeastRowShare = 1.0 / 256;

// Mean of what is above zero; 0 where nothing is.
class KnownMean {
 public:
  void add(double value) {
    if (!(value > 0)) return;
    sum_ += value;
    ++count_;
  }
  double value() const { return count_ > 0 ? sum_ / count_ : 0; }

 private:
  double sum_ = 0;
  int count_ = 0;
};

LoadSnapshot with_line(LoadSnapshot load) {
  if (!load.has_step_cost) {
    load.has_step_cost = true;
    load.step_fixed_ms = kUnknownFixedMs;
    load.step_row_ms = 1;
    load.max_step_ms = 0;  // in other units than this line
  }
  load.step_row_ms = std::max(load.step_row_ms, load.step_fixed_ms * kLeastRowShare);
  return load;
}

double done_ms(const EngineLoad& engine, int64_t num_prompt_tokens, double num_output_tokens) {
  const LoadSnapshot load = with_line(engine.load);
  return predicted_first_token_ms(load, engine.ahead, num_prompt_tokens) +
         predicted_answer_ms(load, engine.ahead, num_output_tokens, 0);
}

int num_sequences(const EngineLoad& engine) {
  return engine.load.num_running + engine.load.num_waiting + engine.ahead.num_sequences;
}

// The best by `is_better(a, b)` of indices, begun at another one each time.
template <typename IsBetter>
int best_of(std::span<const EngineLoad> engines, uint64_t turn, IsBetter&& is_better) {
  int best = -1;
  for (size_t i = 0; i < engines.size(); ++i) {
    const size_t at = (i + turn) % engines.size();
    if (!engines[at].is_open) continue;
    if (best < 0 || is_better(at, static_cast<size_t>(best))) best = static_cast<int>(at);
  }
  return best;
}

}  // namespace

void share_pace(std::span<EngineLoad> engines) {
  KnownMean fixed_ms, row_ms, step_ms, prefill_rate, output_tokens, cached_share;
  bool has_step_cost = false;
  for (const EngineLoad& engine : engines) {
    const LoadSnapshot& load = engine.load;
    if (!engine.is_open) continue;
    if (load.has_step_cost) {
      has_step_cost = true;
      fixed_ms.add(load.step_fixed_ms);
      row_ms.add(load.step_row_ms);
    }
    step_ms.add(load.step_ms_mean);
    prefill_rate.add(load.prefill_tokens_per_second);
    output_tokens.add(load.mean_output_tokens);
    cached_share.add(load.cached_prompt_share);
  }
  for (EngineLoad& engine : engines) {
    LoadSnapshot& load = engine.load;
    load.has_step_cost = has_step_cost;
    load.step_fixed_ms = fixed_ms.value();
    load.step_row_ms = row_ms.value();
    load.step_ms_mean = step_ms.value();
    load.prefill_tokens_per_second = prefill_rate.value();
    load.mean_output_tokens = output_tokens.value();
    load.cached_prompt_share = cached_share.value();
  }
}

int choose_engine(std::span<const EngineLoad> engines, int64_t num_prompt_tokens,
                  double num_output_tokens, uint64_t turn) {
  CHECK(engines.size() <= kMaxEngines);
  std::array<double, kMaxEngines> load_ms{};
  std::array<double, kMaxEngines> predicted{};
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < engines.size(); ++i) {
    if (!engines[i].is_open) continue;
    const int64_t left =
        num_prompt_tokens - std::min<int64_t>(engines[i].num_cached_tokens, num_prompt_tokens);
    load_ms[i] = done_ms(engines[i], 0, num_output_tokens);
    predicted[i] = done_ms(engines[i], left, num_output_tokens);
    least = std::min(least, load_ms[i]);
  }
  const auto is_fair = [&](size_t i) { return load_ms[i] <= kFairness * least; };
  return best_of(engines, turn, [&](size_t a, size_t b) {
    if (is_fair(a) != is_fair(b)) return is_fair(a);
    if (predicted[a] != predicted[b]) return predicted[a] < predicted[b];
    return num_sequences(engines[a]) < num_sequences(engines[b]);
  });
}

int least_loaded(std::span<const EngineLoad> engines, uint64_t turn) {
  std::array<double, kMaxEngines> wait_ms{};
  CHECK(engines.size() <= kMaxEngines);
  for (size_t i = 0; i < engines.size(); ++i) {
    wait_ms[i] = predicted_first_token_ms(with_line(engines[i].load), engines[i].ahead, 0);
  }
  return best_of(engines, turn, [&](size_t a, size_t b) {
    if (wait_ms[a] != wait_ms[b]) return wait_ms[a] < wait_ms[b];
    return num_sequences(engines[a]) < num_sequences(engines[b]);
  });
}

}  // namespace sparrow::api
