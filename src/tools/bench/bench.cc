#include "tools/bench/bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "tools/bench/batch_run.h"
#include "tools/bench/spread.h"

namespace sparrow {
namespace {

// Steps of each size in one run of the verify rows, as a share of gen_tokens; and at least.
constexpr int kVerifyShare = 4;
constexpr int kMinVerifySteps = 4;
// A shared machine's bandwidth changes within seconds: a read pass after so many decode steps.
constexpr int kStepsBetweenPasses = 8;

int verify_steps(const BenchOptions& options) {
  return std::max(options.gen_tokens / kVerifyShare, kMinVerifySteps);
}

// A step without guesses is what the others are compared with.
std::vector<int> guess_sizes(const BenchOptions& options) {
  std::vector<int> sizes = options.guesses;
  if (!sizes.empty()) sizes.push_back(0);
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

int verify_positions(const BenchOptions& options) {
  int rows = 0;
  for (const int size : guess_sizes(options)) rows += 1 + size;
  return rows * verify_steps(options);  // if every guess should be right
}

StepWork prefill_work(const BenchCost& cost, const BenchOptions& options, int batch, int depth,
                      int max_batch_tokens) {
  const double prompt = options.prompt_tokens;
  const int steps = (options.prompt_tokens + max_batch_tokens - 1) / max_batch_tokens;
  StepWork work;
  work.tokens = prompt * batch;
  // What lies in the cache is read once per step at least; K and V of the prompt are written once.
  work.bytes = batch * (steps * (cost.weight_bytes_per_step + depth * cost.kv_bytes_per_token) +
                        prompt * cost.kv_bytes_per_token);
  work.ops = batch * (prompt * cost.ops_per_token + cost.ops_per_logit_row);
  work.attention_ops = batch * cost.attention_ops_per_context * prompt * (depth + (prompt + 1) / 2);
  return work;
}

// `num_steps` steps of `rows` tokens a sequence, the first of them at position `depth`; a sequence
// grows by `growth` tokens a step.
StepWork step_work(const BenchCost& cost, int batch, int num_steps, int rows, double depth,
                   double growth) {
  const double steps = num_steps;
  const double mean_context = depth + growth * (steps - 1) / 2 + (rows + 1) / 2.0;
  const double mean_read = depth + growth * (steps - 1) / 2 + rows;
  StepWork work;
  work.tokens = steps * batch * rows;
  work.bytes = steps * (cost.weight_bytes_per_step + batch * mean_read * cost.kv_bytes_per_token);
  work.ops = work.tokens * (cost.ops_per_token + cost.ops_per_logit_row);
  work.attention_ops = work.tokens * cost.attention_ops_per_context * mean_context;
  return work;
}

// Runs of a decode row: seconds, and where read passes ran between the steps, what those read.
struct DecodeTimes {
  std::vector<double> seconds;
  std::vector<double> read_bytes_per_s;
};

class Bench {
 public:
  Bench(Executor& executor, const BenchCost& cost, const MachineLimits& limits,
        const BenchOptions& options, const BenchProgress& progress)
      : executor_(executor),
        executor_limits_(executor.limits()),
        cost_(cost),
        limits_(limits),
        options_(options),
        progress_(progress) {}

  Status run() { return options_.depths.empty() ? run_batches() : run_depths(); }
  std::vector<BenchRow> take_rows() { return std::move(rows_); }

 private:
  // From empty caches.
  Status run_batches() {
    for (const int batch : options_.batches) {
      BatchRun sequences(executor_, batch, bench_num_positions(options_));
      RETURN_IF_ERROR(time_batch(sequences, batch, 0, options_.prompt_tokens));
    }
    if (options_.guesses.empty()) return ok_status();
    BatchRun sequence(executor_, 1, bench_num_positions(options_));
    RETURN_IF_ERROR(fill(sequence, 1, 0, options_.prompt_tokens));
    return time_guesses(sequence, options_.prompt_tokens);
  }

  Status run_depths() {
    std::vector<int> depths = options_.depths;
    std::sort(depths.begin(), depths.end());
    BatchRun sequences(executor_, bench_num_slots(options_), bench_num_positions(options_));
    int filled = 0;
    for (const int depth : depths) {
      RETURN_IF_ERROR(fill(sequences, bench_num_slots(options_), filled, depth));
      filled = depth;
      for (const int batch : options_.batches) {
        RETURN_IF_ERROR(time_batch(sequences, batch, depth, depth));
      }
      if (!options_.guesses.empty()) RETURN_IF_ERROR(time_guesses(sequences, depth));
    }
    return ok_status();
  }

  Status fill(BatchRun& sequences, int batch, int from, int to) {
    return sequences.prefill(batch, from, to, [&](int num_done) {
      return progress_(fmt::format("filling the cache: {} of {} tokens", num_done,
                                   int64_t{batch} * (to - from)));
    });
  }

  Status tell(const std::string& what, int run) {
    const std::string text = run == 0 ? fmt::format("{}, warming up", what)
                                      : fmt::format("{}, run {} of {}", what, run, options_.repeat);
    if (progress_(text)) return ok_status();
    return Status(StatusCode::kCancelled, "stopped");
  }

  // A row for each of both, also when it is stopped on the way.
  Status time_batch(BatchRun& sequences, int batch, int depth, int decode_depth) {
    std::vector<double> prefill_seconds;
    DecodeTimes decodes;
    const Status status =
        time_batch_runs(sequences, batch, depth, decode_depth, prefill_seconds, decodes);
    BenchRow prompts{.test = "prefill", .batch = batch, .depth = depth};
    prompts.prompt_tokens = options_.prompt_tokens;
    add_row(std::move(prompts), prefill_seconds, 0,
            prefill_work(cost_, options_, batch, depth, executor_limits_.max_batch_tokens));
    const StepWork work = step_work(cost_, batch, options_.gen_tokens, 1, decode_depth, 1);
    BenchRow row{.test = "decode", .batch = batch, .depth = decode_depth};
    set_beside(row, decodes, work);
    add_row(std::move(row), decodes.seconds, options_.gen_tokens, work);
    return status;
  }

  static void set_beside(BenchRow& row, const DecodeTimes& decodes, const StepWork& work) {
    if (decodes.read_bytes_per_s.empty()) return;
    std::vector<double> shares;
    for (size_t run = 0; run < decodes.read_bytes_per_s.size(); ++run) {
      shares.push_back(work.bytes / decodes.read_bytes_per_s[run] / decodes.seconds[run]);
    }
    row.read_bytes_per_s_beside = spread_of(decodes.read_bytes_per_s).median;
    row.share_of_read_beside = spread_of(shares).median;
  }

  // One run: the passes are not in its seconds.
  Status time_decode(BatchRun& sequences, int batch, int position, DecodeTimes& decodes) {
    const bool probes = static_cast<bool>(limits_.read_pass);
    const int piece = probes ? kStepsBetweenPasses : options_.gen_tokens;
    double seconds = 0, seconds_per_byte = probes ? 1 / limits_.read_pass() : 0;
    int num_passes = 1;
    for (int done = 0; done < options_.gen_tokens; done += piece) {
      const TimePoint begin = clock_.now();
      RETURN_IF_ERROR(
          sequences.decode(batch, position + done, std::min(piece, options_.gen_tokens - done)));
      seconds += to_seconds(clock_.now() - begin);
      if (!probes) continue;
      seconds_per_byte += 1 / limits_.read_pass();
      ++num_passes;
    }
    decodes.seconds.push_back(seconds);
    if (probes) decodes.read_bytes_per_s.push_back(num_passes / seconds_per_byte);
    return ok_status();
  }

  Status time_batch_runs(BatchRun& sequences, int batch, int depth, int decode_depth,
                         std::vector<double>& prefill_seconds, DecodeTimes& decodes) {
    const std::string what = options_.depths.empty()
                                 ? fmt::format("batch {}", batch)
                                 : fmt::format("depth {}, batch {}", depth, batch);
    // Run 0 warms caches and pages and is not counted.
    for (int run = 0; run <= options_.repeat; ++run) {
      RETURN_IF_ERROR(tell(what, run));
      const TimePoint begin = clock_.now();
      RETURN_IF_ERROR(sequences.prefill(batch, depth, depth + options_.prompt_tokens, [&](int) {
        return progress_(fmt::format("{}, prompts", what));
      }));
      const TimePoint between = clock_.now();
      if (run > 0) prefill_seconds.push_back(to_seconds(between - begin));
      RETURN_IF_ERROR(tell(what, run));
      DecodeTimes warm_up;
      RETURN_IF_ERROR(time_decode(sequences, batch, decode_depth, run > 0 ? decodes : warm_up));
    }
    return ok_status();
  }

  Status time_guesses(BatchRun& sequences, int depth) {
    const std::vector<int> sizes = guess_sizes(options_);
    std::vector<std::vector<double>> seconds(sizes.size());  // by size and run
    const Status status = time_guess_runs(sequences, depth, sizes, seconds);
    const int steps = verify_steps(options_);
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (seconds[i].empty()) break;
      BenchRow row{.test = "verify", .batch = 1, .depth = depth, .guesses = sizes[i]};
      std::vector<double> ratios;
      for (size_t run = 0; run < seconds[i].size(); ++run) {
        ratios.push_back(seconds[i][run] / seconds[0][run]);
      }
      const Spread ratio = spread_of(ratios);
      row.step_ratio = ratio.median;
      row.step_ratio_min = ratio.low;
      row.step_ratio_max = ratio.high;
      // Wrong guesses: each step of any size adds one token.
      add_row(row, seconds[i], steps,
              step_work(cost_, 1, steps, 1 + sizes[i], depth, static_cast<double>(sizes.size())));
    }
    return status;
  }

  Status time_guess_runs(BatchRun& sequences, int depth, const std::vector<int>& sizes,
                         std::vector<std::vector<double>>& seconds) {
    for (int run = 0; run <= options_.repeat; ++run) {
      RETURN_IF_ERROR(tell(fmt::format("guesses at depth {}", depth), run));
      std::vector<double> sums(sizes.size());
      sequences.begin_guessing(depth);
      for (int step = 0; step < verify_steps(options_); ++step) {
        for (size_t i = 0; i < sizes.size(); ++i) {
          const TimePoint begin = clock_.now();
          RETURN_IF_ERROR(sequences.guess(sizes[i]));
          sums[i] += to_seconds(clock_.now() - begin);
        }
      }
      if (run == 0) continue;
      for (size_t i = 0; i < sizes.size(); ++i) seconds[i].push_back(sums[i]);
    }
    return ok_status();
  }

  void add_row(BenchRow row, const std::vector<double>& seconds, int num_steps,
               const StepWork& work) {
    if (seconds.empty()) return;
    const Spread time = spread_of(seconds);
    row.tokens_per_s = work.tokens / time.median;
    row.tokens_per_s_min = work.tokens / time.high;
    row.tokens_per_s_max = work.tokens / time.low;
    row.tokens_per_s_each = row.tokens_per_s / std::max(row.batch, 1);
    row.step_s = time.median / std::max(num_steps, 1);
    if (row.test == "prefill" && row.batch == 1) {
      row.first_token_s = time.median;
      row.first_token_s_min = time.low;
      row.first_token_s_max = time.high;
    }
    row.bytes_per_s = work.bytes / time.median;
    row.ops_per_s = (work.ops + work.attention_ops) / time.median;
    row.limit =
        memory_seconds(work, limits_) >= compute_seconds(work, limits_) ? "bandwidth" : "compute";
    row.share_of_limit = limit_seconds(work, limits_) / time.median;
    rows_.push_back(std::move(row));
  }

  Executor& executor_;
  const ExecutorLimits executor_limits_;
  const BenchCost& cost_;
  const MachineLimits& limits_;
  const BenchOptions& options_;
  const BenchProgress& progress_;
  const RealClock clock_;
  std::vector<BenchRow> rows_;
};

Status check_options(const BenchOptions& options, const ExecutorLimits& limits) {
  const auto all_at_least = [](const std::vector<int>& values, int least) {
    return std::all_of(values.begin(), values.end(), [&](int value) { return value >= least; });
  };
  if (options.prompt_tokens < 1 || options.gen_tokens < 1 || options.repeat < 1 ||
      options.batches.empty() || !all_at_least(options.batches, 1)) {
    return invalid_argument(
        "bench: prompt tokens, generated tokens, batches and repeats must be at least 1");
  }
  if (!all_at_least(options.depths, 0) || !all_at_least(options.guesses, 0)) {
    return invalid_argument("bench: depths and guesses must not be negative");
  }
  if (bench_num_positions(options) > limits.max_context_tokens) {
    return invalid_argument(fmt::format("bench: {} tokens do not fit the context of {}",
                                        bench_num_positions(options), limits.max_context_tokens));
  }
  const std::vector<int> sizes = guess_sizes(options);
  const int most_rows = std::max(bench_num_slots(options), sizes.empty() ? 1 : 1 + sizes.back());
  if (bench_num_slots(options) > limits.num_slots || most_rows > limits.max_batch_tokens ||
      bench_num_blocks(options, limits.block_tokens) > limits.num_blocks) {
    return invalid_argument("bench: the executor has too few slots, rows or KV blocks for this");
  }
  return ok_status();
}

}  // namespace

int bench_num_slots(const BenchOptions& options) {
  return *std::max_element(options.batches.begin(), options.batches.end());
}

int bench_num_positions(const BenchOptions& options) {
  const int guessed = verify_positions(options);
  if (options.depths.empty()) {
    return options.prompt_tokens + std::max(options.gen_tokens, guessed);
  }
  return *std::max_element(options.depths.begin(), options.depths.end()) +
         std::max({options.prompt_tokens, options.gen_tokens, guessed});
}

int64_t bench_num_blocks(const BenchOptions& options, int block_tokens) {
  const int64_t length = bench_num_positions(options);
  return bench_num_slots(options) * ((length + block_tokens - 1) / block_tokens);
}

Result<BenchReport> run_bench(Executor& executor, const BenchCost& cost,
                              const MachineLimits& limits, const BenchOptions& options,
                              const BenchProgress& progress) {
  RETURN_IF_ERROR(check_options(options, executor.limits()));
  Bench bench(executor, cost, limits, options, progress);
  const Status status = bench.run();
  const bool stopped = status.code() == StatusCode::kCancelled;
  if (!status.ok() && !stopped) return status;
  return BenchReport{bench.take_rows(), stopped};
}

}  // namespace sparrow
