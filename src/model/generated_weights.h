#pragma once
// GeneratedWeights: a TensorSource whose values are a pure function of (seed, tensor name, index),
// for tests: tests/golden/make_golden.py makes the same values for PyTorch, bit for bit, so golden
// files hold logits only. Every value has at most 24 significant bits, so nothing depends on
// rounding. Norms lie around 1, K biases are large as in Qwen2, matrices keep the variance.
//
// Owns all tensors in memory: for small models. Thread-safe for reading.

#include <map>
#include <string>
#include <vector>

#include "model/tensor_source.h"

namespace sparrow {

// Two layers, GQA of three, a vocabulary of 200: what tests of the executor compute most often.
ModelConfig small_model_config();

class GeneratedWeights : public TensorSource {
 public:
  // Matrices (embedding and head included) get matrix_type where their rows are whole blocks, else
  // F32; types without a quantizer get random blocks of like size. Norms and biases are F32; with
  // BF16 matrices they hold values rounded to BF16. one_scale_per_row: of matrices of 8-bit groups.
  GeneratedWeights(const ModelConfig& config, uint64_t seed,
                   TensorType matrix_type = TensorType::kF32, bool one_scale_per_row = false);

  const ModelConfig& config() const override { return config_; }
  bool contains(std::string_view name) const override;
  Result<SourceTensor> tensor(std::string_view name) const override;
  void release(const SourceTensor& tensor) const override;
  std::string format_name() const override;

  // The token ids of the golden files: random, below the vocabulary size.
  std::vector<TokenId> token_ids(int num_tokens) const;

 private:
  struct Owned {
    SourceTensor view;
    std::vector<std::byte> bytes;
  };
  void add(const std::string& name, int64_t rows, int64_t cols, bool is_vector);

  const ModelConfig config_;
  const uint64_t seed_;
  const TensorType matrix_type_;
  const bool one_scale_per_row_;
  std::map<std::string, Owned, std::less<>> tensors_;
};

}  // namespace sparrow
