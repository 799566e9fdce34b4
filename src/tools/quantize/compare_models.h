#pragma once
// compare_models: how well a model predicts a text, and how far another one's predictions are from
// it: perplexity of both, the Kullback-Leibler divergence of the candidate's next-token
// distribution from the reference's, and how often their likeliest tokens agree. Both models run as
// they would be served (their own weight formats and kernels), in lockstep, so only a few rows of
// logits are held at a time.
//
// The text is cut into windows that do not overlap; a window starts without memory of the one
// before (with the tokenizer's bos where plain text gets one) and every token behind its first is
// scored. Softmax runs over the whole head, rows without a token included, as reference
// implementations do; sums are taken in double. Results do not depend on the number of threads.
//
//   ASSIGN_OR_RETURN(auto reference, ScoringModel::open("r1", options));
//   ASSIGN_OR_RETURN(auto candidate, ScoringModel::open("r1-q4_k_m.gguf", options));
//   ASSIGN_OR_RETURN(ModelComparison result, compare_models(*reference, *candidate, ids, {}, {}));

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "core/ids.h"
#include "model/cpu_executor.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

struct ScoringOptions {
  int window_tokens = 512;  // 2 or more; at most the model's positions
  int num_threads = 0;
  std::string isa;                               // as CpuExecutorOptions
  PackedFormats formats;                         // the same
  const std::atomic<bool>* cancelled = nullptr;  // looked at before every step
};

// A model on an executor that keeps one window and shows its logits. Move it not: owned by pointer.
class ScoringModel {
 public:
  // Logits of one row of a step: [vocab].
  using RowCallback = std::function<void(int row, std::span<const float> logits)>;

  static Result<std::unique_ptr<ScoringModel>> open(const std::string& path,
                                                    const ScoringOptions& options);

  const std::string& path() const { return path_; }
  const std::string& format_name() const { return format_name_; }
  int vocab_size() const { return vocab_size_; }
  int window_tokens() const { return window_tokens_; }
  // Null: the model has none.
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }

  // The next tokens of the window (0 .. kStepTokens of them); position 0 starts a new one. `rows`
  // is called in order, row i being the prediction after tokens[i].
  void step(int first_position, std::span<const TokenId> tokens, const RowCallback& rows);

  static constexpr int kStepTokens = 32;

 private:
  ScoringModel() = default;

  std::string path_;
  std::string format_name_;
  int vocab_size_ = 0;
  int window_tokens_ = 0;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<CpuExecutor> executor_;
  SamplingParams params_;
  BatchPlan plan_;
  bool started_ = false;
};

struct ModelScore {
  double mean_nll = 0;   // negative log-likelihood per scored token, in nats
  double nll_error = 0;  // standard error of the mean

  double perplexity() const;
};

struct ModelComparison {
  int64_t num_tokens = 0;         // of the text that were used
  int64_t num_scored_tokens = 0;  // those that had a token before them
  int num_windows = 0;
  int window_tokens = 0;
  ModelScore reference;
  ModelScore candidate;
  // Standard error of candidate.mean_nll - reference.mean_nll, token by token: far smaller than
  // those of the two, because what is hard for one is hard for the other.
  double nll_change_error = 0;
  double mean_kl = 0;  // KL(reference || candidate), nats
  double kl_error = 0;
  double kl_p99 = 0;
  double largest_kl = 0;
  double top1_agreement = 0;  // share of the scored positions
};

struct CompareProgress {
  int64_t done_tokens = 0;
  int64_t total_tokens = 0;
  double reference_perplexity = 0;  // so far
  double candidate_perplexity = 0;
  double mean_kl = 0;
};
using CompareProgressCallback = std::function<void(const CompareProgress&)>;

// Token ids of a text file (at most max_tokens of them, 0: all), without bos. `total` receives how
// many the text has.
Result<std::vector<TokenId>> read_text_tokens(const std::string& path, const Tokenizer& tokenizer,
                                              int64_t max_tokens, int64_t* total);

// `bos` in front of every window; -1: none.
Result<ModelComparison> compare_models(ScoringModel& reference, ScoringModel& candidate,
                                       std::span<const TokenId> tokens, TokenId bos,
                                       const ScoringOptions& options,
                                       const CompareProgressCallback& progress);

// Lines for people, and a JSON object.
std::string comparison_text(const ModelComparison& result);
std::string comparison_json(const ModelComparison& result);

}  // namespace sparrow
