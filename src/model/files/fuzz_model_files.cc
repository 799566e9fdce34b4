// Fuzz entry of the model readers. The first byte chooses: a whole GGUF file through open_model(),
// a safetensors header, config.json, generation_config.json, a quantized safetensors file (the next
// two bytes choose the scheme), or a model that is made here and changed (fuzz_made_models.h): a
// quantized directory, a GGUF file, the index of a directory of two files. No input may crash, hang
// or allocate what it claims; a refusal is one line; what is accepted can be read to its last byte.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "model/files/fuzz_made_models.h"
#include "model/files/hf_config.h"
#include "model/files/hf_quantization.h"
#include "model/files/mapped_tensor_source.h"
#include "model/files/quantized_tensor_source.h"
#include "model/files/safetensors_header.h"
#include "model/files/tensor_layout.h"
#include "model/model_files.h"

namespace sparrow {
namespace {

constexpr size_t kMaxInputBytes = 1u << 20;

// A file of these bytes in memory; the path is good until it is closed.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    CHECK(file_ >= 0);
    CHECK(::write(file_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  ~MemoryFile() { ::close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  const int file_;
};

void fuzz_gguf(std::string_view bytes) {
  const MemoryFile file(bytes);
  const Result<ModelFiles> model = open_model(file.path());
  if (!model.ok()) return check_message(model.status());
  for (const LayoutTensor& expected : qwen2_tensor_layout(model->config)) {
    const Result<SourceTensor> tensor = model->weights->tensor(expected.name);
    CHECK(tensor.ok());
    (void)validate_tensor(expected.name, *tensor);  // reads every byte
    check_packed_row(*tensor);
  }
}

void fuzz_safetensors(std::string_view bytes) {
  const auto entries = parse_safetensors_header(std::as_bytes(std::span(bytes)), "m.safetensors");
  if (!entries.ok()) return check_message(entries.status());
  uint64_t end = entries->empty() ? bytes.size() : entries->front().begin;
  for (const SafetensorsEntry& entry : *entries) {
    CHECK(entry.begin == end && entry.end >= entry.begin);
    end = entry.end;
  }
  CHECK(end == bytes.size());
}

// Every scheme that a config can ask for.
QuantizationScheme fuzz_scheme(uint8_t choice, int64_t group_size) {
  QuantizationScheme scheme;
  scheme.layout = static_cast<QuantizationLayout>(choice % 4);
  const bool int8 = scheme.layout == QuantizationLayout::kInt8;
  const bool packed = scheme.layout == QuantizationLayout::kPacked;
  const bool gptq = scheme.layout == QuantizationLayout::kGptq;
  scheme.bits = int8 || ((packed || gptq) && (choice & 4) != 0) ? 8 : 4;
  scheme.has_zero_points = !int8 && (!packed || (scheme.bits == 4 && (choice & 8) != 0));
  scheme.zeros_minus_one = (choice & 16) != 0;
  scheme.act_order = scheme.layout != QuantizationLayout::kAwq && (choice & 32) != 0;
  scheme.group_size = group_size;
  return scheme;
}

// The sizes are those of the checkpoints of fuzz_made_models.h.
void fuzz_quantized(std::string_view input) {
  if (input.size() < 2) return;
  constexpr int64_t kGroups[] = {32, 64, 128, -1};
  const int64_t group_size = kGroups[static_cast<uint8_t>(input[1]) % 4];
  const ModelConfig& config = made_config(group_size);
  const QuantizationScheme scheme = fuzz_scheme(static_cast<uint8_t>(input[0]), group_size);
  const std::string_view bytes = input.substr(2);
  const auto entries = parse_safetensors_header(std::as_bytes(std::span(bytes)), "m.safetensors");
  if (!entries.ok()) return check_message(entries.status());
  std::vector<StoredTensor> tensors;
  for (const SafetensorsEntry& entry : *entries) {
    tensors.push_back({entry.name, entry.dtype, entry.shape, 0, entry.begin, entry.end});
  }
  const MemoryFile file(bytes);
  std::vector<MappedFile> files;
  files.push_back(MappedFile::open(file.path()).value());
  const auto source = QuantizedTensorSource::create(config, scheme, std::move(files), tensors, "m");
  if (!source.ok()) return check_message(source.status());
  for (const LayoutTensor& expected : qwen2_tensor_layout(config)) {
    const Result<SourceTensor> tensor = (*source)->tensor(expected.name);
    CHECK(tensor.ok());
    CHECK(tensor->bytes.size() ==
          tensor_row_bytes(tensor->type, expected.cols) * static_cast<size_t>(expected.rows));
    (void)validate_tensor(expected.name, *tensor);  // reads every byte
    check_packed_row(*tensor);
    (*source)->release(*tensor);
  }
}

void fuzz_config(std::string_view bytes, bool generation) {
  const auto json =
      parse_json(bytes, "config.json", {.max_bytes = kMaxInputBytes, .max_depth = 32});
  if (!json.ok()) return;
  if (generation) {
    ModelConfig model;
    model.vocab_size = 1000;
    const auto defaults = parse_generation_config(*json, model, "generation_config.json");
    if (!defaults.ok()) check_message(defaults.status());
    return;
  }
  const auto scheme = parse_hf_quantization(*json, "config.json");
  if (!scheme.ok()) check_message(scheme.status());
  const Result<ModelConfig> config = parse_hf_config(*json, "config.json");
  if (!config.ok()) return check_message(config.status());
  CHECK(config->num_heads % config->num_kv_heads == 0 && config->head_dim % 2 == 0);
  CHECK(!qwen2_tensor_layout(*config).empty());
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > sparrow::kMaxInputBytes) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 8) {
    case 0:
      sparrow::fuzz_gguf(bytes);
      break;
    case 1:
      sparrow::fuzz_safetensors(bytes);
      break;
    case 4:
      sparrow::fuzz_quantized(bytes);
      break;
    case 5:
      sparrow::fuzz_made_directory(bytes);
      break;
    case 6:
      sparrow::fuzz_made_gguf(bytes);
      break;
    case 7:
      sparrow::fuzz_index(bytes);
      break;
    default:
      sparrow::fuzz_config(bytes, data[0] % 8 == 3);
  }
  return 0;
}
