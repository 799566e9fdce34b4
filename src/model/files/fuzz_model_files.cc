// Fuzz entry of the model readers. The first byte chooses: a whole GGUF file through open_model(),
// a safetensors header, config.json, generation_config.json. No input may crash, hang or allocate
// what it claims; a refusal is one line; what is accepted can be read to its last byte.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "model/files/hf_config.h"
#include "model/files/mapped_tensor_source.h"
#include "model/files/safetensors_header.h"
#include "model/files/tensor_layout.h"
#include "model/model_files.h"

namespace sparrow {
namespace {

constexpr size_t kMaxInputBytes = 1u << 20;

void check_message(const Status& status) {
  CHECK(!status.message().empty());
  CHECK(status.message().find('\n') == std::string::npos);
  CHECK(status.message().size() < 2000);
}

void fuzz_gguf(std::string_view bytes) {
  const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  CHECK(file >= 0);
  CHECK(::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const Result<ModelFiles> model = open_model("/proc/self/fd/" + std::to_string(file));
  ::close(file);
  if (!model.ok()) return check_message(model.status());
  for (const LayoutTensor& expected : qwen2_tensor_layout(model->config)) {
    const Result<SourceTensor> tensor = model->weights->tensor(expected.name);
    CHECK(tensor.ok());
    (void)validate_tensor(expected.name, *tensor);  // reads every byte
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
  switch (data[0] % 4) {
    case 0:
      sparrow::fuzz_gguf(bytes);
      break;
    case 1:
      sparrow::fuzz_safetensors(bytes);
      break;
    default:
      sparrow::fuzz_config(bytes, data[0] % 4 == 3);
  }
  return 0;
}
