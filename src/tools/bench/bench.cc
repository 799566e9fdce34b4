#include "tools/bench/bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/random.h"

namespace sparrow {
namespace {

// Sequences of one batch, driven through the executor as the engine would, without an engine.
class BatchRun {
 public:
  BatchRun(Executor& executor, const BenchOptions& options, int batch)
      : executor_(executor), limits_(executor.limits()), options_(options), batch_(batch) {
    params_.temperature = 0;
    const int length = options.prompt_tokens + options.gen_tokens;
    blocks_per_sequence_ = (length + limits_.block_tokens - 1) / limits_.block_tokens;
    for (int i = 0; i < options.prompt_tokens; ++i) {
      const uint64_t bits = random_bits(1, 2, static_cast<uint64_t>(i));
      prompt_.push_back(static_cast<TokenId>(bits % static_cast<uint64_t>(limits_.vocab_size)));
    }
  }
  ~BatchRun() {
    for (int sequence = 0; sequence < batch_; ++sequence) executor_.release(sequence);
  }
  BatchRun(const BatchRun&) = delete;
  BatchRun& operator=(const BatchRun&) = delete;

  Status prefill() {
    for (int sequence = 0; sequence < batch_; ++sequence) {
      int done = 0;
      while (done < options_.prompt_tokens) {
        const int count = std::min(options_.prompt_tokens - done, limits_.max_batch_tokens);
        plan_.clear();
        if (done == 0) start(sequence);
        const bool last = done + count == options_.prompt_tokens;
        add_span(sequence, done, count, last ? 1 : 0);
        const auto from = prompt_.begin() + done;
        plan_.token_ids.insert(plan_.token_ids.end(), from, from + count);
        RETURN_IF_ERROR(run_step());
        done += count;
      }
    }
    return ok_status();
  }

  Status decode() {
    for (int step = 0; step < options_.gen_tokens; ++step) {
      plan_.clear();
      for (int sequence = 0; sequence < batch_; ++sequence) {
        add_span(sequence, options_.prompt_tokens + step, 1, 1);
        plan_.token_ids.push_back(kPendingToken);
      }
      RETURN_IF_ERROR(run_step());
    }
    return ok_status();
  }

 private:
  void start(int sequence) {
    plan_.slot_starts.push_back({.slot = sequence,
                                 .params = &params_,
                                 .tokens = prompt_,
                                 .num_prompt_tokens = options_.prompt_tokens,
                                 .banned_early = {},
                                 .min_tokens = 0});
  }

  void add_span(int sequence, int first_position, int count, int num_logit_rows) {
    const int tokens = first_position + count;
    Span span;
    span.slot = sequence;
    span.first_position = first_position;
    span.num_tokens = count;
    span.num_logit_rows = num_logit_rows;
    span.token_begin = plan_.num_tokens();
    span.block_begin = static_cast<int32_t>(plan_.block_ids.size());
    span.num_blocks = (tokens + limits_.block_tokens - 1) / limits_.block_tokens;
    for (int block = 0; block < span.num_blocks; ++block) {
      plan_.block_ids.push_back(sequence * blocks_per_sequence_ + block);
    }
    plan_.spans.push_back(span);
  }

  Status run_step() {
    plan_.step = ++step_;
    const Ticket ticket = executor_.begin(plan_);
    executor_.sample(ticket, {});
    const StepResult& result = executor_.wait(ticket);
    if (result.failed) return internal_error("the executor failed a step");
    for (const SampledToken& token : result.tokens) {
      if (token.not_finite) return data_loss("the model's logits are not finite (NaN or infinite)");
    }
    return ok_status();
  }

  Executor& executor_;
  const ExecutorLimits limits_;
  const BenchOptions& options_;
  const int batch_;
  int blocks_per_sequence_ = 0;
  SamplingParams params_;
  std::vector<TokenId> prompt_;
  BatchPlan plan_;
  uint64_t step_ = 0;
};

struct Work {
  double tokens = 0;
  double bytes = 0;
  double ops = 0;
};

Work prefill_work(const BenchCost& cost, const BenchOptions& options, int batch,
                  int max_batch_tokens) {
  const double prompt = options.prompt_tokens;
  const int steps = (options.prompt_tokens + max_batch_tokens - 1) / max_batch_tokens;
  Work work;
  work.tokens = prompt * batch;
  // K and V are written once and read once per step: small against the weights.
  work.bytes = batch * (steps * cost.weight_bytes_per_step + prompt * cost.kv_bytes_per_token);
  work.ops = batch * (prompt * cost.ops_per_token + cost.ops_per_logit_row +
                      cost.attention_ops_per_context * prompt * (prompt + 1) / 2);
  return work;
}

Work decode_work(const BenchCost& cost, const BenchOptions& options, int batch) {
  const double steps = options.gen_tokens;
  const double mean_context = options.prompt_tokens + (steps + 1) / 2;
  Work work;
  work.tokens = steps * batch;
  work.bytes =
      steps * (cost.weight_bytes_per_step + batch * mean_context * cost.kv_bytes_per_token);
  work.ops = work.tokens * (cost.ops_per_token + cost.ops_per_logit_row +
                            cost.attention_ops_per_context * mean_context);
  return work;
}

BenchRow make_row(const char* test, int batch, std::vector<double> seconds, const Work& work,
                  const MachineLimits& limits) {
  std::sort(seconds.begin(), seconds.end());
  const size_t middle = seconds.size() / 2;
  const double median =
      seconds.size() % 2 == 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  BenchRow row;
  row.test = test;
  row.batch = batch;
  row.tokens_per_s = work.tokens / median;
  row.tokens_per_s_min = work.tokens / seconds.back();
  row.tokens_per_s_max = work.tokens / seconds.front();
  row.bytes_per_s = work.bytes / median;
  row.ops_per_s = work.ops / median;
  const double memory_s = limits.read_bytes_per_s > 0 ? work.bytes / limits.read_bytes_per_s : 0;
  const double compute_s = limits.ops_per_s > 0 ? work.ops / limits.ops_per_s : 0;
  row.limit = memory_s >= compute_s ? "bandwidth" : "compute";
  row.share_of_limit = std::max(memory_s, compute_s) / median;
  return row;
}

Status check_options(const BenchOptions& options, const ExecutorLimits& limits) {
  if (options.prompt_tokens < 1 || options.gen_tokens < 1 || options.repeat < 1 ||
      options.batches.empty()) {
    return invalid_argument(
        "bench: prompt tokens, generated tokens, batches and repeats must be at least 1");
  }
  if (options.prompt_tokens + options.gen_tokens > limits.max_context_tokens) {
    return invalid_argument(fmt::format("bench: {} + {} tokens do not fit the context of {}",
                                        options.prompt_tokens, options.gen_tokens,
                                        limits.max_context_tokens));
  }
  if (bench_num_slots(options) > limits.num_slots ||
      bench_num_slots(options) > limits.max_batch_tokens ||
      bench_num_blocks(options, limits.block_tokens) > limits.num_blocks) {
    return invalid_argument("bench: the executor has too few slots or KV blocks for this batch");
  }
  return ok_status();
}

}  // namespace

int bench_num_slots(const BenchOptions& options) {
  return *std::max_element(options.batches.begin(), options.batches.end());
}

int64_t bench_num_blocks(const BenchOptions& options, int block_tokens) {
  const int64_t length = options.prompt_tokens + options.gen_tokens;
  return bench_num_slots(options) * ((length + block_tokens - 1) / block_tokens);
}

Result<std::vector<BenchRow>> run_bench(Executor& executor, const BenchCost& cost,
                                        const MachineLimits& limits, const BenchOptions& options,
                                        const std::function<void(const std::string&)>& progress) {
  const ExecutorLimits executor_limits = executor.limits();
  RETURN_IF_ERROR(check_options(options, executor_limits));
  const RealClock clock;
  std::vector<BenchRow> rows;
  for (const int batch : options.batches) {
    std::vector<double> prefill_seconds;
    std::vector<double> decode_seconds;
    // Run 0 warms caches and pages and is not counted.
    for (int run = 0; run <= options.repeat; ++run) {
      progress(fmt::format("batch {}, run {} of {}", batch, run, options.repeat));
      BatchRun sequences(executor, options, batch);
      const TimePoint begin = clock.now();
      RETURN_IF_ERROR(sequences.prefill());
      const TimePoint between = clock.now();
      RETURN_IF_ERROR(sequences.decode());
      const TimePoint end = clock.now();
      if (run == 0) continue;
      prefill_seconds.push_back(to_seconds(between - begin));
      decode_seconds.push_back(to_seconds(end - between));
    }
    rows.push_back(make_row("prefill", batch, prefill_seconds,
                            prefill_work(cost, options, batch, executor_limits.max_batch_tokens),
                            limits));
    rows.push_back(
        make_row("decode", batch, decode_seconds, decode_work(cost, options, batch), limits));
  }
  return rows;
}

}  // namespace sparrow
