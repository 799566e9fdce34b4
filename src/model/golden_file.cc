#include "model/golden_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/json.h"

namespace sparrow {
namespace {

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::vector<float> floats_from_base64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const int value = base64_value(c);
    if (value < 0) break;  // padding
    bits = bits << 6 | static_cast<uint32_t>(value);
    num_bits += 6;
    if (num_bits >= 8) {
      num_bits -= 8;
      bytes.push_back(static_cast<char>(bits >> num_bits & 0xff));
    }
  }
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), values.size() * 4);
  return values;
}

ModelConfig read_config(const boost::json::object& json) {
  const auto number = [&](const char* key) { return json.at(key).to_number<double>(); };
  const auto integer = [&](const char* key) { return json.at(key).to_number<int32_t>(); };
  ModelConfig config;
  config.num_layers = integer("num_hidden_layers");
  config.hidden_size = integer("hidden_size");
  config.intermediate_size = integer("intermediate_size");
  config.num_heads = integer("num_attention_heads");
  config.num_kv_heads = integer("num_key_value_heads");
  config.head_dim = integer("head_dim");
  config.vocab_size = integer("vocab_size");
  config.max_position = integer("max_position_embeddings");
  config.rope_theta = static_cast<float>(number("rope_theta"));
  config.rms_norm_eps = static_cast<float>(number("rms_norm_eps"));
  config.tied_embeddings = json.at("tie_word_embeddings").as_bool();
  return config;
}

}  // namespace

std::vector<std::string> golden_names() {
  return {"tied_group1_head64", "untied_group2_head64", "untied_group6_head128",
          "tied_group6_head128", "untied_long_4200"};
}

Result<GoldenFile> read_golden_file(const std::string& name) {
  ASSIGN_OR_RETURN(const boost::json::value json,
                   parse_json_file("tests/golden/" + name + ".json"));
  const boost::json::object& root = json.as_object();
  GoldenFile golden;
  golden.config = read_config(root.at("config").as_object());
  golden.seed = root.at("seed").to_number<uint64_t>();
  for (const boost::json::value& entry : root.at("cases").as_array()) {
    const boost::json::object& object = entry.as_object();
    GoldenCase one;
    one.weights = object.at("weights").as_string() == "bf16" ? TensorType::kBF16 : TensorType::kF32;
    one.num_tokens = object.at("num_tokens").to_number<int>();
    one.token_sum = object.at("token_sum").to_number<int64_t>();
    for (const auto& row : object.at("rows").as_array()) {
      one.rows.push_back(row.to_number<int32_t>());
    }
    one.logits = floats_from_base64(std::string_view(object.at("logits").as_string()));
    golden.cases.push_back(std::move(one));
  }
  return golden;
}

double relative_l2(std::span<const float> found, std::span<const float> expected) {
  if (found.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double error = 0, norm = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double difference = static_cast<double>(found[i]) - expected[i];
    error += difference * difference;
    norm += static_cast<double>(expected[i]) * expected[i];
  }
  return std::sqrt(error / norm);
}

int num_wrong_argmax(std::span<const float> found, std::span<const float> expected,
                     int vocab_size) {
  int num_wrong = 0;
  const auto vocab = static_cast<size_t>(vocab_size);
  for (size_t begin = 0; begin < expected.size(); begin += vocab) {
    const auto row = expected.subspan(begin, vocab), other = found.subspan(begin, vocab);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    const auto found_best = std::max_element(other.begin(), other.end()) - other.begin();
    float error = 0, second = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < vocab; ++i) {
      error = std::max(error, std::fabs(row[i] - other[i]));
      if (static_cast<std::ptrdiff_t>(i) != best) second = std::max(second, row[i]);
    }
    // Both logits may move by the error.
    if (row[static_cast<size_t>(best)] - second > 2 * error && best != found_best) ++num_wrong;
  }
  return num_wrong;
}

}  // namespace sparrow
