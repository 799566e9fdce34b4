#pragma once
// LayerRunner: the layers of a model over a text in fp32, one layer's weights in memory at a time,
// with the inputs of its matrices shown on the way. The text is cut into windows that do not see
// each other. Weights are those of the source: BF16 and F16 as they are, all else as fp32. Results
// do not depend on the number of threads. One calling thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/compute_pool.h"
#include "base/status.h"
#include "core/ids.h"
#include "kernels/packed_matrix.h"
#include "model/tensor_source.h"
#include "tools/quantize/channel_scales.h"

namespace sparrow {

class LayerRunner {
 public:
  // Inputs of one kind of a window's tokens: rows [num_tokens][layer_input_size]. Where the outputs
  // are added to the residual stream (o, down), `residual_rms` holds the stream's root mean square
  // after that, [num_tokens]: the next norm divides by it. Else null. An error ends the
  // run.
  using Inputs = std::function<Status(LayerInput input, int64_t first_token, int64_t num_tokens,
                                      const float* rows, const float* residual_rms)>;

  static Result<std::unique_ptr<LayerRunner>> create(const TensorSource& source,
                                                     std::span<const TokenId> tokens,
                                                     int64_t window_tokens, ComputePool& pool);
  ~LayerRunner();

  int64_t num_tokens() const { return num_tokens_; }
  // Of the residual stream, of one layer's weights and of one window's rows.
  int64_t memory_bytes() const { return memory_bytes_; }
  // Layers run in order, each once.
  Status run_layer(int32_t index, const Inputs& inputs);

 private:
  struct Layer;
  struct Window;
  LayerRunner(const TensorSource& source, ComputePool& pool);
  Status embed(std::span<const TokenId> tokens);
  Status load_layer(int32_t index);
  Status load_matrix(const std::string& name, PackedMatrix& out);
  Status load_vector(const std::string& name, std::vector<float>& out);
  Status run_window(int64_t begin, const Inputs& inputs);
  void normalise(const float* x, const std::vector<float>& gain);
  Status attend();
  void attend_head(const PackedMatrix& k, const PackedMatrix& v, int32_t head);
  void measure_residual(const float* x);

  const TensorSource& source_;
  const ModelConfig& config_;
  const Kernels* kernels_ = nullptr;
  ComputePool& pool_;
  int64_t num_tokens_ = 0;
  int64_t window_tokens_ = 0;
  int64_t memory_bytes_ = 0;
  std::vector<float> x_;  // [num_tokens][H]: the residual stream
  std::unique_ptr<Layer> layer_;
  std::unique_ptr<Window> window_;
};

// out [num_tokens][rows of weights] = inputs [num_tokens][cols] weights^T (+ bias) (added to out),
// on all threads. Plain formats only.
void multiply_plain(const Kernels& kernels, ComputePool& pool, const PackedMatrix& weights,
                    const float* inputs, int64_t num_tokens, const float* bias, bool accumulate,
                    float* out);

}  // namespace sparrow
