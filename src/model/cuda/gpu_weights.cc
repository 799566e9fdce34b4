#include "model/cuda/gpu_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kernels/cuda/linear/pack_gpu_matrix.h"
#include "model/cuda/plans/gpu_matrix_format.h"
#include "model/cuda/plans/gpu_workspace_layout.h"
#include "quant/convert_row.h"

namespace sparrow {
namespace {

size_t aligned(size_t bytes) {
  constexpr auto kAlignment = static_cast<size_t>(kGpuAlignment);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Loads tensors of one source into memory of the device, some rows at a time.
class Loader {
 public:
  Loader(GpuStaging& staging, const TensorSource& source, const GpuExecutorOptions& options,
         GpuWeights& weights)
      : staging_(staging), source_(source), options_(options), weights_(weights) {}

  // Vectors one after the other, as one.
  Result<const float*> vectors(std::span<const std::string> names);
  // Matrices with equal rows, one below the other: as one if they are packed alike, else as many.
  Result<std::vector<GpuMatrix>> stacked(std::span<const std::string> names);
  Result<GpuMatrix> matrix(const std::string& name) {
    ASSIGN_OR_RETURN(const std::vector<GpuMatrix> one, stacked({&name, 1}));
    return one.front();
  }

 private:
  GpuMatrixFormat format_of(const std::string& name, const SourceTensor& tensor) const {
    return gpu_matrix_format(name, tensor, source_.config().tied_embeddings, options_);
  }
  Result<void*> allocate(size_t bytes);
  Result<GpuMatrix> empty_matrix(const GpuMatrixFormat& format, int64_t rows, int64_t cols);
  Status fill(const std::string& name, int64_t first_row, const GpuMatrixFormat& format,
              const GpuMatrix& matrix);

  GpuStaging& staging_;
  const TensorSource& source_;
  const GpuExecutorOptions& options_;
  GpuWeights& weights_;
};

Result<void*> Loader::allocate(size_t bytes) {
  const auto begin = static_cast<size_t>(weights_.total_bytes);
  if (aligned(bytes) > weights_.memory.size_bytes() - begin) {
    return internal_error(fmt::format("the weights take more than the {} bytes that were planned",
                                      weights_.memory.size_bytes()));
  }
  weights_.total_bytes += static_cast<int64_t>(aligned(bytes));
  return weights_.memory.as<void>(begin);
}

Result<const float*> Loader::vectors(std::span<const std::string> names) {
  std::vector<float> values;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(name));
    const auto count = static_cast<size_t>(tensor.rows * tensor.cols);
    values.resize(values.size() + count);
    dequantize_row(tensor.type, tensor.bytes.data(), static_cast<int64_t>(count),
                   values.data() + values.size() - count);
    source_.release(tensor);
  }
  if (first_non_finite(TensorType::kF32, std::as_bytes(std::span(values))) >= 0) {
    return data_loss(names.front() + ": a value is not a finite number");
  }
  const size_t bytes = values.size() * sizeof(float);
  ASSIGN_OR_RETURN(void* memory, allocate(bytes));
  RETURN_IF_ERROR(staging_.upload(memory, values.data(), bytes));
  return static_cast<const float*>(memory);
}

// One allocation: values, scales, zeros, each aligned.
Result<GpuMatrix> Loader::empty_matrix(const GpuMatrixFormat& format, int64_t rows, int64_t cols) {
  const GpuMatrixBytes bytes = format.bytes(rows, cols);
  const size_t scales_begin = aligned(bytes.values);
  const size_t zeros_begin = scales_begin + aligned(bytes.scales);
  ASSIGN_OR_RETURN(void* memory, allocate(zeros_begin + bytes.zeros));
  auto* base = static_cast<std::byte*>(memory);
  GpuMatrix matrix;
  matrix.format = format.type;
  matrix.rows = static_cast<int32_t>(rows);
  matrix.cols = static_cast<int32_t>(cols);
  matrix.group = format.packing(cols).group;
  matrix.values = base;
  matrix.scales = bytes.scales > 0 ? base + scales_begin : nullptr;
  matrix.zeros = bytes.zeros > 0 ? reinterpret_cast<uint8_t*>(base + zeros_begin) : nullptr;
  matrix.has_f32_scales = format.has_f32_scales;
  return matrix;
}

Result<std::vector<GpuMatrix>> Loader::stacked(std::span<const std::string> names) {
  std::vector<GpuMatrixFormat> formats;
  std::vector<int64_t> rows;
  int64_t cols = 0, sum_rows = 0;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source_.describe(name));
    formats.push_back(format_of(name, tensor));
    rows.push_back(tensor.rows);
    sum_rows += tensor.rows;
    cols = tensor.cols;
  }
  const bool alike = std::all_of(formats.begin(), formats.end(), [&](const GpuMatrixFormat& one) {
    return one == formats.front();
  });
  std::vector<GpuMatrix> matrices;
  if (alike) {
    ASSIGN_OR_RETURN(const GpuMatrix matrix, empty_matrix(formats.front(), sum_rows, cols));
    matrices.push_back(matrix);
  }
  int64_t first_row = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!alike) {
      ASSIGN_OR_RETURN(const GpuMatrix matrix, empty_matrix(formats[i], rows[i], cols));
      matrices.push_back(matrix);
    }
    RETURN_IF_ERROR(fill(names[i], alike ? first_row : 0, formats[i], matrices.back()));
    first_row += rows[i];
  }
  return matrices;
}

// The rows of one tensor, from first_row of the matrix on, in pieces that the staging takes.
Status Loader::fill(const std::string& name, int64_t first_row, const GpuMatrixFormat& format,
                    const GpuMatrix& matrix) {
  constexpr size_t kPieceBytes = 1 << 19;
  ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(name));
  const GpuMatrixBytes row_bytes = format.bytes(1, tensor.cols);
  const int64_t step = std::max<int64_t>(
      1, static_cast<int64_t>(kPieceBytes / std::max<size_t>(row_bytes.values, 1)));
  std::array<std::vector<std::byte>, 3> pieces;
  for (int64_t row = 0; row < tensor.rows; row += step) {
    const int64_t count = std::min(step, tensor.rows - row);
    const GpuMatrixBytes bytes = format.bytes(count, tensor.cols);
    pieces[0].resize(bytes.values);
    pieces[1].resize(bytes.scales);
    pieces[2].resize(bytes.zeros);
    const Status packed =
        pack_gpu_rows(format.packing(tensor.cols),
                      {tensor.type, count, tensor.cols, tensor.row_span(row, count), row},
                      {pieces[0], pieces[1], pieces[2]});
    if (!packed.ok()) {
      return Status(packed.code(), fmt::format("{}: {}", name, packed.message()));
    }
    const auto at = static_cast<size_t>(first_row + row);
    const std::pair<const void*, size_t> places[] = {{matrix.values, row_bytes.values},
                                                     {matrix.scales, row_bytes.scales},
                                                     {matrix.zeros, row_bytes.zeros}};
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].empty()) continue;
      auto* place = static_cast<std::byte*>(const_cast<void*>(places[i].first));
      RETURN_IF_ERROR(
          staging_.upload(place + at * places[i].second, pieces[i].data(), pieces[i].size()));
    }
    source_.release_rows(tensor, row, count);
  }
  source_.release(tensor);
  return ok_status();
}

// The upper and the lower rows.
std::vector<GpuMatrix> halves_of(const GpuMatrix& matrix) {
  GpuMatrix upper = matrix;
  upper.rows /= 2;
  GpuMatrix lower = upper;
  const int64_t num_values = int64_t{upper.rows} * upper.cols;
  const auto bytes_of = [&](int64_t bits) { return num_values * bits / 8; };
  const auto behind = [](const void* begin, int64_t bytes) -> const void* {
    return begin == nullptr ? nullptr : static_cast<const std::byte*>(begin) + bytes;
  };
  const bool is_int4 = matrix.format == GpuWeightFormat::kInt4;
  const bool is_int8 = matrix.format == GpuWeightFormat::kInt8;
  lower.values = behind(upper.values, bytes_of(is_int4 ? 4 : (is_int8 ? 8 : 16)));
  if (matrix.group == 0) return {upper, lower};
  const int64_t num_groups = num_values / matrix.group;
  lower.scales = behind(upper.scales, num_groups * (matrix.has_f32_scales ? 4 : 2));
  if (upper.zeros != nullptr) lower.zeros = upper.zeros + num_groups;
  return {upper, lower};
}

Status load_layer(Loader& loader, int32_t index, GpuLayerWeights& layer) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const auto names = [&](std::initializer_list<const char*> suffixes) {
    std::vector<std::string> all;
    for (const char* suffix : suffixes) all.push_back(prefix + suffix);
    return all;
  };
  ASSIGN_OR_RETURN(layer.attention_norm, loader.vectors(names({"input_layernorm.weight"})));
  ASSIGN_OR_RETURN(layer.ffn_norm, loader.vectors(names({"post_attention_layernorm.weight"})));
  ASSIGN_OR_RETURN(layer.qkv_bias,
                   loader.vectors(names({"self_attn.q_proj.bias", "self_attn.k_proj.bias",
                                         "self_attn.v_proj.bias"})));
  ASSIGN_OR_RETURN(layer.qkv,
                   loader.stacked(names({"self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                         "self_attn.v_proj.weight"})));
  ASSIGN_OR_RETURN(layer.o, loader.matrix(prefix + "self_attn.o_proj.weight"));
  ASSIGN_OR_RETURN(std::vector<GpuMatrix> gate_up,
                   loader.stacked(names({"mlp.gate_proj.weight", "mlp.up_proj.weight"})));
  if (gate_up.size() == 1) gate_up = halves_of(gate_up.front());
  layer.gate = gate_up[0];
  layer.up = gate_up[1];
  if (layer.gate.format != layer.up.format || layer.gate.group != layer.up.group ||
      layer.gate.has_f32_scales != layer.up.has_f32_scales ||
      (layer.gate.zeros == nullptr) != (layer.up.zeros == nullptr)) {
    return unimplemented(prefix + "mlp: gate_proj and up_proj of different types on a GPU");
  }
  ASSIGN_OR_RETURN(layer.down, loader.matrix(prefix + "mlp.down_proj.weight"));
  return ok_status();
}

}  // namespace

Result<GpuWeights> GpuWeights::load(GpuDevice& device, GpuStaging& staging,
                                    const TensorSource& source, const GpuExecutorOptions& options,
                                    int64_t most_bytes) {
  const ModelConfig& config = source.config();
  GpuWeights weights;
  ASSIGN_OR_RETURN(weights.memory, GpuBuffer::create(device, static_cast<size_t>(most_bytes)));
  Loader loader(staging, source, options, weights);
  ASSIGN_OR_RETURN(weights.embedding, loader.matrix("model.embed_tokens.weight"));
  const int64_t embedding_bytes = weights.total_bytes;
  weights.layers.resize(static_cast<size_t>(config.num_layers));
  for (int32_t index = 0; index < config.num_layers; ++index) {
    RETURN_IF_ERROR(load_layer(loader, index, weights.layers[static_cast<size_t>(index)]));
  }
  const std::string final_norm = "model.norm.weight";
  ASSIGN_OR_RETURN(weights.final_norm, loader.vectors({&final_norm, 1}));
  if (config.tied_embeddings) {
    weights.head = weights.embedding;
    weights.bytes_per_token = weights.total_bytes;
  } else {
    ASSIGN_OR_RETURN(weights.head, loader.matrix("lm_head.weight"));
    weights.bytes_per_token = weights.total_bytes - embedding_bytes;
  }
  return weights;
}

}  // namespace sparrow
