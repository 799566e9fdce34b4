#include "model/files/quantized_checkpoint.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/check.h"
#include "base/file.h"
#include "base/random.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

// Integers, scales and zero points of one matrix.
struct Integers {
  int64_t rows, cols, groups;
  std::vector<int> q;     // [rows][cols], 0..15 or -128..127
  std::vector<int> zero;  // [rows][groups]
  std::vector<float> scale;
  std::vector<int> group_of;  // [cols]

  int q_at(int64_t row, int64_t col) const { return q[static_cast<size_t>(row * cols + col)]; }
  size_t group_at(int64_t row, int64_t group) const {
    return static_cast<size_t>(row * groups + group);
  }
};

bool is_gptq(CheckpointKind kind) {
  return kind == CheckpointKind::kGptqV1 || kind == CheckpointKind::kGptqV2 ||
         kind == CheckpointKind::kGptq8 || kind == CheckpointKind::kGptq8Zeros;
}
bool is_8_bit(CheckpointKind kind) {
  return kind == CheckpointKind::kPacked8 || kind == CheckpointKind::kInt8 ||
         kind == CheckpointKind::kGptq8 || kind == CheckpointKind::kGptq8Zeros;
}
bool has_zeros(CheckpointKind kind) {
  return kind == CheckpointKind::kAwq || is_gptq(kind) ||
         kind == CheckpointKind::kPacked4Asymmetric;
}

std::string scale_bytes(float value, const std::string& dtype) {
  std::string out(dtype == "F32" ? 4 : 2, '\0');
  const uint16_t half = dtype == "F16" ? f16_from_float(value) : bf16_from_float(value);
  if (dtype == "F32") {
    std::memcpy(out.data(), &value, 4);
  } else {
    std::memcpy(out.data(), &half, 2);
  }
  return out;
}

float rounded(float value, const std::string& dtype) {
  if (dtype == "F16") return float_from_f16(f16_from_float(value));
  if (dtype == "BF16") return float_from_bf16(bf16_from_float(value));
  return value;
}

Integers random_integers(const CheckpointOptions& options, int64_t rows, int64_t cols,
                         uint64_t stream) {
  Integers out;
  const int64_t group = options.group_size < 0 ? cols : options.group_size;
  out.rows = rows, out.cols = cols, out.groups = cols / group;
  uint64_t counter = 0;
  auto next = [&](uint64_t bound) {
    return static_cast<int>(random_bits(options.seed, stream, counter++) % bound);
  };
  for (int64_t i = 0; i < rows * cols; ++i) {
    out.q.push_back(is_8_bit(options.kind) ? next(256) - 128 : next(16));
  }
  for (int64_t i = 0; i < rows * out.groups; ++i) {
    out.zero.push_back(options.kind == CheckpointKind::kGptq8Zeros ? next(256) - 128
                       : is_8_bit(options.kind)                    ? 0
                       : has_zeros(options.kind)                   ? next(16)
                                                                   : 8);
    out.scale.push_back(
        rounded(static_cast<float>(next(1000) + 1) * 0.0000137f, options.scale_dtype));
  }
  for (int64_t k = 0; k < cols; ++k) out.group_of.push_back(static_cast<int>(k / group));
  for (int64_t k = 0; options.act_order && k < cols; ++k) {
    std::swap(out.group_of[static_cast<size_t>(k)],
              out.group_of[static_cast<size_t>(next(static_cast<uint64_t>(cols)))]);
  }
  return out;
}

// Numbers of `bits` bits in 32-bit words.
class Words {
 public:
  explicit Words(int64_t count) : bytes_(static_cast<size_t>(count) * 4, '\0') {}
  void put(int64_t word, int64_t bit, int value) {
    uint32_t found;
    std::memcpy(&found, bytes_.data() + word * 4, 4);
    found |= static_cast<uint32_t>(value) << bit;
    std::memcpy(bytes_.data() + word * 4, &found, 4);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

std::string int32_bytes(const std::vector<int>& values) {
  std::string out(values.size() * 4, '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

// AWQ and GPTQ.
void pack_columns(const CheckpointOptions& options, const Integers& m, const std::string& module,
                  std::map<std::string, CheckpointTensor>& out) {
  const bool awq = options.kind == CheckpointKind::kAwq;
  // Where output 0..7 of a word lies.
  const std::array<int, 8> place =
      awq ? std::array<int, 8>{0, 4, 1, 5, 2, 6, 3, 7} : std::array<int, 8>{0, 1, 2, 3, 4, 5, 6, 7};
  const int bits = is_8_bit(options.kind) ? 8 : 4, per_word = 32 / bits;
  const int offset = bits == 8 ? 128 : 0, mask = (1 << bits) - 1;
  const int less = options.kind == CheckpointKind::kGptqV2 || awq ? 0 : 1;
  Words weights(m.rows * m.cols / per_word), zeros(m.groups * m.rows / per_word);
  std::string scales;
  for (int64_t n = 0; n < m.rows; ++n) {
    const int bit = bits == 8 ? 8 * static_cast<int>(n % 4) : 4 * place[static_cast<size_t>(n % 8)];
    for (int64_t k = 0; k < m.cols; ++k) {
      if (awq) weights.put(k * (m.rows / 8) + n / 8, bit, m.q_at(n, k));
      if (!awq) {
        weights.put(k / per_word * m.rows + n, bits * (k % per_word), m.q_at(n, k) + offset);
      }
    }
    for (int64_t g = 0; g < m.groups; ++g) {
      const int stored = (m.zero[m.group_at(n, g)] + offset - less) & mask;
      zeros.put(g * (m.rows / per_word) + n / per_word, bit, stored);
    }
  }
  for (int64_t g = 0; g < m.groups; ++g) {
    for (int64_t n = 0; n < m.rows; ++n) scales += scale_bytes(m.scale[m.group_at(n, g)], "F16");
  }
  out[module + ".qweight"] = {"I32",
                              awq ? std::vector<int64_t>{m.cols, m.rows / 8}
                                  : std::vector<int64_t>{m.cols / per_word, m.rows},
                              weights.take()};
  out[module + ".qzeros"] = {"I32", {m.groups, m.rows / per_word}, zeros.take()};
  out[module + ".scales"] = {"F16", {m.groups, m.rows}, scales};
  if (options.group_list) out[module + ".g_idx"] = {"I32", {m.cols}, int32_bytes(m.group_of)};
}

// compressed-tensors.
void pack_rows(const CheckpointOptions& options, const Integers& m, const std::string& module,
               std::map<std::string, CheckpointTensor>& out) {
  const int bits = is_8_bit(options.kind) ? 8 : 4, per_word = 32 / bits;
  Words weights(m.rows * m.cols / per_word), zeros((m.rows + 7) / 8 * m.groups);
  std::string bytes, scales;
  for (int64_t n = 0; n < m.rows; ++n) {
    for (int64_t k = 0; k < m.cols; ++k) {
      bytes += static_cast<char>(m.q_at(n, k));
      weights.put((n * m.cols + k) / per_word, k % per_word * bits,
                  m.q_at(n, k) + (bits == 8 ? 128 : 0));
    }
    for (int64_t g = 0; g < m.groups; ++g) {
      scales += scale_bytes(m.scale[m.group_at(n, g)], options.scale_dtype);
      zeros.put(n / 8 * m.groups + g, 4 * (n % 8), m.zero[m.group_at(n, g)]);
    }
  }
  if (options.kind == CheckpointKind::kInt8) {
    out[module + ".weight"] = {"I8", {m.rows, m.cols}, bytes};
  } else {
    out[module + ".weight_packed"] = {"I32", {m.rows, m.cols / per_word}, weights.take()};
    const int64_t shape[2] = {m.rows, m.cols};
    out[module + ".weight_shape"] = {
        "I64", {2}, std::string(reinterpret_cast<const char*>(shape), sizeof shape)};
  }
  if (has_zeros(options.kind)) {
    out[module + ".weight_zero_point"] = {"I32", {(m.rows + 7) / 8, m.groups}, zeros.take()};
  }
  out[module + ".weight_scale"] = {options.scale_dtype, {m.rows, m.groups}, scales};
  if (options.group_list) {
    out[module + ".weight_g_idx"] = {"I32", {m.cols}, int32_bytes(m.group_of)};
  }
}

std::string quoted_list(const std::vector<std::string>& names) {
  return names.empty() ? "[]" : fmt::format("[\"{}\"]", fmt::join(names, "\", \""));
}

std::string quantization_json(const CheckpointOptions& options) {
  if (options.kind == CheckpointKind::kAwq) {
    return fmt::format(
        R"({{"quant_method": "awq", "bits": 4, "group_size": {}, "zero_point": true,
            "version": "gemm", "modules_to_not_convert": {}}})",
        options.group_size, quoted_list(options.plain_modules));
  }
  if (is_gptq(options.kind)) {
    return fmt::format(
        R"({{"quant_method": "gptq", "bits": {}, "group_size": {}, "desc_act": {}, "sym": false,
            "checkpoint_format": "{}"}})",
        is_8_bit(options.kind) ? 8 : 4, options.group_size, options.act_order,
        options.kind == CheckpointKind::kGptqV2 ? "gptq_v2" : "gptq");
  }
  const bool group = options.group_size > 0;
  return fmt::format(
      R"({{"quant_method": "compressed-tensors", "format": "{}", "ignore": {},
          "kv_cache_scheme": null, "quantization_status": "compressed",
          "config_groups": {{"group_0": {{"targets": ["Linear"], "input_activations": null,
            "output_activations": null, "weights": {{"num_bits": {}, "type": "int",
            "symmetric": {}, "strategy": "{}", "group_size": {}, "actorder": {},
            "dynamic": false}}}}}}}})",
      options.kind == CheckpointKind::kInt8 ? "int-quantized" : "pack-quantized",
      quoted_list(options.plain_modules), is_8_bit(options.kind) ? 8 : 4,
      options.kind != CheckpointKind::kPacked4Asymmetric, group ? "group" : "channel",
      group ? std::to_string(options.group_size) : "null",
      options.act_order ? "\"group\"" : "null");
}

std::string config_text(const ModelConfig& config, const std::string& quantization) {
  return fmt::format(
      R"({{"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": {},
          "intermediate_size": {}, "num_hidden_layers": 1, "num_attention_heads": 2,
          "num_key_value_heads": 1, "vocab_size": {}, "max_position_embeddings": 64,
          "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
          "tie_word_embeddings": true,
          "quantization_config": {}}})",
      config.hidden_size, config.intermediate_size, config.vocab_size, quantization);
}

void add_plain(const LayoutTensor& tensor, uint64_t seed, uint64_t stream, Checkpoint& out) {
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
  std::string bytes;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = rounded(static_cast<float>(random_uniform(seed, stream, i)) - 0.5f, "BF16");
    bytes += scale_bytes(values[i], "BF16");
  }
  std::vector<int64_t> shape = {tensor.rows, tensor.cols};
  if (tensor.is_vector) shape = {tensor.cols};
  out.tensors[tensor.name] = {"BF16", shape, bytes};
  out.expected[tensor.name] = values;
}

}  // namespace

Checkpoint make_checkpoint(const CheckpointOptions& options) {
  Checkpoint out;
  out.config.hidden_size = options.hidden_size;
  out.config.intermediate_size =
      options.group_size == 32 ? options.hidden_size + 32 : 3 * options.hidden_size;
  out.config.num_layers = 1;
  out.config.num_heads = 2;
  out.config.num_kv_heads = 1;
  out.config.head_dim = options.hidden_size / 2;
  out.config.vocab_size = options.vocab_size;
  out.config.max_position = 64;
  out.config.tied_embeddings = true;
  out.config_json = config_text(out.config, quantization_json(options));
  uint64_t stream = 0;
  for (const LayoutTensor& tensor : qwen2_tensor_layout(out.config)) {
    ++stream;
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    bool plain = tensor.is_vector || tensor.name == "model.embed_tokens.weight";
    for (const std::string& name : options.plain_modules) {
      plain = plain || module.find(name) != std::string::npos;
    }
    if (plain) {
      add_plain(tensor, options.seed, stream, out);
      continue;
    }
    const Integers m = random_integers(options, tensor.rows, tensor.cols, stream);
    const bool columns = options.kind == CheckpointKind::kAwq || is_gptq(options.kind);
    (columns ? pack_columns : pack_rows)(options, m, module, out.tensors);
    std::vector<float>& values = out.expected[tensor.name];
    for (int64_t n = 0; n < m.rows; ++n) {
      for (int64_t k = 0; k < m.cols; ++k) {
        const size_t group = m.group_at(n, m.group_of[static_cast<size_t>(k)]);
        values.push_back(m.scale[group] * static_cast<float>(m.q_at(n, k) - m.zero[group]));
      }
    }
  }
  return out;
}

std::string Checkpoint::safetensors() const {
  std::string json = "{", data;
  for (const auto& [name, tensor] : tensors) {
    json +=
        fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                    json.size() > 1 ? "," : "", name, tensor.dtype, fmt::join(tensor.shape, ","),
                    data.size(), data.size() + tensor.bytes.size());
    data += tensor.bytes;
  }
  json += '}';
  const uint64_t size = json.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + json + data;
}

void Checkpoint::write(const std::string& directory) const {
  CHECK(write_file_atomically(directory + "/config.json", config_json).ok());
  CHECK(write_file_atomically(directory + "/model.safetensors", safetensors()).ok());
}

}  // namespace sparrow
