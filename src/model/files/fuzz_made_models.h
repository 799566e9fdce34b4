#pragma once
// Fuzz support: whole models made at run time, changed by the fuzzer's bytes and opened as a user's
// files are. Inputs stay small however large the model is, and every one begins behind the checks
// that random bytes never pass. A model that nobody changed must open and give exactly the values
// that were written: so a seed without changes proves that its decoder is reached.
//
// Input: bytes that choose the model, then changes of kChangeBytes each (a shorter rest is none).
// The last models and the directory they are written to are kept for the process. Single thread.

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "model/files/quantized_checkpoint.h"
#include "model/tensor_source.h"

namespace sparrow {

inline constexpr size_t kChangeBytes = 5;

// Two bytes choose kind, group size, group list and the scales' type of a quantized directory.
void fuzz_made_directory(std::string_view input);
inline constexpr int kNumMadeKinds = 9;
// One byte chooses the type of a GGUF file's matrices: one that a file may hold.
void fuzz_made_gguf(std::string_view input);
size_t num_made_gguf_types();
// The whole input is model.safetensors.index.json of two files; nothing stands for the right one.
void fuzz_index(std::string_view input);
// The right one: a seed.
const std::string& made_index();

// The models of fuzz_made_directory() by group size: no larger than the groups need.
CheckpointOptions made_options(CheckpointKind kind, int64_t group_size);
const ModelConfig& made_config(int64_t group_size);

// What every refusal is: one line that is not too long.
void check_message(const Status& status);
// A row of what was read, packed for the kernels: its values are those of the file.
void check_packed_row(const SourceTensor& tensor);

}  // namespace sparrow
