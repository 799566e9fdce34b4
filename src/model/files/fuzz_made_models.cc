#include "model/files/fuzz_made_models.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"
#include "kernels/packed_matrix.h"
#include "model/files/mapped_tensor_source.h"
#include "model/model_files.h"
#include "model/writers/model_writer.h"
#include "quant/convert_row.h"
#include "quant/random_blocks.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxChanges = 32;
constexpr size_t kMaxKeptModels = 64;  // of a few 100 kB each
constexpr size_t kMaxMadeBytes = 8u << 20;
constexpr std::array<CheckpointKind, kNumMadeKinds> kKinds = {
    CheckpointKind::kAwq,     CheckpointKind::kGptqV1,  CheckpointKind::kGptqV2,
    CheckpointKind::kPacked4, CheckpointKind::kPacked8, CheckpointKind::kPacked4Asymmetric,
    CheckpointKind::kInt8,    CheckpointKind::kGptq8,   CheckpointKind::kGptq8Zeros};
constexpr std::array<int64_t, 4> kGroups = {32, 64, 128, -1};

// A directory in memory where the system has one; gone at the end of the process.
class WorkDirectory {
 public:
  WorkDirectory() {
    std::string pattern =
        (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()).string() +
        "/sparrow-fuzz-XXXXXX";
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~WorkDirectory() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

const std::string& work_path(const char* folder) {
  static const WorkDirectory directory;
  static std::map<std::string, std::string> paths;
  std::string& path = paths[folder];
  if (path.empty()) {
    path = directory.path() + "/" + folder;
    fs::create_directory(path);
  }
  return path;
}

void write_text(const std::string& path, std::string_view content) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  stream.flush();
  CHECK(stream.good());
}

// A file of tensors: where its header ends, and the values that a reader must find.
struct MadeFile {
  std::string bytes;
  size_t header_bytes = 0;
  std::string config_json;  // of a directory
  ModelConfig config;
  std::map<std::string, std::vector<float>> expected;  // of a directory
  std::map<std::string, std::string> stored;           // of a GGUF file
};

// Each change: what, three bytes that say where, a value. Gives how many there were.
size_t change(std::string_view changes, MadeFile& file) {
  size_t count = 0;
  for (; changes.size() >= kChangeBytes && count < kMaxChanges; ++count) {
    uint32_t where = 0;
    std::memcpy(&where, changes.data() + 1, 3);
    const auto what = static_cast<uint8_t>(changes[0]);
    const char value = changes[4];
    changes.remove_prefix(kChangeBytes);
    std::string& text = what % 4 == 3 && !file.config_json.empty() ? file.config_json : file.bytes;
    if (text.empty()) continue;
    if (what % 16 == 2) {
      text.resize(where % text.size());
      continue;
    }
    const size_t header = std::min(file.header_bytes, text.size());
    size_t at = where % text.size();
    if (what % 4 == 0 && header > 0) at = where % header;
    if (what % 4 == 1 && header < text.size()) at = header + where % (text.size() - header);
    text[at] = (what & 16) == 0 ? value : static_cast<char>(text[at] ^ value);
  }
  return count;
}

std::vector<float> values_of(const SourceTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
  for (int64_t row = 0; row < tensor.rows; ++row) {
    dequantize_row(tensor.type, tensor.row_span(row, 1).data(), tensor.cols,
                   values.data() + row * tensor.cols);
  }
  return values;
}

// Opens what lies there and decodes every tensor. `made` holds what they must be, if that is known.
void open_and_decode(const std::string& path, const MadeFile* made) {
  const Result<ModelFiles> model = open_model(path);
  if (!model.ok()) {
    CHECK(made == nullptr);
    return check_message(model.status());
  }
  for (const LayoutTensor& layout : qwen2_tensor_layout(model->config)) {
    const Result<SourceTensor> tensor = model->weights->tensor(layout.name);
    CHECK(tensor.ok());
    CHECK(tensor->bytes.size() ==
          tensor_row_bytes(tensor->type, layout.cols) * static_cast<size_t>(layout.rows));
    const Status valid = validate_tensor(layout.name, *tensor);  // reads every byte
    check_packed_row(*tensor);
    if (made != nullptr) {
      CHECK(valid.ok());
      const auto values = made->expected.find(layout.name);
      const auto bytes = made->stored.find(layout.name);
      CHECK((values != made->expected.end()) != (bytes != made->stored.end()));
      if (values != made->expected.end()) CHECK(values_of(*tensor) == values->second);
      if (bytes != made->stored.end()) {
        CHECK(tensor->bytes.size() == bytes->second.size());
        CHECK(std::memcmp(tensor->bytes.data(), bytes->second.data(), bytes->second.size()) == 0);
      }
    }
    model->weights->release(*tensor);
  }
}

CheckpointOptions chosen_options(uint8_t kind, uint8_t more) {
  CheckpointOptions options = made_options(kKinds[kind % kKinds.size()], kGroups[more % 4]);
  const bool gptq =
      options.kind == CheckpointKind::kGptqV1 || options.kind == CheckpointKind::kGptqV2 ||
      options.kind == CheckpointKind::kGptq8 || options.kind == CheckpointKind::kGptq8Zeros;
  const bool awq = options.kind == CheckpointKind::kAwq;
  options.act_order = !awq && (more & 4) != 0;
  options.group_list = options.act_order || (gptq && (more & 8) != 0);
  if (!awq && !gptq) options.scale_dtype = std::array{"F16", "BF16", "F32", "BF16"}[more / 16 % 4];
  if ((more & 64) != 0) options.plain_modules = {"model.layers.0.mlp.up_proj"};
  return options;
}

MadeFile make_directory(const CheckpointOptions& options) {
  Checkpoint checkpoint = make_checkpoint(options);
  MadeFile made;
  made.bytes = checkpoint.safetensors();
  uint64_t json_bytes = 0;
  std::memcpy(&json_bytes, made.bytes.data(), sizeof json_bytes);
  made.header_bytes = sizeof json_bytes + json_bytes;
  made.config_json = checkpoint.config_json;
  made.config = checkpoint.config;
  made.expected = std::move(checkpoint.expected);
  return made;
}

const std::vector<TensorType>& file_types() {
  static const std::vector<TensorType> types = [] {
    std::vector<TensorType> found;
    for (uint32_t id = 0; id < 64; ++id) {
      if (const auto type = tensor_type_from_ggml_id(id)) found.push_back(*type);
    }
    return found;
  }();
  return types;
}

// One layer whose rows hold a block of the type.
MadeFile make_gguf(TensorType type) {
  MadeFile made;
  made.config.hidden_size = std::max(32, tensor_type_info(type).block_elements);
  made.config.intermediate_size = made.config.hidden_size;
  made.config.num_layers = 1;
  made.config.num_heads = 2;
  made.config.num_kv_heads = 1;
  made.config.head_dim = made.config.hidden_size / 2;
  made.config.vocab_size = 8;
  made.config.max_position = 64;
  ModelDescription description;
  description.name = "made";
  description.config = made.config;
  const std::string path = work_path("made") + "/made.gguf";
  auto writer = ModelWriter::create(path, description, type).value();
  size_t data_bytes = 0;
  for (const PlannedTensor& tensor : writer->tensors()) {
    const auto seed = static_cast<uint32_t>(data_bytes + 1);
    const auto rows = random_block_rows(tensor.type, tensor.rows, tensor.cols, seed, 0.05f);
    CHECK(writer->write(rows).ok());
    made.stored[tensor.name] = std::string(reinterpret_cast<const char*>(rows.data()), rows.size());
    data_bytes += (rows.size() + 31) / 32 * 32;
  }
  CHECK(writer->finish().ok());
  made.bytes = read_file(path, kMaxMadeBytes).value();
  made.header_bytes = made.bytes.size() - data_bytes;
  return made;
}

// A quantized model in two files; the index that belongs to them.
struct Sharded {
  MadeFile made;
  std::string index;
};

const Sharded& sharded() {
  static const Sharded sharded = [] {
    Sharded out;
    const CheckpointOptions options = made_options(CheckpointKind::kAwq, 32);
    const Checkpoint checkpoint = make_checkpoint(options);
    out.made = make_directory(options);
    std::array<Checkpoint, 2> parts;
    size_t count = 0;
    for (const auto& [name, tensor] : checkpoint.tensors) {
      const size_t part = count++ * 2 / checkpoint.tensors.size();
      parts[part].tensors[name] = tensor;
      out.index += fmt::format(R"({}"{}":"{}.safetensors")", count > 1 ? "," : "", name, part);
    }
    out.index = R"({"metadata":{},"weight_map":{)" + out.index + "}}";
    const std::string& path = work_path("sharded");
    write_text(path + "/config.json", checkpoint.config_json);
    for (size_t part = 0; part < parts.size(); ++part) {
      write_text(fmt::format("{}/{}.safetensors", path, part), parts[part].safetensors());
    }
    return out;
  }();
  return sharded;
}

}  // namespace

CheckpointOptions made_options(CheckpointKind kind, int64_t group_size) {
  CheckpointOptions options;
  options.kind = kind;
  options.group_size = group_size;
  options.hidden_size = group_size < 0 ? 32 : static_cast<int32_t>(group_size);
  options.vocab_size = 8;
  return options;
}

const ModelConfig& made_config(int64_t group_size) {
  static std::map<int64_t, ModelConfig> configs;
  const auto found = configs.find(group_size);
  if (found != configs.end()) return found->second;
  return configs[group_size] = make_checkpoint(made_options({}, group_size)).config;
}

void check_message(const Status& status) {
  CHECK(!status.message().empty());
  CHECK(status.message().find('\n') == std::string::npos);
  CHECK(status.message().size() < 2000);
}

void check_packed_row(const SourceTensor& tensor) {
  const std::span<const std::byte> row = tensor.bytes.first(tensor.row_bytes());
  if (first_non_finite(tensor.type, row) >= 0) return;
  const WeightFormat format = tensor.one_scale_per_row
                                  ? weight_format_for_row_scales(tensor.type, tensor.cols)
                                  : weight_format_for(tensor.type);
  Result<PackedMatrix> matrix = PackedMatrix::allocate(format, 1, tensor.cols);
  CHECK(matrix.ok() && matrix->pack_rows(0, 1, tensor.type, row).ok());
  std::vector<float> expected(static_cast<size_t>(tensor.cols)), found(expected.size());
  dequantize_row(tensor.type, row.data(), tensor.cols, expected.data());
  matrix->unpack_row(0, found.data());
  for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == expected[i]);
}

void fuzz_made_directory(std::string_view input) {
  if (input.size() < 2) return;
  // Act order is worth a warning each time.
  static const bool quiet = configure_log({.level = LogLevel::kError}).ok();
  CHECK(quiet);
  const auto kind = static_cast<uint8_t>(input[0]), more = static_cast<uint8_t>(input[1]);
  static std::map<std::pair<uint8_t, uint8_t>, MadeFile> made;
  if (made.size() > kMaxKeptModels) made.clear();
  MadeFile& base = made[{static_cast<uint8_t>(kind % kKinds.size()), more}];
  if (base.bytes.empty()) base = make_directory(chosen_options(kind, more));
  MadeFile file = {
      .bytes = base.bytes, .header_bytes = base.header_bytes, .config_json = base.config_json};
  const bool changed = change(input.substr(2), file) > 0;
  const std::string& path = work_path("made");
  write_text(path + "/config.json", file.config_json);
  write_text(path + "/model.safetensors", file.bytes);
  open_and_decode(path, changed ? nullptr : &base);
}

size_t num_made_gguf_types() { return file_types().size(); }

void fuzz_made_gguf(std::string_view input) {
  if (input.empty()) return;
  const TensorType type = file_types()[static_cast<uint8_t>(input[0]) % file_types().size()];
  static std::map<TensorType, MadeFile> made;
  MadeFile& base = made[type];
  if (base.bytes.empty()) base = make_gguf(type);
  MadeFile file = {.bytes = base.bytes, .header_bytes = base.header_bytes};
  const bool changed = change(input.substr(1), file) > 0;
  const std::string path = work_path("made") + "/changed.gguf";
  write_text(path, file.bytes);
  open_and_decode(path, changed ? nullptr : &base);
}

const std::string& made_index() { return sharded().index; }

void fuzz_index(std::string_view input) {
  const Sharded& right = sharded();
  const std::string_view text = input.empty() ? std::string_view(right.index) : input;
  write_text(work_path("sharded") + "/model.safetensors.index.json", text);
  open_and_decode(work_path("sharded"), text == right.index ? &right.made : nullptr);
}

}  // namespace sparrow
