#pragma once
// Test support: tiny AWQ, GPTQ and compressed-tensors checkpoints, packed bit by bit as the table
// of model_and_formats.md 9.5 says and independently of the readers, and the values they must give.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/files/tensor_layout.h"

namespace sparrow {

struct CheckpointTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

enum class CheckpointKind {
  kAwq,
  kGptqV1,
  kGptqV2,
  kPacked4,
  kPacked4Asymmetric,
  kPacked8,
  kInt8,
  kGptq8,       // version 1, every zero point the middle
  kGptq8Zeros,  // version 1
};

struct CheckpointOptions {
  CheckpointKind kind = CheckpointKind::kAwq;
  int64_t group_size = 32;          // -1: one scale a row
  std::string scale_dtype = "F16";  // AWQ and GPTQ always have F16
  bool group_list = false;          // g_idx
  bool act_order = false;           // ... whose groups are shuffled
  std::vector<std::string> plain_modules;
  uint64_t seed = 1;
  int32_t hidden_size = 128;  // a multiple of 16
  int32_t vocab_size = 264;
};

struct Checkpoint {
  ModelConfig config;
  std::string config_json;
  std::map<std::string, CheckpointTensor> tensors;     // as the file has them
  std::map<std::string, std::vector<float>> expected;  // canonical matrix -> values, row by row

  std::string safetensors() const;
  // config.json and model.safetensors; the directory must exist.
  void write(const std::string& directory) const;
};

// A Qwen2 model of one layer: intermediate hidden + 32 for groups of 32, else three times hidden.
Checkpoint make_checkpoint(const CheckpointOptions& options);

}  // namespace sparrow
