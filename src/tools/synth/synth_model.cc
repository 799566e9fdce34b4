#include "tools/synth/synth_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "base/compute_pool.h"
#include "base/file.h"
#include "base/json.h"
#include "model/files/config_limits.h"
#include "model/files/format_readers.h"
#include "model/files/hf_config.h"
#include "model/writers/model_writer.h"
#include "quant/convert_row.h"
#include "tools/synth/byte_tokenizer.h"
#include "tools/synth/random_weights.h"

namespace sparrow {
namespace {

// Values of one unit of work: a thread's fp32 scratch stays in its cache.
constexpr int64_t kUnitValues = 32 * 1024;
// Values generated before a write: two buffers of this size are in memory.
constexpr int64_t kChunkValues = 4 * 1024 * 1024;
constexpr int32_t kVocabUnit = 64;

ModelConfig tiny_config() {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 192;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 320;  // replaced by the tokenizer's
  config.max_position = 8192;
  return config;
}

ModelConfig r1_distill_config() {
  ModelConfig config;
  config.hidden_size = 1536;
  config.intermediate_size = 8960;
  config.num_layers = 28;
  config.num_heads = 12;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.vocab_size = 151936;
  config.max_position = 131072;
  config.eos_token_ids = {151643};
  config.bos_token_id = 151643;
  return config;
}

int64_t num_tokens(const TokenizerSpec& spec) {
  auto count = static_cast<int64_t>(spec.pieces.size());
  for (const AddedToken& token : spec.added_tokens) count = std::max(count, int64_t{token.id} + 1);
  return count;
}

// Tokenizer, template and generation defaults into `description`.
Status add_tokenizer(const SynthOptions& options, ModelDescription& description) {
  if (options.tokenizer_dir.empty()) {
    description.tokenizer = byte_tokenizer_spec();
    description.chat_template = byte_tokenizer_chat_template();
    description.generation.temperature = 0.6;
    description.generation.top_p = 0.95;
    return ok_status();
  }
  description.tokenizer_dir = options.tokenizer_dir;
  ASSIGN_OR_RETURN(description.tokenizer, read_hf_tokenizer(options.tokenizer_dir));
  ASSIGN_OR_RETURN(description.chat_template, read_hf_chat_template(options.tokenizer_dir));
  return ok_status();
}

Result<ModelDescription> describe(const SynthOptions& options) {
  ModelDescription description;
  description.name = fmt::format("{} random weights, seed {}", options.config, options.seed);
  ASSIGN_OR_RETURN(description.config, synth_config(options.config));
  RETURN_IF_ERROR(add_tokenizer(options, description));
  ModelConfig& config = description.config;
  const TokenizerSpec& tokenizer = *description.tokenizer;
  const int64_t wanted = num_tokens(tokenizer);
  if (options.config == "tiny") {
    if (wanted > kMaxVocabSize - kVocabUnit) return invalid_argument("tokenizer: too many tokens");
    config.vocab_size = static_cast<int32_t>((wanted + kVocabUnit - 1) / kVocabUnit * kVocabUnit);
  } else if (wanted > config.vocab_size) {
    return invalid_argument(
        fmt::format("{}: vocab_size: found {}, expected at least the {} tokens "
                    "of the tokenizer",
                    options.config, config.vocab_size, wanted));
  }
  // Ids of a config made for another tokenizer would name ordinary tokens here.
  config.bos_token_id = tokenizer.bos_token_id;
  config.eos_token_ids.clear();
  if (tokenizer.eos_token_id >= 0) config.eos_token_ids = {tokenizer.eos_token_id};
  if (!can_quantize(options.type)) {
    return invalid_argument(
        fmt::format("type: no quantizer for {}", tensor_type_info(options.type).name));
  }
  const int32_t block = tensor_type_info(options.type).block_elements;
  for (const int32_t cols : {config.hidden_size, config.q_size(), config.intermediate_size}) {
    if (cols % block != 0) {
      return invalid_argument(fmt::format("{}: rows of {} values, expected a multiple of {} for {}",
                                          options.config, cols, block,
                                          tensor_type_info(options.type).name));
    }
  }
  return description;
}

// Generates chunk after chunk on all threads while the one before is written by another.
class Generator {
 public:
  Generator(const SynthOptions& options, ModelWriter& writer, const SynthProgressCallback& report)
      : seed_(options.seed), writer_(writer), report_(report), pool_(options.num_threads) {
    scratch_.resize(static_cast<size_t>(pool_.num_threads()));
    for (const PlannedTensor& tensor : writer.tensors()) {
      progress_.total_values += static_cast<uint64_t>(tensor.rows * tensor.cols);
    }
  }

  const SynthProgress& progress() const { return progress_; }

  Status run() {
    Status status;
    for (const PlannedTensor& tensor : writer_.tensors()) {
      status = run_tensor(tensor);
      if (!status.ok()) break;
    }
    const Status last = wait_for_write();
    return status.ok() ? last : status;
  }

 private:
  // Rows are generated, not values: blocks never cross a row, and a row is always written whole.
  Status run_tensor(const PlannedTensor& tensor) {
    const uint64_t stream = weight_stream(seed_, tensor.name);
    const float offset = tensor.name.ends_with("norm.weight") ? 1.0f : 0.0f;
    const size_t row_bytes = tensor_row_bytes(tensor.type, tensor.cols);
    const int64_t unit_rows = std::max<int64_t>(1, kUnitValues / tensor.cols);
    const int64_t chunk_rows = std::max<int64_t>(1, kChunkValues / tensor.cols);
    for (int64_t begin = 0; begin < tensor.rows; begin += chunk_rows) {
      const int64_t rows = std::min(chunk_rows, tensor.rows - begin);
      std::vector<std::byte>& chunk = chunks_[next_chunk_];
      chunk.resize(static_cast<size_t>(rows) * row_bytes);
      pool_.parallel_for((rows + unit_rows - 1) / unit_rows, [&](int64_t unit, int worker) {
        std::vector<float>& values = scratch_[static_cast<size_t>(worker)];
        values.resize(static_cast<size_t>(tensor.cols));
        const int64_t end = std::min(rows, (unit + 1) * unit_rows);
        for (int64_t row = unit * unit_rows; row < end; ++row) {
          // An odd row length leaves one value of the stream unused between two rows.
          const int64_t first = (begin + row) * ((tensor.cols + 1) / 2 * 2);
          fill_random_weights(stream, first, tensor.cols, offset, values.data());
          quantize_row(tensor.type, values.data(), tensor.cols,
                       chunk.data() + static_cast<size_t>(row) * row_bytes);
        }
      });
      RETURN_IF_ERROR(wait_for_write());
      start_write(chunk);
      next_chunk_ = 1 - next_chunk_;
      progress_.done_values += static_cast<uint64_t>(rows * tensor.cols);
      progress_.written_bytes += chunk.size();
      if (report_ && chunk.size() > (1u << 20)) report_(progress_);
    }
    return ok_status();
  }

  void start_write(const std::vector<std::byte>& chunk) {
    // Small tensors are not worth a thread.
    if (chunk.size() < (1u << 20)) {
      write_status_ = writer_.write(chunk);
      return;
    }
    write_thread_ = std::thread([this, &chunk] { write_status_ = writer_.write(chunk); });
  }

  Status wait_for_write() {
    if (write_thread_.joinable()) write_thread_.join();
    return write_status_;
  }

  const uint64_t seed_;
  ModelWriter& writer_;
  const SynthProgressCallback& report_;
  ComputePool pool_;
  std::vector<std::vector<float>> scratch_;  // one per worker
  std::vector<std::byte> chunks_[2];
  size_t next_chunk_ = 0;
  std::thread write_thread_;
  Status write_status_;  // of the last write; read after joining
  SynthProgress progress_;
};

}  // namespace

Result<ModelConfig> synth_config(const std::string& name) {
  if (name == "tiny") return tiny_config();
  if (name == "r1-distill-qwen-1.5b") return r1_distill_config();
  if (name.ends_with(".json")) return read_hf_config(name);
  return invalid_argument(fmt::format(
      "config: found \"{}\", expected tiny, r1-distill-qwen-1.5b or the path of a .json file",
      name));
}

Status synth_model(const SynthOptions& options, const SynthProgressCallback& progress) {
  if (options.out_path.empty()) return invalid_argument("out: expected a path");
  ASSIGN_OR_RETURN(const ModelDescription description, describe(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<ModelWriter> writer,
                   ModelWriter::create(options.out_path, description, options.type));
  Generator generator(options, *writer, progress);
  RETURN_IF_ERROR(generator.run());
  RETURN_IF_ERROR(writer->finish());
  if (progress) progress(generator.progress());
  return ok_status();
}

}  // namespace sparrow
