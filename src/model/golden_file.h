#pragma once
// Reads a golden file of tests/golden (made by make_golden.py there) and compares logits with it.
// Test support only.

#include <span>
#include <string>
#include <vector>

#include "model/generated_weights.h"

namespace sparrow {

struct GoldenCase {
  TensorType weights = TensorType::kF32;  // or kBF16
  int num_tokens = 0;
  int64_t token_sum = 0;
  std::vector<int32_t> rows;
  std::vector<float> logits;  // [rows][vocab]
};

struct GoldenFile {
  ModelConfig config;
  uint64_t seed = 0;
  std::vector<GoldenCase> cases;
};

// `name` without ".json"; tests run in the repository's root.
Result<GoldenFile> read_golden_file(const std::string& name);
std::vector<std::string> golden_names();

// sqrt(sum (a - b)^2 / sum b^2); infinite when the sizes differ.
double relative_l2(std::span<const float> found, std::span<const float> expected);
// Rows whose arg-max differs although the expected margin (best minus second) exceeds the largest
// absolute error of the row: 0 is a pass.
int num_wrong_argmax(std::span<const float> found, std::span<const float> expected, int vocab_size);

}  // namespace sparrow
