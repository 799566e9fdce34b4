#include "model/cpu_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "model/files/tensor_layout.h"
#include "quant/convert_row.h"

namespace sparrow {
namespace {

bool is_plain(TensorType type) {
  return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// What a matrix is packed as, and the row format its rows have when they are packed.
struct Packing {
  TensorType rows;
  WeightFormat format;
  // A type that was asked for and whose blocks do not divide this matrix's rows.
  std::optional<TensorType> unfit;
};

// The types asked for are tried from the particular to the general, so that one whose blocks do
// not fit leaves the others in force.
Packing packing_of(const std::string& name, const SourceTensor& tensor, bool tied,
                   const PackedFormats& formats) {
  const bool head = name == kHead || (tied && name == kEmbedding);
  const std::optional<WeightFormat> wishes[] = {
      head ? formats.head : std::nullopt, name == kEmbedding ? formats.embedding : std::nullopt,
      is_plain(tensor.type) ? formats.plain : std::nullopt};
  std::optional<TensorType> unfit;
  for (const std::optional<WeightFormat>& wish : wishes) {
    if (!wish) continue;
    const TensorType wanted = tensor_type_for(*wish);
    CHECK(can_quantize(wanted));
    if (tensor.cols % tensor_type_info(wanted).block_elements == 0) {
      return {wanted, weight_format_for(wanted), unfit};
    }
    if (!unfit) unfit = wanted;
  }
  return {tensor.type,
          tensor.one_scale_per_row ? weight_format_for_row_scales(tensor.type, tensor.cols)
                                   : weight_format_for(tensor.type),
          unfit};
}

// Loads tensors of one source. Rows are packed by all threads, a strip at a time; the scratch of a
// thread holds the converted rows of one strip.
class WeightLoader {
 public:
  // Matrices lie in `memory` as long as it lasts.
  WeightLoader(const TensorSource& source, const PackedFormats& formats,
               std::span<std::byte> memory, ComputePool& pool)
      : source_(source),
        formats_(formats),
        memory_left_(memory),
        pool_(pool),
        scratch_(static_cast<size_t>(pool.num_threads())) {}

  Status load_matrix(const std::string& name, PackedMatrix& out) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(name));
    const Packing packing = packing_of(name, tensor, source_.config().tied_embeddings, formats_);
    warn_of_unfit(name, tensor, packing);
    ASSIGN_OR_RETURN(out, next_matrix(packing.format, tensor));
    std::vector<Status> failures(scratch_.size());
    // Shared out as products are, so that on several memory nodes a thread's strips are near it.
    pool_.parallel_for(out.num_strips(), [&](int64_t strip, int worker) {
      Status status =
          pack_strip(tensor, packing.rows, strip, scratch_[static_cast<size_t>(worker)], out);
      if (!status.ok()) failures[static_cast<size_t>(worker)] = std::move(status);
      const int64_t row = strip * kStripRows;
      source_.release_rows(tensor, row, std::min<int64_t>(kStripRows, tensor.rows - row));
    });
    source_.release(tensor);
    for (const Status& failure : failures) {
      if (!failure.ok()) return Status(failure.code(), name + ": " + failure.message());
    }
    return ok_status();
  }

  Status load_vector(const std::string& name, std::vector<float>& out) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(name));
    out.resize(static_cast<size_t>(tensor.rows * tensor.cols));
    dequantize_row(tensor.type, tensor.bytes.data(), tensor.rows * tensor.cols, out.data());
    if (first_non_finite(TensorType::kF32, std::as_bytes(std::span(out))) >= 0) {
      return data_loss(name + ": a value is not a finite number");
    }
    source_.release(tensor);
    return ok_status();
  }

 private:
  struct Scratch {
    std::vector<float> values;         // one row
    std::vector<std::byte> converted;  // one strip
  };

  // Once for a type: plain matrices of a model are many and mostly as wide as each other.
  void warn_of_unfit(const std::string& name, const SourceTensor& tensor, const Packing& packing) {
    if (!packing.unfit || !warned_of_.insert(*packing.unfit).second) return;
    log_warning("{} is packed as {}: its rows of {} values are no whole blocks of {}", name,
                tensor_type_info(packing.rows).name, tensor.cols,
                tensor_type_info(*packing.unfit).name);
  }

  Result<PackedMatrix> next_matrix(WeightFormat format, const SourceTensor& tensor) {
    const int64_t bytes = PackedMatrix::bytes_of(format, tensor.rows, tensor.cols);
    // The sum was of what the source described; a tensor that is larger gets memory of its own.
    if (bytes < 0 || static_cast<size_t>(bytes) > memory_left_.size()) {
      return PackedMatrix::allocate(format, tensor.rows, tensor.cols);
    }
    const std::span<std::byte> memory = memory_left_.first(static_cast<size_t>(bytes));
    memory_left_ = memory_left_.subspan(memory.size());
    return PackedMatrix::in_memory(format, tensor.rows, tensor.cols, memory);
  }

  static Status pack_strip(const SourceTensor& tensor, TensorType type, int64_t strip,
                           Scratch& scratch, PackedMatrix& out) {
    const int64_t row_begin = strip * kStripRows;
    const int64_t num_rows = std::min<int64_t>(kStripRows, tensor.rows - row_begin);
    const std::span<const std::byte> bytes = tensor.row_span(row_begin, num_rows);
    const int64_t bad = first_non_finite(tensor.type, bytes);
    if (bad >= 0) {
      return data_loss(fmt::format("row {}: a value or scale is not a finite number",
                                   row_begin + bad / tensor.cols));
    }
    if (type == tensor.type) return out.pack_rows(row_begin, num_rows, type, bytes);
    const size_t row_bytes = tensor_row_bytes(type, tensor.cols);
    scratch.values.resize(static_cast<size_t>(tensor.cols));
    scratch.converted.resize(row_bytes * static_cast<size_t>(num_rows));
    const std::span<std::byte> converted(scratch.converted);
    for (size_t row = 0; row < static_cast<size_t>(num_rows); ++row) {
      dequantize_row(tensor.type, bytes.data() + row * tensor.row_bytes(), tensor.cols,
                     scratch.values.data());
      // A code times a huge scale, or its rounding to the new type, may be infinite though the
      // source is not.
      const auto overflow = [&] {
        return data_loss(fmt::format("row {}: a value is too large for {}",
                                     row_begin + static_cast<int64_t>(row),
                                     tensor_type_info(type).name));
      };
      if (first_non_finite(TensorType::kF32, std::as_bytes(std::span(scratch.values))) >= 0) {
        return overflow();
      }
      const std::span<std::byte> to = converted.subspan(row * row_bytes, row_bytes);
      quantize_row(type, scratch.values.data(), tensor.cols, to.data());
      if (first_non_finite(type, to) >= 0) return overflow();
    }
    return out.pack_rows(row_begin, num_rows, type, converted);
  }

  const TensorSource& source_;
  const PackedFormats formats_;
  std::span<std::byte> memory_left_;
  ComputePool& pool_;
  std::vector<Scratch> scratch_;
  std::set<TensorType> warned_of_;
};

Status load_layer(WeightLoader& loader, int32_t index, CpuLayerWeights& layer) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const std::pair<const char*, std::vector<float>*> vectors[] = {
      {"input_layernorm.weight", &layer.attention_norm},
      {"self_attn.q_proj.bias", &layer.q_bias},
      {"self_attn.k_proj.bias", &layer.k_bias},
      {"self_attn.v_proj.bias", &layer.v_bias},
      {"post_attention_layernorm.weight", &layer.ffn_norm},
  };
  const std::pair<const char*, PackedMatrix*> matrices[] = {
      {"self_attn.q_proj.weight", &layer.q}, {"self_attn.k_proj.weight", &layer.k},
      {"self_attn.v_proj.weight", &layer.v}, {"self_attn.o_proj.weight", &layer.o},
      {"mlp.gate_proj.weight", &layer.gate}, {"mlp.up_proj.weight", &layer.up},
      {"mlp.down_proj.weight", &layer.down},
  };
  for (const auto& [name, values] : vectors) {
    RETURN_IF_ERROR(loader.load_vector(prefix + name, *values));
  }
  for (const auto& [name, matrix] : matrices) {
    RETURN_IF_ERROR(loader.load_matrix(prefix + name, *matrix));
  }
  return ok_status();
}

int64_t layer_bytes(const CpuLayerWeights& layer) {
  int64_t bytes = 0;
  for (const PackedMatrix* matrix :
       {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
    bytes += matrix->bytes();
  }
  for (const std::vector<float>* values :
       {&layer.attention_norm, &layer.ffn_norm, &layer.q_bias, &layer.k_bias, &layer.v_bias}) {
    bytes += static_cast<int64_t>(values->size() * sizeof(float));
  }
  return bytes;
}

}  // namespace

int64_t CpuWeights::total_bytes() const {
  return bytes_per_token() + (lm_head.empty() ? 0 : embedding.bytes());
}

int64_t CpuWeights::bytes_per_token() const {
  int64_t bytes = head().bytes() + static_cast<int64_t>(final_norm.size() * sizeof(float));
  for (const CpuLayerWeights& layer : layers) bytes += layer_bytes(layer);
  return bytes;
}

Result<CpuWeights> load_cpu_weights(const TensorSource& source, const PackedFormats& formats,
                                    ComputePool& pool) {
  const ModelConfig& config = source.config();
  CpuWeights weights;
  // In one piece: two hundred matrices of their own would leave as many large pages partly unused
  // (R1-1.5B: 90 MB).
  ASSIGN_OR_RETURN(const int64_t num_bytes, packed_weights_bytes(source, formats));
  ASSIGN_OR_RETURN(weights.memory, AlignedBuffer::try_allocate(static_cast<size_t>(num_bytes),
                                                               "the weight matrices"));
  WeightLoader loader(source, formats, weights.memory.bytes(), pool);
  RETURN_IF_ERROR(loader.load_matrix(kEmbedding, weights.embedding));
  weights.layers.resize(static_cast<size_t>(config.num_layers));
  for (int32_t index = 0; index < config.num_layers; ++index) {
    RETURN_IF_ERROR(load_layer(loader, index, weights.layers[static_cast<size_t>(index)]));
  }
  RETURN_IF_ERROR(loader.load_vector("model.norm.weight", weights.final_norm));
  if (!config.tied_embeddings) {
    RETURN_IF_ERROR(loader.load_matrix(kHead, weights.lm_head));
  }
  return weights;
}

Result<int64_t> packed_weights_bytes(const TensorSource& source, const PackedFormats& formats) {
  const bool tied = source.config().tied_embeddings;
  int64_t bytes = 0;
  for (const LayoutTensor& layout : qwen2_tensor_layout(source.config())) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source.describe(layout.name));
    if (layout.is_vector) {
      bytes += layout.rows * layout.cols * static_cast<int64_t>(sizeof(float));
      continue;
    }
    const WeightFormat packed = packing_of(layout.name, tensor, tied, formats).format;
    bytes += PackedMatrix::bytes_of(packed, layout.rows, layout.cols);
  }
  return bytes;
}

}  // namespace sparrow
