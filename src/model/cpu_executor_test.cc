// The contract of the executor: the logits of a token depend on the tokens before it alone, bit for
// bit; and the seam: pending tokens, slots, masks, bad weights, memory.
#include "model/cpu_executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu_features.h"
#include "model/executor_driver.h"
#include "model/generated_weights.h"

namespace sparrow {
namespace {

constexpr int kLongPrompt = 270;  // two attention chunks

// Rows that are whole blocks of every type.
ModelConfig wide_config() {
  ModelConfig config = small_model_config();
  config.hidden_size = 256;
  config.intermediate_size = 512;
  config.num_heads = 4;
  config.head_dim = 64;
  return config;
}

ModelConfig config_for(TensorType type) {
  return tensor_type_info(type).block_elements > 32 ? wide_config() : small_model_config();
}

CpuExecutorOptions small_options() {
  CpuExecutorOptions options;
  options.num_threads = 1;
  options.num_slots = 16;
  options.num_blocks = 128;
  options.max_batch_tokens = 512;
  options.max_logit_rows = 64;
  return options;
}

std::unique_ptr<CpuExecutor> make_loaded(GeneratedWeights& weights,
                                         const CpuExecutorOptions& options) {
  Result<std::unique_ptr<CpuExecutor>> executor = make_cpu_executor(weights.config(), options);
  EXPECT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(weights);
  EXPECT_TRUE(loaded.ok()) << loaded.message();
  return std::move(executor).value();
}

// Every instruction set and every kind of weights: the contract holds for each.
struct ContractCase {
  std::string isa;
  TensorType type;
  bool one_scale_per_row = false;
};

class CpuExecutorContract : public testing::TestWithParam<ContractCase> {
 protected:
  CpuExecutorContract()
      : weights_(config_for(GetParam().type), 3, GetParam().type, GetParam().one_scale_per_row) {
    options_ = small_options();
    options_.isa = GetParam().isa;
  }
  // All logits of the prompt, computed alone and in one piece by one thread.
  std::vector<std::vector<float>> expected(int num_tokens) {
    const std::unique_ptr<CpuExecutor> executor = make_loaded(weights_, options_);
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(weights_.token_ids(num_tokens));
    driver.run_all(sequence, num_tokens);
    return logits_of(driver, sequence, num_tokens);
  }
  static std::vector<std::vector<float>> logits_of(const ExecutorDriver& driver, int sequence,
                                                   int num_tokens) {
    std::vector<std::vector<float>> logits;
    for (int i = 0; i < num_tokens; ++i) logits.push_back(driver.logits(sequence, i));
    return logits;
  }

  GeneratedWeights weights_;
  CpuExecutorOptions options_;
};

TEST_P(CpuExecutorContract, PromptInChunks_SameBitsAsWhole) {
  const auto whole = expected(kLongPrompt);
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights_, options_);
  for (const int chunk : {7, 16, 255}) {
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(weights_.token_ids(kLongPrompt));
    driver.run_all(sequence, chunk);
    EXPECT_TRUE(logits_of(driver, sequence, kLongPrompt) == whole) << "chunk " << chunk;
  }
}

TEST_P(CpuExecutorContract, MoreThreads_SameBits) {
  const auto one_thread = expected(kLongPrompt);
  for (const int num_threads : {2, 3, 5}) {
    options_.num_threads = num_threads;
    const std::unique_ptr<CpuExecutor> executor = make_loaded(weights_, options_);
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(weights_.token_ids(kLongPrompt));
    driver.run_all(sequence, kLongPrompt - 1);  // the last token alone: split attention
    EXPECT_TRUE(logits_of(driver, sequence, kLongPrompt) == one_thread) << num_threads;
  }
}

TEST_P(CpuExecutorContract, OtherBlockOrder_SameBits) {
  const auto ascending = expected(kLongPrompt);
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights_, options_);
  std::vector<BlockId> order(static_cast<size_t>(executor->limits().num_blocks));
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<BlockId>(i * 77 % order.size());  // 77 and 128 have no common divisor
  }
  ExecutorDriver driver(*executor, order);
  const int sequence = driver.add(weights_.token_ids(kLongPrompt));
  driver.run_all(sequence, 100);
  EXPECT_TRUE(logits_of(driver, sequence, kLongPrompt) == ascending);
}

TEST_P(CpuExecutorContract, Int8Cache_SameBitsInChunksAndWithMoreThreads) {
  options_.kv_type = KvType::kInt8;
  const auto whole = expected(kLongPrompt);
  options_.num_threads = 3;
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights_, options_);
  for (const int chunk : {7, 255, kLongPrompt - 1}) {
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(weights_.token_ids(kLongPrompt));
    driver.run_all(sequence, chunk);
    EXPECT_TRUE(logits_of(driver, sequence, kLongPrompt) == whole) << "chunk " << chunk;
  }
}

// Of sixteen, each at another position and with another number of tokens a step.
TEST_P(CpuExecutorContract, InABatch_SameBitsAsAlone) {
  for (const KvType kv_type : {KvType::kBF16, KvType::kInt8}) {
    options_.kv_type = kv_type;
    options_.num_threads = 1;
    const auto alone = expected(kLongPrompt);
    options_.num_threads = 2;
    const std::unique_ptr<CpuExecutor> executor = make_loaded(weights_, options_);
    ExecutorDriver driver(*executor);
    const std::vector<TokenId> tokens = weights_.token_ids(kLongPrompt);
    const int sequence = driver.add(tokens);
    std::vector<int> others;
    for (int i = 0; i < 15; ++i) {
      others.push_back(driver.add({tokens.rbegin(), tokens.rbegin() + 60 + i}));
    }
    for (int done = 0; done < kLongPrompt; done += 30) {
      std::vector<ExecutorDriver::Part> parts;
      for (int i = 0; i < 15; ++i) {
        if (done / 30 >= i / 3) parts.push_back({others[static_cast<size_t>(i)], 1 + i % 5, 1});
        if (i == 2) parts.push_back({sequence, 30, 30});
      }
      driver.step(parts);
    }
    EXPECT_TRUE(logits_of(driver, sequence, kLongPrompt) == alone)
        << "KV type " << static_cast<int>(kv_type);
  }
}

// Guesses of every kind, right, wrong, partly right, in spans of all sizes beside others: tokens
// and logprobs are those of one token at a time, with penalties that depend on every token before.
TEST_P(CpuExecutorContract, Drafts_SameTokensAndLogprobsAsOneAtATime) {
  constexpr int kPrompt = 30, kOutput = 40;
  SamplingParams sampled;
  sampled.seed = 4;
  sampled.temperature = 1.0;
  sampled.top_p = 0.95;
  sampled.repetition_penalty = 1.3;
  sampled.presence_penalty = 0.5;
  sampled.frequency_penalty = 0.7;
  sampled.num_top_logprobs = 3;
  SamplingParams greedy = ExecutorDriver::greedy();
  greedy.num_top_logprobs = 0;
  for (const SamplingParams& params : {sampled, greedy}) {
    std::vector<SampledToken> expected;
    options_.num_threads = 1;
    const std::unique_ptr<CpuExecutor> plain = make_loaded(weights_, options_);
    ExecutorDriver alone(*plain);
    const int one = alone.add(weights_.token_ids(kPrompt), params);
    for (int i = 0; i < kOutput; ++i) {
      expected.push_back(alone.step({{one, i == 0 ? kPrompt : 1, 1}}).tokens[0]);
    }
    for (const int num_threads : {1, 3}) {
      options_.num_threads = num_threads;
      options_.max_logit_rows = num_threads == 1 ? 64 : 3;  // drafts cut by turns
      const std::unique_ptr<CpuExecutor> executor = make_loaded(weights_, options_);
      ExecutorDriver driver(*executor);
      const int sequence = driver.add(weights_.token_ids(kPrompt), params);
      const int other = driver.add(weights_.token_ids(20));
      std::vector<SampledToken> found(1, driver.step({{sequence, kPrompt, 1}}).tokens[0]);
      for (uint64_t step = 0; found.size() < static_cast<size_t>(kOutput); ++step) {
        const size_t count = std::min<size_t>(step % 7, kOutput - found.size() - 1);
        std::vector<TokenId> drafts;
        for (size_t i = 0; i < count; ++i) {
          const bool wrong = (step + i) % 5 == 4;
          drafts.push_back((expected[found.size() + i].id + (wrong ? 1 : 0)) % 200);
        }
        const StepResult& result = driver.step(
            {{other, step == 0 ? 20 : 1, 1}, {sequence, 1, static_cast<int>(count) + 1, drafts}});
        ASSERT_EQ(result.spans[0].num_tokens, 1);
        const SpanResult& span = result.spans[1];
        for (int i = 0; i < span.num_tokens; ++i) {
          found.push_back(result.tokens[static_cast<size_t>(span.token_begin + i)]);
        }
      }
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(found[i].id, expected[i].id) << i;
        ASSERT_EQ(found[i].logprob, expected[i].logprob) << i;
        ASSERT_EQ(found[i].num_top, expected[i].num_top) << i;
      }
    }
  }
}

std::vector<ContractCase> contract_cases() {
  std::vector<ContractCase> cases;
  for (const Kernels* kernels : runnable_kernels()) {
    const bool oracle = std::string_view(kernels->name) == "scalar";  // slow: fewer types
    for (const TensorType type :
         {TensorType::kF32, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4_0}) {
      if (oracle && (type == TensorType::kF32 || type == TensorType::kQ4_0)) continue;
      cases.push_back({kernels->name, type});
    }
    cases.push_back({kernels->name, TensorType::kI8G32, true});
  }
  // The block formats share their code: each once on the best instruction set. That all sets return
  // the same bits is tested with the kernels.
  for (const TensorType type :
       {TensorType::kQ4_K, TensorType::kQ6_K, TensorType::kQ5_K, TensorType::kQ3_K,
        TensorType::kQ2_K, TensorType::kQ4_1, TensorType::kQ5_1, TensorType::kI4G32,
        TensorType::kI4G64, TensorType::kI4G128, TensorType::kI8G32, TensorType::kI8G64,
        TensorType::kI8G128, TensorType::kF16}) {
    cases.push_back({runnable_kernels().back()->name, type});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, CpuExecutorContract, testing::ValuesIn(contract_cases()),
                         [](const auto& test) {
                           const ContractCase& one = test.param;
                           return one.isa + "_" + tensor_type_info(one.type).name +
                                  (one.one_scale_per_row ? "_row_scales" : "");
                         });

TEST(CpuExecutor, PendingTokens_SameTextAsKnownTokens) {
  GeneratedWeights weights(small_model_config(), 4);
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, small_options());
  ExecutorDriver driver(*executor);
  const std::vector<TokenId> prompt = weights.token_ids(20);
  const int sequence = driver.add(prompt);
  const std::vector<TokenId> generated = driver.generate(sequence, 12);
  // The same tokens as a prompt: every position predicts the next one.
  std::vector<TokenId> whole = prompt;
  whole.insert(whole.end(), generated.begin(), generated.end());
  const int replay = driver.add(whole);
  driver.run_all(replay, 64);
  for (size_t i = 0; i < generated.size(); ++i) {
    const std::vector<float>& row = driver.logits(replay, static_cast<int>(prompt.size() + i) - 1);
    EXPECT_EQ(std::max_element(row.begin(), row.end()) - row.begin(), generated[i]) << i;
  }
}

TEST(CpuExecutor, MoreLogitRowsThanFit_SameTokensInTurns) {
  GeneratedWeights weights(small_model_config(), 4);
  CpuExecutorOptions options = small_options();
  const std::unique_ptr<CpuExecutor> whole = make_loaded(weights, options);
  options.max_logit_rows = 3;
  const std::unique_ptr<CpuExecutor> turns = make_loaded(weights, options);
  ExecutorDriver driver(*whole), other(*turns);
  const int a = driver.add(weights.token_ids(40)), b = other.add(weights.token_ids(40));
  const StepResult& expected = driver.step({{a, 40, 40}});
  const StepResult& found = other.step({{b, 40, 40}});
  ASSERT_EQ(found.tokens.size(), 40u);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(found.tokens[i].id, expected.tokens[i].id);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(driver.logits(a, i), other.logits(b, i));
}

TEST(CpuExecutor, SampledText_SameInAnyBatch) {
  GeneratedWeights weights(small_model_config(), 6, TensorType::kQ8_0);
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, small_options());
  SamplingParams params;
  params.temperature = 1.0;
  params.seed = 99;
  params.repetition_penalty = 1.2;
  std::vector<TokenId> alone;
  {
    ExecutorDriver driver(*executor);
    alone = driver.generate(driver.add(weights.token_ids(10), params), 20);
  }
  ExecutorDriver driver(*executor);
  const int sequence = driver.add(weights.token_ids(10), params);
  const int other = driver.add(weights.token_ids(33));
  driver.step({{other, 33, 1}, {sequence, 10, 1}});
  for (int i = 1; i < 20; ++i) driver.step({{other, 1, 1}, {sequence, 1, 1}});
  const std::vector<TokenId>& all = driver.tokens(sequence);
  EXPECT_EQ(std::vector<TokenId>(all.begin() + 10, all.end()), alone);
}

TEST(CpuExecutor, DisallowedTokens_NeverSampled) {
  GeneratedWeights weights(small_model_config(), 8);
  CpuExecutorOptions options = small_options();
  for (TokenId id = 0; id < 200; ++id) {
    if (id != 123) options.disallowed_tokens.push_back(id);
  }
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, options);
  ExecutorDriver driver(*executor);
  const int sequence = driver.add(weights.token_ids(5));
  EXPECT_EQ(driver.generate(sequence, 3), (std::vector<TokenId>{123, 123, 123}));
}

// A matrix of the source as floats, to be changed.
float* values_of(const GeneratedWeights& weights, const char* name) {
  const Result<SourceTensor> tensor = weights.tensor(name);
  CHECK(tensor.ok() && tensor->type == TensorType::kF32);
  return reinterpret_cast<float*>(const_cast<std::byte*>(tensor->bytes.data()));
}

// Relative L2 distance of the last token's logits with a cache of bytes from those with floats.
double int8_cache_error(GeneratedWeights& weights) {
  std::vector<std::vector<float>> logits;
  for (const KvType type : {KvType::kF32, KvType::kInt8}) {
    CpuExecutorOptions options = small_options();
    options.kv_type = type;
    const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, options);
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(weights.token_ids(kLongPrompt));
    driver.run_all(sequence, 100);
    logits.push_back(driver.logits(sequence, kLongPrompt - 1));
  }
  double difference = 0, norm = 0;
  for (size_t i = 0; i < logits[0].size(); ++i) {
    difference += std::pow(double{logits[1][i]} - logits[0][i], 2);
    norm += std::pow(double{logits[0][i]}, 2);
  }
  return std::sqrt(difference / norm);
}

// Qwen2 has K biases of a hundred and more beside components around one. Kept inside the bytes, a
// bias of 300 would leave steps of 2.4 for all other components: errors as large as the signal.
TEST(CpuExecutor, Int8Cache_SurvivesLargeKeyBiases) {
  GeneratedWeights plain(small_model_config(), 8);
  const double small_biases = int8_cache_error(plain);
  EXPECT_LT(small_biases, 0.02);  // steps of 1/127 of the largest component
  GeneratedWeights biased(small_model_config(), 8);
  for (const char* name :
       {"model.layers.0.self_attn.k_proj.bias", "model.layers.1.self_attn.k_proj.bias"}) {
    float* bias = values_of(biased, name);
    bias[3] += 300.0f;
    bias[19] -= 150.0f;  // the other half of the same pair
    bias[32 + 9] += 120.0f;
  }
  // Queries are kept to 15 bits and angles to 24, so a score errs by some 1e-4 of the bias's part.
  EXPECT_LT(int8_cache_error(biased), 0.03);
}

// Finite weights whose K and V overflow for token 7 alone: only the sequence that holds it is
// marked, and the block it leaves behind, full of infinities, does not poison its next owner.
TEST(CpuExecutor, OverflowInOneSequence_MarksOnlyItsRow) {
  const ModelConfig config = small_model_config();
  GeneratedWeights weights(config, 8);
  float* embedding = values_of(weights, "model.embed_tokens.weight");
  for (int id = 0; id < config.vocab_size; ++id) {
    float* row = embedding + id * config.hidden_size;
    if (id == 7) std::fill(row, row + config.hidden_size, 0.0f);
    row[0] = id == 7 ? 1.0f : 0.0f;
  }
  for (const char* name :
       {"model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.v_proj.weight"}) {
    for (int row = 0; row < config.kv_size(); ++row) {
      values_of(weights, name)[row * config.hidden_size] = 3e38f;
    }
  }
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, small_options());
  std::vector<TokenId> good(24, 11);
  TokenId expected = 0;
  {
    ExecutorDriver driver(*executor);
    expected = driver.step({{driver.add(good), 24, 1}}).tokens[0].id;
  }
  ExecutorDriver driver(*executor);
  const int bad = driver.add({1, 7, 7, 7}), beside = driver.add(good);
  const StepResult& result = driver.step({{bad, 4, 1}, {beside, 24, 1}});
  EXPECT_TRUE(result.tokens[0].not_finite);
  EXPECT_FALSE(result.tokens[1].not_finite);
  EXPECT_EQ(result.tokens[1].id, expected);
  driver.remove(bad);
  const int next = driver.add(good);  // takes the block that `bad` filled
  const StepResult& after = driver.step({{next, 24, 1}});
  EXPECT_FALSE(after.tokens[0].not_finite);
  EXPECT_EQ(after.tokens[0].id, expected);
}

TEST(CpuExecutor, NotFiniteWeight_LoadNamesTheTensor) {
  GeneratedWeights weights(small_model_config(), 8);
  values_of(weights, "model.layers.1.mlp.up_proj.weight")[small_model_config().hidden_size] =
      std::numeric_limits<float>::quiet_NaN();
  Result<std::unique_ptr<CpuExecutor>> executor =
      make_cpu_executor(weights.config(), small_options());
  ASSERT_TRUE(executor.ok()) << executor.message();
  const Status status = (*executor)->load(weights);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("model.layers.1.mlp.up_proj.weight: row 1"), std::string::npos)
      << status.message();
}

TEST(CpuExecutor, TooLittleMemory_RefusedWithTheFlagThatHelps) {
  GeneratedWeights weights(small_model_config(), 8);
  CpuExecutorOptions options = small_options();
  options.memory_limit_bytes = 100000;
  const Result<std::unique_ptr<CpuExecutor>> executor =
      make_cpu_executor(weights.config(), options);
  ASSERT_FALSE(executor.ok());
  EXPECT_EQ(executor.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(executor.message().find("--max-model-len"), std::string::npos) << executor.message();
}

TEST(CpuExecutor, MemoryPlan_CountsWhatIsHeld) {
  GeneratedWeights weights(small_model_config(), 8, TensorType::kQ8_0);
  const std::unique_ptr<CpuExecutor> executor = make_loaded(weights, small_options());
  const MemoryPlan& plan = executor->memory_plan();
  const Result<MemoryPlan> before = plan_cpu_memory(weights.config(), small_options(), &weights);
  ASSERT_TRUE(before.ok()) << before.message();
  EXPECT_EQ(plan.weights_bytes, before->weights_bytes);
  // 2 layers, 2 KV heads, K and V of 32 values in 2 bytes.
  EXPECT_EQ(executor->kv_bytes_per_token(), 2 * 2 * 2 * 32 * 2);
  EXPECT_EQ(plan.kv_bytes, 128 * 16 * executor->kv_bytes_per_token());
  EXPECT_EQ(plan.max_context, 2048);
  EXPECT_EQ(plan.full_sequences(), 1.0);
  const Result<SourceTensor> table = weights.tensor("model.embed_tokens.weight");
  // 200 rows fill 7 strips of 32.
  EXPECT_EQ(plan.weights_bytes - executor->weights_bytes_per_token(),
            static_cast<int64_t>(table->row_bytes()) * 224);
}

TEST(CpuExecutor, OptionsOutOfRange_RefusedByName) {
  CpuExecutorOptions options = small_options();
  options.max_context = 4096;  // the model ends at 2048
  Result<std::unique_ptr<CpuExecutor>> executor = make_cpu_executor(small_model_config(), options);
  ASSERT_FALSE(executor.ok());
  EXPECT_NE(executor.message().find("--max-model-len"), std::string::npos) << executor.message();
  options = small_options();
  options.isa = "mmx";
  executor = make_cpu_executor(small_model_config(), options);
  EXPECT_FALSE(executor.ok());
}

}  // namespace
}  // namespace sparrow
