#pragma once
// QuantizeReport: what a conversion did to every tensor, as numbers, as a table and as JSON. Plain
// data; the texts are pure functions of it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quant/tensor_type.h"

namespace sparrow {

struct TensorReport {
  std::string name;  // canonical
  TensorType from = TensorType::kF32;
  TensorType to = TensorType::kF32;
  int64_t rows = 1;
  int64_t cols = 0;
  bool is_vector = false;
  uint64_t bytes = 0;        // in the result
  double square_sum = 0;     // of the source's values
  double square_error = 0;   // sum over the values of (result - source)^2
  double largest_error = 0;  // largest |result - source|
  double standard_deviation = 0;
  int64_t num_outliers = 0;  // values further than six standard deviations from the mean

  int64_t num_values() const { return rows * cols; }
  double relative_rms_error() const;  // sqrt(square_error / square_sum); 0 for a tensor of zeros
  double bits_per_weight() const;
};

struct QuantizeReport {
  std::string source;         // path
  std::string source_format;  // "safetensors BF16"
  std::string result;         // path
  std::string mix;            // "q4_k_m"
  uint64_t source_bytes = 0;  // of all tensors
  uint64_t result_bytes = 0;
  double seconds = 0;
  std::vector<TensorReport> tensors;
  std::vector<std::string> warnings;  // one sentence each

  int64_t num_values() const;
  double bits_per_weight() const;  // of all tensors together
  // Over all matrices, sums of squares taken together.
  double relative_rms_error() const;
};

// One line a tensor.
std::string tensor_table(const QuantizeReport& report);
// Types and their shares, totals, the worst tensors, warnings.
std::string summary_text(const QuantizeReport& report);
// An object, without a newline at the end. The others are JSON of further parts that become fields;
// empty: left out.
std::string report_json(const QuantizeReport& report, std::string_view fit = {},
                        std::string_view calibration = {}, std::string_view evaluation = {});

}  // namespace sparrow
