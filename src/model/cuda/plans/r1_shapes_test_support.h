#pragma once
// For tests: the sizes of DeepSeek-R1-Distill-Qwen-1.5B.

#include "model/model_config.h"

namespace sparrow {

inline ModelConfig r1_config() {
  ModelConfig config;
  config.hidden_size = 1536;
  config.intermediate_size = 8960;
  config.num_layers = 28;
  config.num_heads = 12;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.vocab_size = 151936;
  config.max_position = 131072;
  return config;
}

}  // namespace sparrow
