#include "tools/quantize/scale_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "kernels/packed_matrix.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "quant/search_int_groups.h"
#include "tools/quantize/calibrate_channels.h"
#include "tools/quantize/layer_runner.h"

namespace sparrow {
namespace {

constexpr int kAlphaSteps = 20;
// Channels that are nearly silent count as this share of the usual one: bounds the factors.
constexpr double kQuietest = 1e-3;

// Root mean square of every input over the text; inputs that share a factor take it together.
std::vector<double> channel_rms(const InputStatistics& statistics, const SharedInputs& shared) {
  const size_t num_inputs = statistics.squares.size();
  std::vector<double> squares = statistics.squares;
  if (!shared.empty()) {
    const auto num_factors = static_cast<size_t>(*std::max_element(shared.begin(), shared.end()));
    std::vector<double> sums(num_factors + 1), counts(num_factors + 1);
    for (size_t i = 0; i < num_inputs; ++i) {
      sums[static_cast<size_t>(shared[i])] += squares[i];
      counts[static_cast<size_t>(shared[i])] += 1;
    }
    for (size_t i = 0; i < num_inputs; ++i) {
      squares[i] = sums[static_cast<size_t>(shared[i])] / counts[static_cast<size_t>(shared[i])];
    }
  }
  const double total = std::accumulate(squares.begin(), squares.end(), 0.0);
  const double quietest = kQuietest * std::sqrt(total / static_cast<double>(num_inputs));
  for (double& value : squares) value = std::max(std::sqrt(value), quietest);
  return squares;
}

// rms^alpha with largest * smallest = 1, so that neither side leaves the range of 16-bit floats.
std::vector<float> factors_of(const std::vector<double>& rms, double alpha) {
  std::vector<float> factor(rms.size(), 1.0f);
  const auto [low, high] = std::minmax_element(rms.begin(), rms.end());
  const double middle = std::sqrt(*low * *high);
  if (alpha == 0 || !(middle > 0)) return factor;
  for (size_t i = 0; i < rms.size(); ++i) {
    factor[i] = static_cast<float>(std::pow(rms[i] / middle, alpha));
  }
  return factor;
}

std::vector<float> importance_of(const InputStatistics& statistics,
                                 const std::vector<float>& factor) {
  std::vector<float> importance(factor.size());
  // A channel that the text never uses still has a value to keep.
  const double total = std::accumulate(statistics.squares.begin(), statistics.squares.end(), 0.0);
  const double least = kQuietest * kQuietest * total / static_cast<double>(factor.size());
  for (size_t i = 0; i < factor.size(); ++i) {
    const double square = std::max(statistics.squares[i], least);
    importance[i] = static_cast<float>(square / static_cast<double>(statistics.num_tokens) /
                                       (double{factor[i]} * factor[i]));
  }
  if (!(total > 0)) std::fill(importance.begin(), importance.end(), 1.0f);
  return importance;
}

float rounded_to(TensorType type, float value) {
  std::byte bytes[4];
  quantize_row(type, &value, 1, bytes);
  dequantize_row(type, bytes, 1, &value);
  return value;
}

// Moves every factor by less than a rounding error of the stored type, so that value / factor is a
// value of that type. Where that is impossible (zeros are not: they stay zero) the factor is 1.
void make_exact(const DividedVector& vector, const SharedInputs& shared,
                std::vector<float>& factor) {
  if (vector.values.empty()) return;
  for (size_t i = 0; i < factor.size(); ++i) {
    const float value = vector.values[shared.empty() ? i : static_cast<size_t>(shared[i])];
    if (value == 0) continue;
    const float quotient = rounded_to(vector.stored, value / factor[i]);
    const float exact = value / quotient;
    const bool near = exact > 0.98f * factor[i] && exact < 1.02f * factor[i];
    factor[i] = near ? exact : 1.0f;
  }
}

// x as scale * int8 with one scale a row, as the kernels round inputs (Kernels::quantize).
void round_to_int8(float* x, int64_t cols) {
  float largest = 0;
  for (int64_t i = 0; i < cols; ++i) largest = std::max(largest, std::fabs(x[i]));
  if (!(largest > 1e-30f)) return;
  const float scale = largest / 127.0f, inverse = 127.0f / largest;
  for (int64_t i = 0; i < cols; ++i) x[i] = scale * std::nearbyint(x[i] * inverse);
}

}  // namespace

struct ScaleSearch::Sample {
  TensorType type = TensorType::kI4G128;
  int64_t num_rows = 0;
  std::vector<float> rows;     // [num_rows][inputs]
  std::vector<float> outputs;  // [num_samples][num_rows]: of the source
  PackedMatrix packed;         // the rows of the current try
};

void quantize_grouped_row(TensorType type, TensorType scale_type, const float* values,
                          const float* importance, int64_t cols, std::byte* out) {
  if (is_int4_group(type)) {
    search_int4_groups(type, scale_type, values, importance, cols, out);
  } else {
    quantize_int_channel(type, scale_type, values, cols, out);
  }
}

ScaleSearch::ScaleSearch(const TensorSource& source, TensorType scale_type, const Kernels& kernels,
                         ComputePool& pool, std::function<Status()> between)
    : source_(source),
      scale_type_(scale_type),
      kernels_(kernels),
      pool_(pool),
      between_(std::move(between)) {}

int64_t ScaleSearch::memory_bytes(int64_t num_inputs, int64_t num_matrices) {
  // Rows and packed rows of every matrix, the inputs of the current try; two sets of outputs.
  const int64_t floats = (2 * kSampleRows * num_matrices + kSampleTokens) * num_inputs +
                         2 * kSampleTokens * kSampleRows * num_matrices;
  return floats * static_cast<int64_t>(sizeof(float));
}

Result<ScaleSearch::Sample> ScaleSearch::take_sample(const SearchedMatrix& matrix,
                                                     const InputStatistics& statistics) {
  ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(matrix.name));
  CHECK(tensor.cols == statistics.num_inputs());
  Sample sample;
  sample.type = matrix.type;
  sample.num_rows = std::min(kSampleRows, tensor.rows);
  sample.rows.resize(static_cast<size_t>(sample.num_rows * tensor.cols));
  for (int64_t i = 0; i < sample.num_rows; ++i) {
    const int64_t row = i * tensor.rows / sample.num_rows;
    dequantize_row(tensor.type, tensor.bytes.data() + static_cast<size_t>(row) * tensor.row_bytes(),
                   tensor.cols, sample.rows.data() + i * tensor.cols);
  }
  source_.release(tensor);
  ASSIGN_OR_RETURN(sample.packed,
                   PackedMatrix::allocate(WeightFormat::kF32, sample.num_rows, tensor.cols));
  RETURN_IF_ERROR(sample.packed.pack_rows(0, sample.num_rows, TensorType::kF32,
                                          std::as_bytes(std::span(sample.rows))));
  sample.outputs.resize(static_cast<size_t>(statistics.num_samples * sample.num_rows));
  multiply_plain(kernels_, pool_, sample.packed, statistics.samples.data(), statistics.num_samples,
                 nullptr, false, sample.outputs.data());
  return sample;
}

Result<double> ScaleSearch::error_of(std::vector<Sample>& samples,
                                     const InputStatistics& statistics,
                                     const std::vector<float>& factor,
                                     const std::vector<float>& importance) {
  const int64_t cols = statistics.num_inputs(), num_tokens = statistics.num_samples;
  std::vector<float> inputs = statistics.samples;
  pool_.parallel_for(num_tokens, [&](int64_t token, int) {
    float* x = inputs.data() + token * cols;
    for (int64_t i = 0; i < cols; ++i) x[i] /= factor[static_cast<size_t>(i)];
    round_to_int8(x, cols);
  });
  double error = 0;
  for (Sample& sample : samples) {
    RETURN_IF_ERROR(between_());
    std::vector<Status> failures(static_cast<size_t>(sample.packed.num_strips()));
    pool_.parallel_for(sample.packed.num_strips(), [&](int64_t strip, int) {
      const int64_t begin = strip * kStripRows;
      const int64_t rows = std::min<int64_t>(kStripRows, sample.num_rows - begin);
      std::vector<float> values(static_cast<size_t>(rows * cols));
      std::vector<std::byte> quantized(tensor_row_bytes(sample.type, cols));
      for (int64_t row = 0; row < rows; ++row) {
        float* out = values.data() + row * cols;
        const float* in = sample.rows.data() + (begin + row) * cols;
        for (int64_t i = 0; i < cols; ++i) out[i] = in[i] * factor[static_cast<size_t>(i)];
        quantize_grouped_row(sample.type, scale_type_, out, importance.data(), cols,
                             quantized.data());
        dequantize_row(sample.type, quantized.data(), cols, out);
      }
      failures[static_cast<size_t>(strip)] =
          sample.packed.pack_rows(begin, rows, TensorType::kF32, std::as_bytes(std::span(values)));
    });
    for (const Status& failure : failures) RETURN_IF_ERROR(failure);
    std::vector<float> outputs(sample.outputs.size());
    multiply_plain(kernels_, pool_, sample.packed, inputs.data(), num_tokens, nullptr, false,
                   outputs.data());
    // In one order, whatever the threads.
    for (size_t i = 0; i < outputs.size(); ++i) {
      const double difference = double{outputs[i]} - sample.outputs[i];
      error += difference * difference;
    }
  }
  return error;
}

Result<InputScales> ScaleSearch::search(const std::vector<SearchedMatrix>& matrices,
                                        const InputStatistics& statistics,
                                        const SharedInputs& shared, const DividedVector& vector) {
  std::vector<Sample> samples;
  for (const SearchedMatrix& matrix : matrices) {
    ASSIGN_OR_RETURN(Sample sample, take_sample(matrix, statistics));
    samples.push_back(std::move(sample));
  }
  const std::vector<double> rms = channel_rms(statistics, shared);
  InputScales best;
  double best_error = 0, plain_error = 0;
  for (int step = 0; step <= kAlphaSteps; ++step) {
    const double alpha = static_cast<double>(step) / kAlphaSteps;
    std::vector<float> factor = factors_of(rms, alpha);
    if (step > 0) make_exact(vector, shared, factor);
    std::vector<float> importance = importance_of(statistics, factor);
    ASSIGN_OR_RETURN(const double error, error_of(samples, statistics, factor, importance));
    if (!std::isfinite(error)) continue;
    if (step == 0) plain_error = error;
    if (step > 0 && !(error < best_error)) continue;
    best_error = error;
    best.factor = std::move(factor);
    best.importance = std::move(importance);
    best.alpha = static_cast<float>(alpha);
  }
  best.error = plain_error > 0 ? best_error / plain_error : 1;
  return best;
}

}  // namespace sparrow
