// Tokenizer speed with the tokenizer of DeepSeek-R1-Distill-Qwen-1.5B (../shared/data): encode of
// mixed English and Chinese, the inputs that are quadratic in a careless tokenizer, decode, load.
//   build/release/src/tokenizer/tokenizer_tokenizer_bench --benchmark_repetitions=5

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {
namespace {

constexpr size_t kMaxFileBytes = 64u << 20;
constexpr size_t kRunBytes = 1u << 20;

std::string data_path(const std::string& name) {
  const char* base = std::getenv("SPARROW_TEST_DATA");
  return fmt::format("{}/{}", base == nullptr ? "../shared/data" : base, name);
}

std::string model_directory() { return data_path("deepseek-r1-distill-qwen-1.5b"); }

// Null when the data is missing.
const Tokenizer* r1_tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer =
      []() -> std::shared_ptr<const Tokenizer> {
    auto spec = read_hf_tokenizer(model_directory());
    if (!spec.ok()) return nullptr;
    auto created = Tokenizer::create(std::move(*spec));
    return created.ok() ? *created : nullptr;
  }();
  return tokenizer.get();
}

// Up to a megabyte of the recorded texts; `chinese` picks those with at least a quarter of their
// bytes in CJK characters (lead bytes E4 to E9), std::nullopt takes all.
std::string corpus(std::optional<bool> chinese) {
  std::string text;
  const auto file = read_file(data_path("tokenizer-vectors/golden_encode.jsonl"), kMaxFileBytes);
  if (!file.ok()) return text;
  std::istringstream lines(*file);
  for (std::string line; std::getline(lines, line, '\n');) {
    const auto row = parse_json(line, "golden_encode.jsonl");
    if (!row.ok()) continue;
    const std::string_view part = row.value().at("text").as_string();
    const auto num_cjk = std::count_if(part.begin(), part.end(), [](char c) {
      return static_cast<unsigned char>(c) >= 0xE4 && static_cast<unsigned char>(c) <= 0xE9;
    });
    const bool is_chinese = static_cast<size_t>(num_cjk) * 3 * 4 >= part.size();
    if (chinese && *chinese != is_chinese) continue;
    text += part;
    text += '\n';
  }
  return text;
}

std::string repeat(std::string_view unit, size_t num_bytes) {
  std::string text;
  while (text.size() < num_bytes) text += unit;
  return text;
}

void encode_text(benchmark::State& state, const std::string& text) {
  const Tokenizer* tokenizer = r1_tokenizer();
  if (tokenizer == nullptr || text.empty()) {
    state.SkipWithError("../shared/data is missing");
    return;
  }
  size_t num_tokens = 0;
  for (auto _ : state) num_tokens += tokenizer->encode(text).size();
  const auto rounds = static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) *
                          static_cast<int64_t>(state.iterations()));
  state.counters["tokens"] = static_cast<double>(num_tokens) / rounds;
  state.counters["text_bytes"] = static_cast<double>(text.size());
}

void encode_mixed(benchmark::State& state) { encode_text(state, corpus(std::nullopt)); }
void encode_english(benchmark::State& state) { encode_text(state, corpus(false)); }
void encode_chinese(benchmark::State& state) { encode_text(state, corpus(true)); }
// Half a request of each language, as a share of bytes.
void encode_half_english_half_chinese(benchmark::State& state) {
  const std::string english = corpus(false);
  const std::string chinese = corpus(true);
  const size_t half = std::min(english.size(), chinese.size());
  encode_text(state, english.substr(0, half) + chinese.substr(0, half));
}
void encode_run_of_letter(benchmark::State& state) { encode_text(state, repeat("a", kRunBytes)); }
void encode_run_of_spaces(benchmark::State& state) { encode_text(state, repeat(" ", kRunBytes)); }
void encode_run_of_newlines(benchmark::State& state) {
  encode_text(state, repeat("\n", kRunBytes));
}
void encode_run_of_emoji(benchmark::State& state) { encode_text(state, repeat("😀", kRunBytes)); }
void encode_run_of_marks(benchmark::State& state) {
  encode_text(state, fmt::format("a{}{}", repeat("\u0301", kRunBytes / 2),
                                 repeat("\u0327", kRunBytes / 2)));
}
void encode_run_of_added_tokens(benchmark::State& state) {
  encode_text(state, repeat("<think>", kRunBytes));
}
void encode_short_prompt(benchmark::State& state) {
  encode_text(state, "<｜User｜>How many r are in strawberry?<｜Assistant｜>");
}

void decode_mixed(benchmark::State& state) {
  const Tokenizer* tokenizer = r1_tokenizer();
  if (tokenizer == nullptr) {
    state.SkipWithError("../shared/data is missing");
    return;
  }
  const std::string text = corpus(std::nullopt);
  const std::vector<TokenId> ids = tokenizer->encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->decode(ids));
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) *
                          static_cast<int64_t>(state.iterations()));
}

void stream_decode_mixed(benchmark::State& state) {
  const Tokenizer* tokenizer = r1_tokenizer();
  if (tokenizer == nullptr) {
    state.SkipWithError("../shared/data is missing");
    return;
  }
  const std::vector<TokenId> ids = tokenizer->encode(corpus(std::nullopt));
  std::string out;
  for (auto _ : state) {
    StreamDecoder decoder(*tokenizer);
    for (const TokenId id : ids) {
      out.clear();
      decoder.push(id, out);
      benchmark::DoNotOptimize(out.data());
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(ids.size()) *
                          static_cast<int64_t>(state.iterations()));
}

void load_tokenizer_json(benchmark::State& state) {
  for (auto _ : state) {
    auto spec = read_hf_tokenizer(model_directory());
    if (!spec.ok()) {
      state.SkipWithError("../shared/data is missing");
      return;
    }
    benchmark::DoNotOptimize(Tokenizer::create(std::move(*spec)));
  }
}

void read_spec_only(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(read_hf_tokenizer(model_directory()));
}

BENCHMARK(encode_mixed)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_english)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_chinese)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_half_english_half_chinese)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_run_of_letter)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_run_of_spaces)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_run_of_newlines)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_run_of_emoji)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_run_of_marks)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_run_of_added_tokens)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_short_prompt)->Unit(benchmark::kMicrosecond);
BENCHMARK(decode_mixed)->Unit(benchmark::kMillisecond);
BENCHMARK(stream_decode_mixed)->Unit(benchmark::kMillisecond);
BENCHMARK(load_tokenizer_json)->Unit(benchmark::kMillisecond);
BENCHMARK(read_spec_only)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sparrow

BENCHMARK_MAIN();
