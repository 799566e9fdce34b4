#include "tools/quantize/memory_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "kernels/packed_matrix.h"
#include "model/cpu_memory_plan.h"

namespace sparrow {
namespace {

struct SourceSize {
  int64_t bytes = 0;                        // of all tensors
  TensorType main_type = TensorType::kF32;  // of most values
};

Result<SourceSize> size_of_source(const TensorSource& source) {
  SourceSize size;
  std::map<TensorType, int64_t> values;
  for (const LayoutTensor& layout : qwen2_tensor_layout(source.config())) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source.describe(layout.name));
    size.bytes += static_cast<int64_t>(stored_bytes(tensor.type, layout.rows, layout.cols));
    if (!layout.is_vector) values[tensor.type] += layout.rows * layout.cols;
  }
  int64_t most = 0;
  for (const auto& [type, count] : values) {
    if (count <= most) continue;
    most = count;
    size.main_type = type;
  }
  return size;
}

// As the loader holds what is written: w8 files have one scale a row, which is not repeated; the
// scales of w4 are BF16, which fp16 holds exactly where they are not extreme, so that groups of 32
// are Q4_0.
WeightFormat held_as(QuantMix mix, TensorType type, int64_t cols) {
  if (mix == QuantMix::kW8) return weight_format_for_row_scales(type, cols);
  return type == TensorType::kI4G32 ? WeightFormat::kQ4_0 : weight_format_for(type);
}

int64_t packed_bytes(QuantMix mix, const ModelConfig& config, bool gguf) {
  int64_t bytes = 0;
  for (const LayoutTensor& tensor : qwen2_tensor_layout(config)) {
    if (tensor.is_vector) {
      bytes += tensor.cols * static_cast<int64_t>(sizeof(float));
      continue;
    }
    const TensorType type = mix_tensor_type(mix, config, tensor, gguf);
    bytes += PackedMatrix::bytes_of(held_as(mix, type, tensor.cols), tensor.rows, tensor.cols);
  }
  return bytes;
}

// Of two plain types of one size only the source's own keeps its values. Norms widen to F32 in
// GGUF files, hence the thousandth.
bool has_gain(QuantMix mix, int64_t file_bytes, const SourceSize& source) {
  if (is_plain_mix(mix) &&
      quant_mix_name(mix) == std::string_view(tensor_type_info(source.main_type).name)) {
    return true;
  }
  if (is_plain_mix(mix) && tensor_type_info(source.main_type).block_elements == 1) {
    return file_bytes < source.bytes - source.bytes / 1000;
  }
  return file_bytes <= source.bytes + source.bytes / 1000;
}

std::string gigabytes(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size >= 1e9 ? fmt::format("{:.2f} GB", size * 1e-9)
                     : fmt::format("{:.2f} MB", size * 1e-6);
}

}  // namespace

Result<FitTable> fit_table(const TensorSource& source, int32_t max_context, int64_t limit_bytes,
                           bool gguf) {
  const ModelConfig& config = source.config();
  CpuExecutorOptions options;
  options.num_slots = 1;
  options.max_context = max_context;
  options.num_blocks = (max_context + kKvBlockTokens - 1) / kKvBlockTokens;
  options.memory_limit_bytes = std::numeric_limits<int64_t>::max() / 2;
  ASSIGN_OR_RETURN(const MemoryPlan plan, plan_cpu_memory(config, options));
  ASSIGN_OR_RETURN(const SourceSize size, size_of_source(source));
  FitTable table;
  table.limit_bytes = limit_bytes;
  table.max_context = max_context;
  table.kv_bytes = plan.kv_bytes;
  table.workspace_bytes = plan.workspace_bytes;
  for (const QuantMix mix : gguf ? gguf_mixes() : directory_mixes()) {
    FitRow row;
    row.mix = mix;
    row.file_bytes = mix_file_bytes(mix, config, gguf);
    row.weights_bytes = packed_bytes(mix, config, gguf);
    row.memory_bytes = row.weights_bytes + plan.kv_bytes + plan.workspace_bytes;
    row.fits = row.memory_bytes <= limit_bytes;
    row.gains = has_gain(mix, row.file_bytes, size);
    if (row.fits && row.gains && !table.best.has_value()) table.best = mix;
    table.rows.push_back(row);
  }
  return table;
}

std::string fit_text(const FitTable& table) {
  std::string out = fmt::format(
      "memory of one sequence of {} tokens, limit {}: weights + KV cache {} + workspace {}\n"
      "{:<8} {:>12} {:>12} {:>12}\n",
      table.max_context, gigabytes(table.limit_bytes), gigabytes(table.kv_bytes),
      gigabytes(table.workspace_bytes), "type", "file", "weights", "memory");
  for (const FitRow& row : table.rows) {
    const char* note = table.best == row.mix ? "  <- best that fits"
                       : !row.gains          ? "  no gain over the source"
                       : row.fits            ? "  fits"
                                             : "  too large";
    out += fmt::format("{:<8} {:>12} {:>12} {:>12}{}\n", quant_mix_name(row.mix),
                       gigabytes(row.file_bytes), gigabytes(row.weights_bytes),
                       gigabytes(row.memory_bytes), note);
  }
  return out;
}

std::string fit_json(const FitTable& table) {
  std::string out = fmt::format(
      "{{\"limit_bytes\":{},\"max_model_len\":{},\"kv_bytes\":{},\"workspace_bytes\":{},"
      "\"best\":{},\"types\":[",
      table.limit_bytes, table.max_context, table.kv_bytes, table.workspace_bytes,
      table.best.has_value() ? fmt::format("\"{}\"", quant_mix_name(*table.best)) : "null");
  for (const FitRow& row : table.rows) {
    out += fmt::format(
        "{}{{\"type\":\"{}\",\"file_bytes\":{},\"weights_bytes\":{},\"memory_bytes\":{},"
        "\"fits\":{},\"gains\":{}}}",
        &row == table.rows.data() ? "" : ",", quant_mix_name(row.mix), row.file_bytes,
        row.weights_bytes, row.memory_bytes, row.fits, row.gains);
  }
  return out + "]}";
}

}  // namespace sparrow
