#include "tools/bench/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include "base/clock.h"
#include "scheduler/scheduler.h"
#include "tools/bench/spread.h"

namespace sparrow {
namespace {

// Answers every plan with the given text, after the time the executor takes for it.
class Recital {
 public:
  // The blocks of its plans begin at first_block.
  Recital(Executor& executor, BlockId first_block) : executor_(executor), offset_(first_block) {}

  void recite(const std::vector<TokenId>& tokens) { tokens_ = &tokens; }

  const StepResult& run(const BatchPlan& plan) {
    shifted_ = plan;
    for (BlockId& block : shifted_.block_ids) block += offset_;
    const Ticket ticket = executor_.begin(shifted_);
    executor_.sample(ticket, {});
    const StepResult& found = executor_.wait(ticket);
    result_.clear();
    result_.step = found.step;
    result_.failed = found.failed;
    result_.elapsed_ns = found.elapsed_ns;
    for (const Span& span : plan.spans) add_span(plan, span);
    return result_;
  }

 private:
  void add_span(const BatchPlan& plan, const Span& span) {
    SpanResult made{.token_begin = static_cast<int32_t>(result_.tokens.size()), .num_tokens = 0};
    for (int32_t row = span.num_tokens - span.num_logit_rows; row < span.num_tokens; ++row) {
      const TokenId next = tokens_->at(static_cast<size_t>(span.first_position + row + 1));
      result_.tokens.push_back({.id = next});
      ++made.num_tokens;
      const bool is_last = row + 1 == span.num_tokens;
      if (is_last || plan.token_ids[static_cast<size_t>(span.token_begin + row + 1)] != next) break;
    }
    result_.spans.push_back(made);
  }

  Executor& executor_;
  const BlockId offset_;
  const std::vector<TokenId>* tokens_ = nullptr;
  BatchPlan shifted_;
  StepResult result_;
};

class EndAtLength final : public TokenConsumer {
 public:
  FinishReason on_token(Sequence& sequence, const SampledToken&,
                        std::span<const TokenLogprob>) override {
    return sequence.num_output_tokens() >= sequence.max_tokens ? FinishReason::kMaxTokens
                                                               : FinishReason::kNone;
  }
};

// What one run of one text took.
struct Taken {
  double seconds = 0;
  int num_steps = 0;
  int num_guessed = 0;
};

// A server with one user.
class Reciter {
 public:
  Reciter(Executor& executor, const SchedulerOptions& options, BlockId first_block)
      : executor_(executor), scheduler_(options), recital_(executor, first_block) {}

  Result<Taken> write(const ReplayText& text) {
    tokens_ = text.prompt;
    tokens_.insert(tokens_.end(), text.output.begin(), text.output.end());
    // Behind the end: what the rows of guesses there would say.
    tokens_.insert(tokens_.end(), kMaxDraftTokens + 1, TokenId{0});
    recital_.recite(tokens_);
    scheduler_.add(make_sequence(text));
    Taken taken;
    TimePoint begin{};
    bool is_begun = false;  // the first token came
    while (!scheduler_.idle()) {
      const BatchPlan& plan = scheduler_.plan(clock_.now());
      if (plan.empty()) return internal_error("a text does not fit the KV cache");
      const int num_guessed = plan.spans[0].num_drafts;
      const bool samples = plan.spans[0].num_logit_rows > 0;
      const StepResult& result = recital_.run(plan);
      if (result.failed) return internal_error("the executor failed a step");
      scheduler_.commit(result, clock_.now(), consumer_);
      if (is_begun) {
        ++taken.num_steps;
        taken.num_guessed += num_guessed;
      } else if (samples) {
        is_begun = true;
        begin = clock_.now();
      }
    }
    taken.seconds = to_seconds(clock_.now() - begin);
    for (const SlotId slot : scheduler_.released_slots()) executor_.release(slot);
    scheduler_.clear_released_slots();
    const auto finished = scheduler_.take_finished();
    if (finished.size() != 1 || finished[0]->finish != FinishReason::kMaxTokens) {
      return internal_error("a text ended before its length");
    }
    return taken;
  }

 private:
  std::unique_ptr<Sequence> make_sequence(const ReplayText& text) {
    auto request = std::make_shared<Request>();
    request->id = ++num_requests_;
    request->sampling.temperature = 0;
    request->stop.ignore_eos = true;
    request->arrival = clock_.now();
    auto sequence = std::make_unique<Sequence>();
    sequence->params = request->sampling;
    sequence->tokens = text.prompt;
    sequence->num_prompt_tokens = static_cast<int>(text.prompt.size());
    sequence->max_tokens = static_cast<int>(text.output.size());
    sequence->request = std::move(request);
    return sequence;
  }

  Executor& executor_;
  Scheduler scheduler_;
  Recital recital_;
  EndAtLength consumer_;
  const RealClock clock_;
  std::vector<TokenId> tokens_;
  uint64_t num_requests_ = 0;
};

struct Samples {
  std::vector<double> plain_s, drafted_s;  // by round
  double steps = 0, guessed = 0, right = 0;
};

ReplayRow row_of(int text, int num_tokens, const Samples& samples) {
  ReplayRow row{.text = text, .num_tokens = num_tokens};
  std::vector<double> speedups;
  for (size_t i = 0; i < samples.plain_s.size(); ++i) {
    speedups.push_back(samples.plain_s[i] / samples.drafted_s[i]);
  }
  const Spread spread = spread_of(speedups);
  row.plain_s = spread_of(samples.plain_s).median;
  row.drafted_s = spread_of(samples.drafted_s).median;
  row.speedup = spread.median;
  row.speedup_min = spread.low;
  row.speedup_max = spread.high;
  const auto rounds = static_cast<double>(samples.plain_s.size());
  row.steps = samples.steps / rounds;
  row.guessed = samples.guessed / rounds;
  row.right = samples.right / rounds;
  return row;
}

SchedulerOptions scheduler_options(const ExecutorLimits& limits, const ReplayOptions& options) {
  SchedulerOptions out;
  out.block_tokens = limits.block_tokens;
  out.num_blocks = limits.num_blocks / 2;
  out.num_slots = 1;
  out.max_batch_tokens = limits.max_batch_tokens;
  out.max_num_seqs = 1;
  out.max_num_batched_tokens = limits.max_batch_tokens;
  out.max_step_ms = options.max_step_ms;
  out.speculation = options.speculation;
  return out;
}

class Replay {
 public:
  Replay(Executor& executor, const std::vector<ReplayText>& texts, const ReplayOptions& options,
         const std::function<bool(const std::string&)>& progress)
      : texts_(texts),
        options_(options),
        progress_(progress),
        plain_(executor, scheduler_options(executor.limits(), {}), 0),
        drafted_(executor, scheduler_options(executor.limits(), options),
                 executor.limits().num_blocks / 2),
        samples_(texts.size()) {}

  Status run() {
    for (int round = 0; round <= options_.num_rounds; ++round) {
      std::vector<Taken> plain, drafted;  // by text
      for (size_t i = 0; i < texts_.size(); ++i) {
        RETURN_IF_ERROR(tell(round, i));
        const bool plain_first = (i + static_cast<size_t>(round)) % 2 == 0;
        if (plain_first) RETURN_IF_ERROR(write(plain_, texts_[i], plain));
        RETURN_IF_ERROR(write(drafted_, texts_[i], drafted));
        if (!plain_first) RETURN_IF_ERROR(write(plain_, texts_[i], plain));
      }
      if (round > 0) note_round(plain, drafted);
    }
    return ok_status();
  }

  std::vector<ReplayRow> rows() const {
    std::vector<ReplayRow> rows;
    if (all_.plain_s.empty()) return rows;
    int num_tokens = 0;
    for (size_t i = 0; i < texts_.size(); ++i) {
      const int count = static_cast<int>(texts_[i].output.size()) - 1;
      rows.push_back(row_of(static_cast<int>(i), count, samples_[i]));
      num_tokens += count;
    }
    rows.push_back(row_of(-1, num_tokens, all_));
    return rows;
  }

 private:
  Status tell(int round, size_t text) {
    const std::string name =
        round == 0 ? "warming up" : fmt::format("round {} of {}", round, options_.num_rounds);
    if (progress_(fmt::format("{}, text {} of {}", name, text + 1, texts_.size()))) {
      return ok_status();
    }
    return Status(StatusCode::kCancelled, "stopped");
  }

  static Status write(Reciter& reciter, const ReplayText& text, std::vector<Taken>& taken) {
    ASSIGN_OR_RETURN(const Taken one, reciter.write(text));
    taken.push_back(one);
    return ok_status();
  }

  void note_round(const std::vector<Taken>& plain, const std::vector<Taken>& drafted) {
    double plain_s = 0, drafted_s = 0;
    for (size_t i = 0; i < texts_.size(); ++i) {
      // A step gives its own token and the right guesses.
      const double right = static_cast<double>(texts_[i].output.size()) - 1 - drafted[i].num_steps;
      for (Samples* to : {&samples_[i], &all_}) {
        to->steps += drafted[i].num_steps;
        to->guessed += drafted[i].num_guessed;
        to->right += right;
      }
      samples_[i].plain_s.push_back(plain[i].seconds);
      samples_[i].drafted_s.push_back(drafted[i].seconds);
      plain_s += plain[i].seconds;
      drafted_s += drafted[i].seconds;
    }
    all_.plain_s.push_back(plain_s);
    all_.drafted_s.push_back(drafted_s);
  }

  const std::vector<ReplayText>& texts_;
  const ReplayOptions& options_;
  const std::function<bool(const std::string&)>& progress_;
  Reciter plain_, drafted_;
  std::vector<Samples> samples_;  // by text
  Samples all_;
};

// Null: none.
const char* problem_of(const std::vector<ReplayText>& texts, const ExecutorLimits& limits) {
  if (texts.empty()) return "there is no text";
  const auto is_id = [&](TokenId id) { return id >= 0 && id < limits.vocab_size; };
  for (const ReplayText& text : texts) {
    if (text.prompt.empty() || text.output.size() < 2) {
      return "a text needs a prompt and at least two tokens of output";
    }
    if (!std::all_of(text.prompt.begin(), text.prompt.end(), is_id) ||
        !std::all_of(text.output.begin(), text.output.end(), is_id)) {
      return "a text has token ids that the model does not have";
    }
  }
  if (replay_num_positions(texts) > limits.max_context_tokens ||
      replay_num_blocks(texts, limits.block_tokens) > limits.num_blocks) {
    return "the executor has too little context or too few KV blocks";
  }
  return nullptr;
}

}  // namespace

int replay_num_positions(const std::vector<ReplayText>& texts) {
  size_t most = 0;
  for (const ReplayText& text : texts)
    most = std::max(most, text.prompt.size() + text.output.size());
  return static_cast<int>(most) + kMaxDraftTokens;
}

// Each half holds all prompts, so that they are found again.
int64_t replay_num_blocks(const std::vector<ReplayText>& texts, int block_tokens) {
  int64_t blocks = 0;
  for (const ReplayText& text : texts) {
    const auto length = static_cast<int64_t>(text.prompt.size() + text.output.size());
    blocks += (length + kMaxDraftTokens) / block_tokens + 1;
  }
  return 2 * blocks;
}

Result<ReplayReport> run_replay(Executor& executor, const std::vector<ReplayText>& texts,
                                const ReplayOptions& options,
                                const std::function<bool(const std::string&)>& progress) {
  if (const char* problem = problem_of(texts, executor.limits())) {
    return invalid_argument(fmt::format("replay: {}", problem));
  }
  Replay replay(executor, texts, options, progress);
  const Status status = replay.run();
  const bool stopped = status.code() == StatusCode::kCancelled;
  if (!status.ok() && !stopped) return status;
  return ReplayReport{replay.rows(), stopped};
}

}  // namespace sparrow
