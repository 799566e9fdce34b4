#include "tools/quantize/compare_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/compute_pool.h"
#include "base/file.h"
#include "base/json.h"
#include "model/model_files.h"

namespace sparrow {
namespace {

constexpr size_t kMaxTextBytes = 1u << 30;
constexpr int kBlockTokens = 16;

// Of a sequence of numbers: mean and its standard error.
class Mean {
 public:
  void add(double value) {
    ++count_;
    sum_ += value;
    squares_ += value * value;
  }
  double mean() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0; }
  double error() const {
    if (count_ < 2) return 0;
    const auto count = static_cast<double>(count_);
    const double variance = std::max(0.0, squares_ / count - mean() * mean());
    return std::sqrt(variance / (count - 1));
  }

 private:
  int64_t count_ = 0;
  double sum_ = 0, squares_ = 0;
};

struct Softmax {
  double log_sum = 0;  // log of the sum of exp(logit)
  size_t top = 0;      // the lowest id of the largest logit
};

Softmax softmax_of(std::span<const float> logits) {
  Softmax result;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[result.top]) result.top = i;
  }
  const double largest = logits[result.top];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - largest);
  result.log_sum = largest + std::log(sum);
  return result;
}

struct RowScore {
  double reference_nll = 0, candidate_nll = 0;
  double kl = 0;
  bool same_top = false;
};

RowScore score_row(std::span<const float> reference, std::span<const float> candidate,
                   TokenId next) {
  const Softmax p = softmax_of(reference), q = softmax_of(candidate);
  RowScore score;
  const auto id = static_cast<size_t>(next);
  score.reference_nll = p.log_sum - reference[id];
  score.candidate_nll = q.log_sum - candidate[id];
  score.same_top = p.top == q.top;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - p.log_sum;
    score.kl += std::exp(log_p) * (log_p - (candidate[i] - q.log_sum));
  }
  score.kl = std::max(0.0, score.kl);  // below zero by rounding only
  return score;
}

class Comparer {
 public:
  Comparer(ScoringModel& reference, ScoringModel& candidate, const ScoringOptions& options,
           const CompareProgressCallback& progress)
      : reference_(reference),
        candidate_(candidate),
        options_(options),
        progress_(progress),
        pool_(options.num_threads),
        vocab_(static_cast<size_t>(reference.vocab_size())) {
    const size_t step = ScoringModel::kStepTokens;
    for (std::vector<float>* rows : {&reference_rows_, &candidate_rows_}) {
      rows->resize(step * vocab_);
    }
    scores_.resize(step);
  }

  Result<ModelComparison> run(std::span<const TokenId> tokens, TokenId bos) {
    const auto window = static_cast<size_t>(options_.window_tokens);
    const size_t room = bos >= 0 ? window - 1 : window;
    result_.window_tokens = options_.window_tokens;
    total_ = static_cast<int64_t>(tokens.size());
    for (size_t begin = 0; begin < tokens.size(); begin += room) {
      window_.clear();
      if (bos >= 0) window_.push_back(bos);
      const auto part = tokens.subspan(begin, std::min(room, tokens.size() - begin));
      window_.insert(window_.end(), part.begin(), part.end());
      if (window_.size() < 2) break;  // a lone token has nothing before it
      RETURN_IF_ERROR(run_window());
      result_.num_tokens += static_cast<int64_t>(part.size());
      ++result_.num_windows;
    }
    if (result_.num_windows == 0) {
      return invalid_argument("the text has fewer than two tokens: there is nothing to score");
    }
    finish();
    return result_;
  }

 private:
  Status run_window() {
    const size_t step = ScoringModel::kStepTokens;
    // The last token is only predicted.
    const std::span<const TokenId> inputs(window_.data(), window_.size() - 1);
    for (size_t begin = 0; begin < inputs.size(); begin += step) {
      if (options_.cancelled != nullptr && options_.cancelled->load(std::memory_order_relaxed)) {
        return Status(StatusCode::kCancelled, "interrupted while evaluating");
      }
      const auto part = inputs.subspan(begin, std::min(step, inputs.size() - begin));
      compute(reference_, begin, part, reference_rows_);
      compute(candidate_, begin, part, candidate_rows_);
      RETURN_IF_ERROR(score(begin, part.size()));
    }
    return ok_status();
  }

  void compute(ScoringModel& model, size_t begin, std::span<const TokenId> part,
               std::vector<float>& rows) {
    model.step(static_cast<int>(begin), part, [&](int row, std::span<const float> logits) {
      std::copy(logits.begin(), logits.end(), rows.begin() + row * static_cast<ptrdiff_t>(vocab_));
    });
  }

  Status score(size_t begin, size_t count) {
    pool_.parallel_for(static_cast<int64_t>(count), [&](int64_t row, int) {
      const auto i = static_cast<size_t>(row);
      const std::span<const float> p(reference_rows_.data() + i * vocab_, vocab_);
      const std::span<const float> q(candidate_rows_.data() + i * vocab_, vocab_);
      scores_[i] = score_row(p, q, window_[begin + i + 1]);
    });
    for (size_t i = 0; i < count; ++i) {
      const RowScore& row = scores_[i];
      if (!std::isfinite(row.reference_nll) || !std::isfinite(row.candidate_nll) ||
          !std::isfinite(row.kl)) {
        return data_loss(
            fmt::format("{}: a logit is not a finite number",
                        std::isfinite(row.reference_nll) ? candidate_.path() : reference_.path()));
      }
      reference_nll_.add(row.reference_nll);
      candidate_nll_.add(row.candidate_nll);
      nll_change_.add(row.candidate_nll - row.reference_nll);
      kl_.add(row.kl);
      all_kl_.push_back(static_cast<float>(row.kl));
      agreements_ += row.same_top ? 1 : 0;
      ++result_.num_scored_tokens;
    }
    if (progress_) {
      progress_({std::min(result_.num_tokens + static_cast<int64_t>(begin + count), total_), total_,
                 std::exp(reference_nll_.mean()), std::exp(candidate_nll_.mean()), kl_.mean()});
    }
    return ok_status();
  }

  void finish() {
    result_.reference = {reference_nll_.mean(), reference_nll_.error()};
    result_.candidate = {candidate_nll_.mean(), candidate_nll_.error()};
    result_.nll_change_error = nll_change_.error();
    result_.mean_kl = kl_.mean();
    result_.kl_error = kl_.error();
    result_.top1_agreement =
        static_cast<double>(agreements_) / static_cast<double>(result_.num_scored_tokens);
    std::sort(all_kl_.begin(), all_kl_.end());
    result_.kl_p99 = all_kl_[(all_kl_.size() - 1) * 99 / 100];
    result_.largest_kl = all_kl_.back();
  }

  ScoringModel& reference_;
  ScoringModel& candidate_;
  const ScoringOptions& options_;
  const CompareProgressCallback& progress_;
  ComputePool pool_;
  const size_t vocab_;
  int64_t total_ = 0;

  std::vector<TokenId> window_;
  std::vector<float> reference_rows_, candidate_rows_;  // [step][vocab]
  std::vector<RowScore> scores_;
  Mean reference_nll_, candidate_nll_, nll_change_, kl_;
  std::vector<float> all_kl_;
  int64_t agreements_ = 0;
  ModelComparison result_;
};

}  // namespace

double ModelScore::perplexity() const { return std::exp(mean_nll); }

Result<std::unique_ptr<ScoringModel>> ScoringModel::open(const std::string& path,
                                                         const ScoringOptions& options) {
  ASSIGN_OR_RETURN(ModelFiles files, open_model(path));
  if (options.window_tokens < 2 || options.window_tokens > files.config.max_position) {
    return invalid_argument(fmt::format("evaluation window of {} tokens: expected 2 to {}",
                                        options.window_tokens, files.config.max_position));
  }
  std::unique_ptr<ScoringModel> model(new ScoringModel());
  model->path_ = path;
  model->format_name_ = files.weights->format_name();
  model->vocab_size_ = files.config.vocab_size;
  model->window_tokens_ = options.window_tokens;
  model->params_.temperature = 0;
  CpuExecutorOptions executor;
  executor.isa = options.isa;
  executor.formats = options.formats;
  executor.num_threads = options.num_threads;
  executor.num_slots = 1;
  executor.max_batch_tokens = kStepTokens;
  executor.max_context = options.window_tokens;
  executor.num_blocks = (options.window_tokens + kBlockTokens - 1) / kBlockTokens;
  ASSIGN_OR_RETURN(model->executor_, make_cpu_executor(files.config, executor));
  const Status loaded = model->executor_->load(*files.weights);
  if (!loaded.ok()) return Status(loaded.code(), path + ": " + loaded.message());
  if (files.has_tokenizer) {
    ASSIGN_OR_RETURN(model->tokenizer_, Tokenizer::create(std::move(files.tokenizer)));
  }
  return model;
}

void ScoringModel::step(int first_position, std::span<const TokenId> tokens,
                        const RowCallback& rows) {
  const auto count = static_cast<int32_t>(tokens.size());
  CHECK(count >= 1 && count <= kStepTokens && first_position + count <= window_tokens_);
  ++plan_.step;
  plan_.clear();
  if (first_position == 0) {
    if (started_) executor_->release(0);
    plan_.slot_starts.push_back({0, &params_, tokens, count, {}, 0});
    started_ = true;
  }
  CHECK(started_);
  plan_.token_ids.assign(tokens.begin(), tokens.end());
  const int32_t num_blocks = executor_->limits().num_blocks;
  for (BlockId block = 0; block < num_blocks; ++block) plan_.block_ids.push_back(block);
  Span span;
  span.slot = 0;
  span.first_position = first_position;
  span.num_tokens = count;
  span.num_logit_rows = count;
  span.num_blocks = num_blocks;
  plan_.spans.push_back(span);
  executor_->set_logits_probe(rows);
  const Ticket ticket = executor_->begin(plan_);
  executor_->sample(ticket, {});
  executor_->wait(ticket);
  executor_->set_logits_probe(nullptr);
}

Result<std::vector<TokenId>> read_text_tokens(const std::string& path, const Tokenizer& tokenizer,
                                              int64_t max_tokens, int64_t* total) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxTextBytes));
  std::vector<TokenId> tokens = tokenizer.encode(text, {.parse_added_tokens = true});
  if (total != nullptr) *total = static_cast<int64_t>(tokens.size());
  if (tokens.size() < 2) {
    return invalid_argument(
        fmt::format("{}: found {} tokens, expected a text of at least two", path, tokens.size()));
  }
  if (max_tokens > 0 && static_cast<int64_t>(tokens.size()) > max_tokens) {
    tokens.resize(static_cast<size_t>(max_tokens));
  }
  return tokens;
}

Result<ModelComparison> compare_models(ScoringModel& reference, ScoringModel& candidate,
                                       std::span<const TokenId> tokens, TokenId bos,
                                       const ScoringOptions& options,
                                       const CompareProgressCallback& progress) {
  if (reference.vocab_size() != candidate.vocab_size()) {
    return invalid_argument(fmt::format("vocabularies differ: {} has {} rows, {} has {}",
                                        reference.path(), reference.vocab_size(), candidate.path(),
                                        candidate.vocab_size()));
  }
  CHECK(options.window_tokens <= reference.window_tokens() &&
        options.window_tokens <= candidate.window_tokens());
  for (const TokenId id : tokens) {
    if (id < 0 || id >= reference.vocab_size()) {
      return invalid_argument(
          fmt::format("token id {} lies outside the vocabulary of {}", id, reference.vocab_size()));
    }
  }
  return Comparer(reference, candidate, options, progress).run(tokens, bos);
}

std::string comparison_text(const ModelComparison& result) {
  const double ratio = result.candidate.perplexity() / result.reference.perplexity();
  const auto range = [](const ModelScore& score) {
    return fmt::format("{:.4f} +- {:.4f}", score.perplexity(),
                       score.perplexity() * score.nll_error);
  };
  return fmt::format(
      "{} tokens scored in {} windows of {}\n"
      "perplexity of the source  {}\n"
      "perplexity of the result  {}  ({:+.3f} +- {:.3f} %)\n"
      "KL divergence             {:.6f} +- {:.6f} nats (99th percentile {:.5f}, largest {:.5f})\n"
      "same likeliest token      {:.2f} %\n",
      result.num_scored_tokens, result.num_windows, result.window_tokens, range(result.reference),
      range(result.candidate), 100 * (ratio - 1), 100 * ratio * result.nll_change_error,
      result.mean_kl, result.kl_error, result.kl_p99, result.largest_kl,
      100 * result.top1_agreement);
}

std::string comparison_json(const ModelComparison& result) {
  std::string out = fmt::format(
      "{{\"tokens\":{},\"scored_tokens\":{},\"windows\":{},\"window_tokens\":{}", result.num_tokens,
      result.num_scored_tokens, result.num_windows, result.window_tokens);
  const auto number = [&](const char* name, double value) {
    out += fmt::format(",\"{}\":", name);
    append_json_number(out, value);
  };
  number("source_perplexity", result.reference.perplexity());
  number("result_perplexity", result.candidate.perplexity());
  number("source_nll", result.reference.mean_nll);
  number("source_nll_error", result.reference.nll_error);
  number("result_nll", result.candidate.mean_nll);
  number("result_nll_error", result.candidate.nll_error);
  number("nll_change_error", result.nll_change_error);
  number("mean_kl", result.mean_kl);
  number("mean_kl_error", result.kl_error);
  number("p99_kl", result.kl_p99);
  number("largest_kl", result.largest_kl);
  number("top1_agreement", result.top1_agreement);
  return out + "}";
}

}  // namespace sparrow
