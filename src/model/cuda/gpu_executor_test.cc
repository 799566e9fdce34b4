// The GPU executor, on the host twin everywhere and on a card where there is one: logits against
// PyTorch and the oracle, greedy tokens against the CPU executor, and the seam: chunks, batches,
// pending tokens, graphs, drafts, masks, slots, failures.
#include "model/cuda/gpu_executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cpu_features.h"
#include "kernels/cuda/gpu_test_support.h"
#include "model/cpu_executor.h"
#include "model/executor_driver.h"
#include "model/generated_weights.h"
#include "model/golden_file.h"
#include "model/reference_forward.h"
#include "sampling/sampler.h"

namespace sparrow {
namespace {

GpuExecutorOptions small_options() {
  GpuExecutorOptions options;
  options.num_slots = 6;
  options.max_batch_tokens = 64;
  options.max_context = 512;
  options.max_logit_rows = 16;
  options.enforce_eager = true;
  return options;
}

class GpuExecutorTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (open_test_device(GetParam()) == nullptr) {
      GTEST_SKIP() << "no GPU: " << why_no_cuda_device();
    }
  }
  Result<std::unique_ptr<GpuExecutor>> try_make(GeneratedWeights& weights,
                                                const GpuExecutorOptions& options) {
    ASSIGN_OR_RETURN(std::unique_ptr<GpuExecutor> executor,
                     make_gpu_executor(open_test_device(GetParam()), weights, options));
    RETURN_IF_ERROR(executor->load(weights));
    return executor;
  }
  std::unique_ptr<GpuExecutor> make_loaded(GeneratedWeights& weights,
                                           const GpuExecutorOptions& options = small_options()) {
    Result<std::unique_ptr<GpuExecutor>> executor = try_make(weights, options);
    EXPECT_TRUE(executor.ok()) << executor.message();
    return std::move(executor).value();
  }
};

std::vector<float> logits_at(ExecutorDriver& driver, int sequence,
                             const std::vector<int32_t>& rows) {
  std::vector<float> logits;
  for (const int32_t row : rows) {
    const std::vector<float>& one = driver.logits(sequence, row);
    logits.insert(logits.end(), one.begin(), one.end());
  }
  return logits;
}

// Activations and cache are bf16: 2^-9 a rounding, some fifteen of them on the way through a layer
// that add up as independent errors; the bound is that of the issue.
constexpr double kBF16Error = 1e-2;

TEST_P(GpuExecutorTest, GoldenModels_LogitsAgreeWithPyTorch) {
  for (const std::string& name : golden_names()) {
    const Result<GoldenFile> golden = read_golden_file(name);
    ASSERT_TRUE(golden.ok()) << golden.message();
    for (const GoldenCase& one : golden->cases) {
      // The twin takes its time: one model with more tokens than a tile, the others short.
      if (one.num_tokens > (name == "tied_group1_head64" ? 300 : 17)) continue;
      GeneratedWeights weights(golden->config, golden->seed, one.weights);
      const std::unique_ptr<GpuExecutor> executor = make_loaded(weights);
      ExecutorDriver driver(*executor);
      const int sequence = driver.add(weights.token_ids(one.num_tokens));
      for (int done = 0; done < one.num_tokens; done += 64) {
        const int count = std::min(64, one.num_tokens - done);
        const bool wanted = std::any_of(one.rows.begin(), one.rows.end(), [&](int32_t row) {
          return row >= done && row < done + count;
        });
        driver.step({{sequence, count, wanted ? count : 0}});
      }
      const std::vector<float> logits = logits_at(driver, sequence, one.rows);
      EXPECT_LT(relative_l2(logits, one.logits), kBF16Error) << name << " " << one.num_tokens;
      EXPECT_EQ(num_wrong_argmax(logits, one.logits, golden->config.vocab_size), 0) << name;
    }
  }
}

// Weights of every format, against the oracle on their exact values.
TEST_P(GpuExecutorTest, FormatsOfFiles_LogitsStayNearTheOracle) {
  ModelConfig config = small_model_config();
  config.hidden_size = 256;
  config.intermediate_size = 256;
  config.num_heads = 4;
  config.head_dim = 64;
  const std::vector<int32_t> rows = {0, 5, 11};
  for (const TensorType type :
       {TensorType::kBF16, TensorType::kF16, TensorType::kQ8_0, TensorType::kQ4_0,
        TensorType::kI4G128, TensorType::kI8G64, TensorType::kI4G32}) {
    for (const bool tied : {false, true}) {
      if (tied && type != TensorType::kQ8_0) continue;
      config.tied_embeddings = tied;
      GeneratedWeights weights(config, 21, type);
      const std::vector<TokenId> tokens = weights.token_ids(12);
      const Result<ReferenceModel> model = load_reference_model(weights);
      ASSERT_TRUE(model.ok()) << model.message();
      const std::unique_ptr<GpuExecutor> executor = make_loaded(weights);
      ExecutorDriver driver(*executor);
      const int sequence = driver.add(tokens);
      driver.run_all(sequence, 24);
      EXPECT_LT(
          relative_l2(logits_at(driver, sequence, rows), reference_forward(*model, tokens, rows)),
          kBF16Error)
          << tensor_type_info(type).name << (tied ? " tied" : "");
    }
  }
}

// Where the CPU's best logit leads by more than the two differ, the greedy token is the same.
TEST_P(GpuExecutorTest, GreedyTokens_AreTheCpuExecutorsWhereTheMarginAllows) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  CpuExecutorOptions cpu_options;
  cpu_options.num_threads = 1;
  cpu_options.num_slots = 2;
  cpu_options.num_blocks = 32;
  Result<std::unique_ptr<CpuExecutor>> cpu = make_cpu_executor(weights.config(), cpu_options);
  ASSERT_TRUE(cpu.ok()) << cpu.message();
  ASSERT_TRUE((*cpu)->load(weights).ok());
  const std::vector<TokenId> prompt = weights.token_ids(21);
  ExecutorDriver cpu_driver(**cpu);
  std::vector<TokenId> text = prompt;
  const std::vector<TokenId> generated = cpu_driver.generate(cpu_driver.add(prompt), 40);
  text.insert(text.end(), generated.begin(), generated.end());
  const int whole = cpu_driver.add(text);
  const int num_tokens = static_cast<int>(text.size());
  cpu_driver.run_all(whole, num_tokens);
  const std::unique_ptr<GpuExecutor> gpu = make_loaded(weights);
  ExecutorDriver driver(*gpu);
  const int sequence = driver.add(text);
  driver.run_all(sequence, 64);
  std::vector<int32_t> rows(text.size());
  std::iota(rows.begin(), rows.end(), 0);
  const std::vector<float> expected = logits_at(cpu_driver, whole, rows);
  const std::vector<float> found = logits_at(driver, sequence, rows);
  EXPECT_LT(relative_l2(found, expected), kBF16Error);
  EXPECT_EQ(num_wrong_argmax(found, expected, weights.config().vocab_size), 0);
}

// The same executor, however the work is cut: within rounding (another kernel may run).
TEST_P(GpuExecutorTest, ChunksAndBatches_SameLogitsWithinRounding) {
  GeneratedWeights weights(small_model_config(), 3, TensorType::kBF16);
  const std::unique_ptr<GpuExecutor> executor = make_loaded(weights);
  const std::vector<TokenId> tokens = weights.token_ids(90);
  std::vector<float> whole;
  {
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(tokens);
    driver.step({{sequence, 64, 1}});
    driver.step({{sequence, 26, 1}});
    whole = logits_at(driver, sequence, {63, 89});
  }
  std::vector<BlockId> order(static_cast<size_t>(executor->limits().num_blocks));
  std::iota(order.rbegin(), order.rend(), 0);
  for (const int chunk : {4, 32}) {
    ExecutorDriver driver(*executor, order);
    const int sequence = driver.add(tokens), other = driver.add(weights.token_ids(40));
    for (int done = 0; done < 90; done += chunk) {
      const int count = std::min(chunk, 90 - done);
      std::vector<ExecutorDriver::Part> parts = {{sequence, count, 1}};
      if (done + count <= 40 && chunk < 32) parts.push_back({other, count, 0});
      driver.step(parts);
    }
    // bf16 activations differ where two sums round to different sides: one part in 2^9, rarely.
    EXPECT_LT(relative_l2(logits_at(driver, sequence, {63, 89}), whole), 3e-3) << chunk;
  }
}

// A card without bf16 (sm_75) computes in fp16, by the kernels without matrix units.
TEST(GpuExecutorOldCard, Fp16_LogitsStayNearTheOracle) {
  for (const TensorType type : {TensorType::kBF16, TensorType::kQ8_0}) {
    GeneratedWeights weights(small_model_config(), 4, type);
    TwinDeviceOptions card;
    card.compute_major = 7;
    card.compute_minor = 5;
    card.num_sms = 40;
    Result<std::unique_ptr<GpuExecutor>> executor =
        make_gpu_executor(make_twin_device(card), weights, small_options());
    ASSERT_TRUE(executor.ok()) << executor.message();
    ASSERT_TRUE((*executor)->load(weights).ok());
    const std::vector<TokenId> tokens = weights.token_ids(20);
    const Result<ReferenceModel> model = load_reference_model(weights);
    ASSERT_TRUE(model.ok()) << model.message();
    ExecutorDriver driver(**executor);
    const int sequence = driver.add(tokens);
    driver.run_all(sequence, 20);
    EXPECT_LT(relative_l2(logits_at(driver, sequence, {0, 19}),
                          reference_forward(*model, tokens, std::vector<int32_t>{0, 19})),
              kBF16Error);
  }
}

// Rows whose attention is cut, alone and in a batch, eager and by graphs: every choice of
// gpu_forward_choices.h gives the logits of the plain kernels.
TEST_P(GpuExecutorTest, EveryChoice_SameLogitsWithinRounding) {
  GeneratedWeights weights(small_model_config(), 3, TensorType::kBF16);
  const GpuForwardChoices plain = GpuForwardChoices::plain();
  GpuForwardChoices separate_norms;
  separate_norms.norm_in_products = separate_norms.rope_in_products = false;
  std::vector<float> expected;
  for (const GpuForwardChoices& choices : {plain, separate_norms, GpuForwardChoices{}}) {
    for (const bool eager : {true, false}) {
      GpuExecutorOptions options = small_options();
      options.choices = choices;
      options.enforce_eager = eager;
      const std::unique_ptr<GpuExecutor> executor = make_loaded(weights, options);
      ExecutorDriver driver(*executor);
      const std::vector<TokenId> tokens = weights.token_ids(140);
      const int sequence = driver.add(tokens), other = driver.add(weights.token_ids(75));
      for (const int count : {64, 64, 9}) driver.step({{sequence, count, 1}});
      for (const int count : {64, 9}) driver.step({{other, count, 1}});
      driver.step({{sequence, 1, 1}});
      driver.step({{sequence, 1, 1}, {other, 1, 1}});
      std::vector<float> logits = logits_at(driver, sequence, {127, 136, 137, 138});
      const std::vector<float> of_other = logits_at(driver, other, {72, 73});
      logits.insert(logits.end(), of_other.begin(), of_other.end());
      if (expected.empty()) expected = logits;
      // As for chunks and batches above.
      EXPECT_LT(relative_l2(logits, expected), 3e-3) << eager;
    }
  }
}

TEST_P(GpuExecutorTest, Graphs_SameTokensAsEagerInEveryBatch) {
  GeneratedWeights weights(small_model_config(), 9, TensorType::kBF16);
  std::vector<std::vector<TokenId>> expected;
  for (const bool eager : {true, false}) {
    GpuExecutorOptions options = small_options();
    options.enforce_eager = eager;
    options.num_slots = 12;
    const std::unique_ptr<GpuExecutor> executor = make_loaded(weights, options);
    EXPECT_EQ(executor->memory_plan().num_graphs, eager ? 0 : 9);
    ExecutorDriver driver(*executor);
    std::vector<int> sequences;
    for (int i = 0; i < 11; ++i) {
      const std::vector<TokenId> all = weights.token_ids(6 + i);
      sequences.push_back(driver.add({all.begin() + i, all.end()}));
      driver.step({{sequences.back(), 6, 1}});
    }
    // 11 rows run in the graph for 12, then fewer and fewer.
    for (const int num_rows : {11, 11, 9, 8, 5, 2, 1}) {
      std::vector<ExecutorDriver::Part> parts;
      for (int i = 0; i < num_rows; ++i) parts.push_back({sequences[static_cast<size_t>(i)], 1, 1});
      driver.step(parts);
    }
    std::vector<std::vector<TokenId>> tokens;
    for (const int sequence : sequences) tokens.push_back(driver.tokens(sequence));
    if (eager) expected = tokens;
    EXPECT_EQ(tokens, expected);
  }
}

// From the same logits the CPU's sampler takes the same tokens, penalties and all.
TEST_P(GpuExecutorTest, SampledTokens_AreTheCpuSamplers) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  SamplingParams params;
  params.temperature = 0.7;
  params.top_p = 0.9;
  params.top_k = 40;
  params.repetition_penalty = 1.2;
  params.seed = 17;
  params.logit_bias = {{3, 2.0f}, {50, -100.0f}};
  const std::vector<TokenId> prompt = weights.token_ids(21);
  const std::unique_ptr<GpuExecutor> gpu = make_loaded(weights);
  ExecutorDriver driver(*gpu);
  const int sequence = driver.add(prompt, params);
  const std::vector<TokenId> found = driver.generate(sequence, 12);
  const Result<const Kernels*> kernels = select_kernels("scalar");
  ASSERT_TRUE(kernels.ok());
  const Sampler sampler(**kernels, weights.config().vocab_size, {});
  SamplerState state;
  state.start({0, &params, prompt, 21, {}, 0});
  Sampler::Scratch scratch;
  std::vector<TokenLogprob> top;
  for (int i = 0; i < 12; ++i) {
    std::vector<float> logits = driver.logits(sequence, 20 + i);
    const SampledToken token = sampler.sample({logits, 21 + i, {}}, state, scratch, top);
    EXPECT_EQ(found[static_cast<size_t>(i)], token.id) << i;
    state.record(token.id);
  }
}

TEST_P(GpuExecutorTest, Logprobs_AreThoseOfTheLogits) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  const std::unique_ptr<GpuExecutor> executor = make_loaded(weights);
  ExecutorDriver driver(*executor);
  SamplingParams params = ExecutorDriver::greedy();
  params.num_top_logprobs = 3;
  const int sequence = driver.add(weights.token_ids(9), params);
  const StepResult& result = driver.step({{sequence, 9, 1}});
  ASSERT_EQ(result.tokens.size(), 1u);
  ASSERT_EQ(result.top_logprobs.size(), 3u);
  const std::vector<float>& logits = driver.logits(sequence, 8);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  const TokenId id = result.tokens[0].id;
  EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
  // Of an fp32 sum of 200 terms.
  EXPECT_NEAR(result.tokens[0].logprob, logits[static_cast<size_t>(id)] - std::log(sum), 1e-4);
  EXPECT_EQ(result.top_logprobs[0].id, id);
  EXPECT_EQ(result.top_logprobs[0].logprob, result.tokens[0].logprob);
  EXPECT_GE(result.top_logprobs[0].logprob, result.top_logprobs[1].logprob);
}

TEST_P(GpuExecutorTest, Drafts_SameTextAsWithout) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  const std::unique_ptr<GpuExecutor> executor = make_loaded(weights);
  const std::vector<TokenId> prompt = weights.token_ids(18);
  SamplingParams params = ExecutorDriver::greedy();
  params.frequency_penalty = 0.5;  // a draft that was right counts for the rows behind it
  std::vector<TokenId> expected;
  {
    ExecutorDriver driver(*executor);
    expected = driver.generate(driver.add(prompt, params), 12);
  }
  for (const int num_right : {0, 1, 2, 3}) {
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(prompt, params);
    driver.step({{sequence, 18, 1}});
    std::vector<TokenId> drafts(expected.begin() + 1, expected.begin() + 4);
    if (num_right < 3) drafts[static_cast<size_t>(num_right)] ^= 1;
    const StepResult& result = driver.step({{sequence, 1, 4, drafts}});
    EXPECT_EQ(result.spans[0].num_tokens, num_right + 1);
    const std::vector<TokenId>& tokens = driver.tokens(sequence);
    ASSERT_EQ(tokens.size(), 18u + 2 + static_cast<size_t>(num_right));
    EXPECT_TRUE(std::equal(tokens.begin() + 18, tokens.end(), expected.begin())) << num_right;
  }
}

TEST_P(GpuExecutorTest, TwoStepsOnTheWay_SameTokensAsOne) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  GpuExecutorOptions options = small_options();
  options.enforce_eager = false;
  const std::unique_ptr<GpuExecutor> executor = make_loaded(weights, options);
  const std::vector<TokenId> prompt = weights.token_ids(10);
  std::vector<TokenId> expected;
  {
    ExecutorDriver driver(*executor);
    expected = driver.generate(driver.add(prompt), 6);
  }
  // begin(t + 1) before wait(t): the id is pending.
  const SamplingParams params = ExecutorDriver::greedy();
  std::array<BatchPlan, 2> plans;
  std::vector<TokenId> found;
  Ticket before = 0;
  for (int step = 0; step < 6; ++step) {
    BatchPlan& plan = plans[static_cast<size_t>(step % 2)];
    plan.clear();
    Span span;
    span.slot = 2;
    span.num_logit_rows = 1;
    span.num_blocks = 1;
    plan.block_ids = {5};
    if (step == 0) {
      plan.slot_starts.push_back({2, &params, prompt, 10, {}, 0});
      span.num_tokens = 10;
      plan.token_ids = prompt;
    } else {
      span.first_position = 9 + step;
      span.num_tokens = 1;
      plan.token_ids = {kPendingToken};
    }
    plan.spans.push_back(span);
    const Ticket ticket = executor->begin(plan);
    executor->sample(ticket, {});
    if (step > 0) found.push_back(executor->wait(before).tokens.at(0).id);
    before = ticket;
  }
  found.push_back(executor->wait(before).tokens.at(0).id);
  executor->release(2);
  EXPECT_EQ(found, expected);
}

TEST_P(GpuExecutorTest, Masks_OnlyAllowedTokens) {
  GeneratedWeights weights(small_model_config(), 5, TensorType::kBF16);
  const std::unique_ptr<GpuExecutor> executor = make_loaded(weights);
  const SamplingParams params = ExecutorDriver::greedy();
  const std::vector<TokenId> prompt = weights.token_ids(4);
  constexpr int kWords = 9;  // wider than the 7 words of 200 ids
  std::vector<uint32_t> words(3 * kWords);
  words[2 * kWords + 150 / 32] = 1u << (150 % 32);
  words[0 * kWords + 7 / 32] = 1u << 7;
  BatchPlan plan;
  for (const int slot : {0, 1, 2}) {
    plan.slot_starts.push_back({slot, &params, prompt, 4, {}, 0});
    Span span;
    span.slot = slot;
    span.num_tokens = 4;
    span.num_logit_rows = 1;
    span.token_begin = 4 * slot;
    span.block_begin = slot;
    span.num_blocks = 1;
    span.mask_row = slot == 1 ? -1 : (slot == 0 ? 2 : 0);
    plan.token_ids.insert(plan.token_ids.end(), prompt.begin(), prompt.end());
    plan.block_ids.push_back(3 + slot);
    plan.spans.push_back(span);
  }
  const Ticket ticket = executor->begin(plan);
  executor->sample(ticket, {words, kWords});
  const StepResult& result = executor->wait(ticket);
  ASSERT_EQ(result.tokens.size(), 3u);
  EXPECT_EQ(result.tokens[0].id, 150);
  EXPECT_EQ(result.tokens[2].id, 7);
  EXPECT_FALSE(result.tokens[1].not_finite);
  for (const int slot : {0, 1, 2}) executor->release(slot);
}

TEST_P(GpuExecutorTest, DisallowedTokens_NeverSampled) {
  GeneratedWeights weights(small_model_config(), 8);
  GpuExecutorOptions options = small_options();
  for (TokenId id = 0; id < 200; ++id) {
    if (id != 123) options.disallowed_tokens.push_back(id);
  }
  const std::unique_ptr<GpuExecutor> executor = make_loaded(weights, options);
  ExecutorDriver driver(*executor);
  EXPECT_EQ(driver.generate(driver.add(weights.token_ids(5)), 3),
            (std::vector<TokenId>{123, 123, 123}));
}

// K and V of one sequence overflow: the others do not notice, nor does the next owner of its
// blocks.
TEST_P(GpuExecutorTest, OverflowInOneSequence_MarksOnlyItsRow) {
  const ModelConfig config = small_model_config();
  GeneratedWeights weights(config, 8);
  const auto values_of = [&](const char* name) {
    return reinterpret_cast<float*>(const_cast<std::byte*>(weights.tensor(name)->bytes.data()));
  };
  float* embedding = values_of("model.embed_tokens.weight");
  for (int id = 0; id < config.vocab_size; ++id) {
    float* row = embedding + id * config.hidden_size;
    if (id == 7) std::fill(row, row + config.hidden_size, 0.0f);
    row[0] = id == 7 ? 1.0f : 0.0f;
  }
  for (const char* name :
       {"model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.v_proj.weight"}) {
    for (int row = 0; row < config.kv_size(); ++row) {
      values_of(name)[row * config.hidden_size] = 3e38f;
    }
  }
  const std::unique_ptr<GpuExecutor> executor = make_loaded(weights);
  const std::vector<TokenId> good(24, 11);
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
  const StepResult& after = driver.step({{driver.add(good), 24, 1}});
  EXPECT_FALSE(after.tokens[0].not_finite);
  EXPECT_EQ(after.tokens[0].id, expected);
}

TEST_P(GpuExecutorTest, NotFiniteWeight_LoadNamesTheTensor) {
  GeneratedWeights weights(small_model_config(), 8);
  const Result<SourceTensor> tensor = weights.tensor("model.layers.1.mlp.up_proj.weight");
  reinterpret_cast<float*>(const_cast<std::byte*>(tensor->bytes.data()))[70] =
      std::numeric_limits<float>::quiet_NaN();
  const Result<std::unique_ptr<GpuExecutor>> executor = try_make(weights, small_options());
  ASSERT_FALSE(executor.ok());
  EXPECT_EQ(executor.status().code(), StatusCode::kDataLoss);
  EXPECT_NE(executor.message().find("model.layers.1.mlp.up_proj.weight"), std::string::npos)
      << executor.message();
}

TEST_P(GpuExecutorTest, MemoryPlan_CountsWhatIsHeld) {
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kBF16}) {
    GeneratedWeights weights(small_model_config(), 8, type);
    std::unique_ptr<GpuDevice> device = open_test_device(GetParam());
    GpuDevice& kept = *device;
    const int64_t free_before = kept.free_bytes().value();
    Result<std::unique_ptr<GpuExecutor>> executor =
        make_gpu_executor(std::move(device), weights, small_options());
    ASSERT_TRUE(executor.ok()) << executor.message();
    ASSERT_TRUE((*executor)->load(weights).ok());
    const GpuMemoryPlan& plan = (*executor)->memory_plan();
    EXPECT_EQ((*executor)->kv_bytes_per_token(), 2 * 2 * 2 * 32 * 2);
    if (GetParam() == "twin") {  // a card rounds allocations up and takes memory for itself
      const int64_t held = free_before - kept.free_bytes().value();
      const int64_t counted = plan.weights_bytes + plan.kv_bytes + plan.workspace_bytes;
      EXPECT_EQ(held, counted);
    }
  }
}

TEST_P(GpuExecutorTest, Int8Cache_LogitsStayNear) {
  GeneratedWeights weights(small_model_config(), 8);
  std::vector<std::vector<float>> logits;
  for (const GpuKvFormat format : {GpuKvFormat::kBF16, GpuKvFormat::kInt8}) {
    GpuExecutorOptions options = small_options();
    options.kv_type = format;
    const std::unique_ptr<GpuExecutor> executor = make_loaded(weights, options);
    ExecutorDriver driver(*executor);
    const int sequence = driver.add(weights.token_ids(100));
    driver.run_all(sequence, 50);
    logits.push_back(driver.logits(sequence, 99));
  }
  // Steps of 1/127 of the largest component of a head, as for the CPU's cache.
  EXPECT_LT(relative_l2(logits[1], logits[0]), 0.02);
  EXPECT_NE(logits[1], logits[0]);
}

INSTANTIATE_TEST_SUITE_P(Gpu, GpuExecutorTest, testing::ValuesIn(gpu_targets()), gpu_target_name);

}  // namespace
}  // namespace sparrow
