#include "model/cuda/plans/gpu_memory_plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "base/random.h"
#include "model/cuda/plans/known_gpus.h"
#include "model/cuda/plans/r1_shapes_test_support.h"
#include "model/cuda/plans/shape_tensor_source.h"
#include "model/files/config_limits.h"

namespace sparrow {
namespace {

constexpr const char* kSmallCard = "RTX 3060 Laptop 6 GB";

GpuDeviceInfo card(const char* name) { return find_known_gpu(name)->device(); }

GpuExecutorOptions int4_options() {
  GpuExecutorOptions options;
  options.weight_format = GpuWeightFormat::kInt4;
  options.head_format = options.embedding_format = GpuWeightFormat::kInt8;
  return options;
}

// The number after `flag`'s advice: "lower --max-model-len to 123", "raise ... to 0.67".
double advised(const std::string& message, const std::string& advice) {
  const size_t found = message.find(advice + " to ");
  if (found == std::string::npos) return -1;
  return std::strtod(message.c_str() + found + advice.size() + 4, nullptr);
}

// The line of the issue: FP16, 4,096 tokens of context, four users, on 6 GB.
TEST(GpuMemoryPlan, SixGigabyteCard_ServesFP16WithFourUsersOf4096Tokens) {
  const ShapeTensorSource f16(r1_config(), TensorType::kF16);
  GpuExecutorOptions options;
  options.num_slots = 4;
  options.max_context = 4096;
  const auto plan = plan_gpu_memory(r1_config(), options, card(kSmallCard), &f16);
  ASSERT_TRUE(plan.ok()) << plan.message();
  EXPECT_EQ(plan->max_context, 4096);
  EXPECT_EQ(plan->full_sequences(), 4.0);  // no more: four users need no more
  EXPECT_EQ(plan->kv_bytes, int64_t{4} * 4096 * 28672);
  // 1,777,088,000 parameters of two bytes, but 144,896 of norms and biases of four.
  EXPECT_EQ(plan->weights_bytes, int64_t{1777088000} * 2 + 144896 * 2);
  EXPECT_EQ(plan->budget_bytes, 5'400'000'000);
  // 4.3 of 5.4 GB: 0.8 GB are left even if the reserve is twice what is estimated.
  EXPECT_LT(plan->total_bytes() + plan->reserve_bytes, plan->budget_bytes - 800'000'000);
}

TEST(GpuMemoryPlan, SixGigabyteCard_HoldsFarMoreInInt4) {
  const ShapeTensorSource f16(r1_config(), TensorType::kF16);
  const auto wide = plan_gpu_memory(r1_config(), {}, card(kSmallCard), &f16);
  const auto narrow = plan_gpu_memory(r1_config(), int4_options(), card(kSmallCard), &f16);
  ASSERT_TRUE(wide.ok() && narrow.ok());
  EXPECT_GE(wide->kv_tokens(), 4 * 4096);
  EXPECT_GE(static_cast<double>(narrow->kv_tokens()), 2.5 * static_cast<double>(wide->kv_tokens()));
  EXPECT_EQ(narrow->max_context, 131072);  // one sequence of the model's whole context
  EXPECT_LT(wide->max_context, 131072);
  // The KV cache in 8 bits on top of it: 14,560 bytes per token instead of 28,672.
  GpuExecutorOptions options = int4_options();
  options.kv_type = GpuKvFormat::kInt8;
  const auto narrowest = plan_gpu_memory(r1_config(), options, card(kSmallCard), &f16);
  ASSERT_TRUE(narrowest.ok()) << narrowest.message();
  EXPECT_GE(static_cast<double>(narrowest->kv_tokens()),
            1.9 * static_cast<double>(narrow->kv_tokens()));
}

// "KV tokens that fit = (0.9 x card - weights - workspace) / 28 672, with 0.6 GB workspace": the
// plan has its own sum of workspace and reserve, and exact weights; with these two put in, the
// guide's figures come out, to the thousand it rounds to (ten thousand for the largest card).
TEST(GpuMemoryPlan, KvTokens_AreThoseOfTheCapacityGuide) {
  constexpr double kGuideWorkspace = 0.6e9;
  GpuExecutorOptions bf16, int4_wide_head, int4_narrow_head = int4_options();
  int4_wide_head.weight_format = GpuWeightFormat::kInt4;
  const struct {
    const char* card;
    const GpuExecutorOptions& options;
    double guide_weights, guide_tokens, rounding;
  } rows[] = {
      {kSmallCard, bf16, 3.554e9, 43e3, 1e3},
      {kSmallCard, int4_wide_head, 1.614e9, 111e3, 1e3},
      {kSmallCard, int4_narrow_head, 1.155e9, 127e3, 1e3},
      {"RTX 3060 12 GB", bf16, 3.554e9, 232e3, 1e3},
      {"RTX 3060 12 GB", int4_wide_head, 1.614e9, 299e3, 1e3},
      {"RTX 3060 12 GB", int4_narrow_head, 1.155e9, 315e3, 1e3},
      {"T4", bf16, 3.554e9, 357e3, 1e3},
      {"T4", int4_wide_head, 1.614e9, 425e3, 1e3},
      {"T4", int4_narrow_head, 1.155e9, 441e3, 1e3},
      {"A10G", bf16, 3.554e9, 608e3, 1e3},
      {"A10G", int4_wide_head, 1.614e9, 676e3, 1e3},
      {"A10G", int4_narrow_head, 1.155e9, 692e3, 1e3},
      {"H200", bf16, 3.554e9, 4.28e6, 1e4},
      {"H200", int4_wide_head, 1.614e9, 4.35e6, 1e4},
      {"H200", int4_narrow_head, 1.155e9, 4.36e6, 1e4},
  };
  for (const auto& row : rows) {
    const auto plan = plan_gpu_memory(r1_config(), row.options, card(row.card));
    ASSERT_TRUE(plan.ok()) << plan.message();
    const double own = static_cast<double>(plan->workspace_bytes + plan->reserve_bytes);
    const double difference =
        (own - kGuideWorkspace + static_cast<double>(plan->weights_bytes) - row.guide_weights) /
        28672;
    EXPECT_NEAR(static_cast<double>(plan->kv_tokens()) + difference, row.guide_tokens, row.rounding)
        << row.card;
    // Their own sizes are near the guide's: weights to 1 %, the rest below its 0.6 GB, or its
    // order.
    EXPECT_NEAR(static_cast<double>(plan->weights_bytes), row.guide_weights,
                0.01 * row.guide_weights);
    EXPECT_GT(own, 0.3e9);
    EXPECT_LT(own, 0.8e9);
  }
}

TEST(GpuMemoryPlan, BytesPerToken_AreTheModelsArithmetic) {
  EXPECT_EQ(gpu_kv_bytes_per_token(r1_config(), GpuKvFormat::kBF16), 28672);
  EXPECT_EQ(gpu_kv_bytes_per_token(r1_config(), GpuKvFormat::kInt8), 14784);
}

TEST(GpuMemoryPlan, MemoryThatOthersHold_NamesTheShareThatFits) {
  GpuDeviceInfo device = card(kSmallCard);
  device.free_bytes = 5'000'000'000;
  const auto plan = plan_gpu_memory(r1_config(), {}, device);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(plan.message(),
            "--gpu-memory-utilization 0.9 of 6.00 GB wants 5.40 GB, but only 5.00 GB are free: "
            "lower --gpu-memory-utilization to 0.83");
  // Where no share helps, it says why instead of sending the user round in circles.
  device.free_bytes = 3'000'000'000;
  const auto too_small = plan_gpu_memory(r1_config(), {}, device);
  ASSERT_FALSE(too_small.ok());
  EXPECT_NE(too_small.message().find("0.50 is not enough"), std::string::npos)
      << too_small.message();
  EXPECT_NE(too_small.message().find("int8 needs"), std::string::npos) << too_small.message();
  device.free_bytes = 0;
  EXPECT_NE(plan_gpu_memory(r1_config(), {}, device).message().find("stop what else"),
            std::string::npos);
}

// On a small card the context is a tenth of what a plan needs: it must not be counted twice.
TEST(GpuMemoryPlan, OurOwnContext_IsNotMissingFromWhatIsFree) {
  GpuDeviceInfo device = card(kSmallCard);
  const int64_t context = gpu_context_bytes(device);
  EXPECT_EQ(gpu_usable_bytes(device), device.free_bytes) << "a card of the table";
  device.free_bytes -= context;
  EXPECT_EQ(gpu_usable_bytes(device), device.total_bytes - context) << "somebody else's memory";
  device.pci_bus_id = "0000:01:00.0";
  EXPECT_EQ(gpu_usable_bytes(device), device.total_bytes) << "ours, the card being open";
  device.free_bytes = device.total_bytes - context / 2;
  EXPECT_EQ(gpu_usable_bytes(device), device.total_bytes) << "never more than there is";
  GpuExecutorOptions options;
  options.memory_utilization = 0.98;
  options.max_context = 1024;
  options.num_slots = 1;
  device.free_bytes = device.total_bytes - context;
  EXPECT_TRUE(plan_gpu_memory(r1_config(), options, device).ok());
  device.free_bytes -= context;  // another program
  EXPECT_FALSE(plan_gpu_memory(r1_config(), options, device).ok());
}

TEST(GpuMemoryPlan, AdvisedShare_AlwaysFits) {
  int num_advised = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    GpuDeviceInfo device = card(kSmallCard);
    device.total_bytes = 5'000'000'000 + static_cast<int64_t>(random_bits(seed, 1, 0) % (1u << 31));
    device.free_bytes =
        static_cast<int64_t>(random_bits(seed, 2, 0) % static_cast<uint64_t>(device.total_bytes));
    GpuExecutorOptions options = int4_options();
    options.memory_utilization = 0.01 + 0.99 * random_uniform(seed, 3, 0);
    const auto plan = plan_gpu_memory(r1_config(), options, device);
    if (plan.ok()) continue;
    for (const char* advice :
         {"lower --gpu-memory-utilization", "raise --gpu-memory-utilization"}) {
      const double share = advised(plan.message(), advice);
      if (share < 0 || plan.message().find("is not enough") != std::string::npos) continue;
      ++num_advised;
      options.memory_utilization = share;
      EXPECT_TRUE(plan_gpu_memory(r1_config(), options, device).ok())
          << plan.message() << " -> " << plan_gpu_memory(r1_config(), options, device).message();
    }
  }
  EXPECT_GT(num_advised, 40);
}

TEST(GpuMemoryPlan, ContextTooLong_NamesTheLengthThatFits) {
  for (const bool batch_invariant : {false, true}) {
    GpuExecutorOptions options;
    options.batch_invariant = batch_invariant;
    options.max_context = 131072;
    const auto plan = plan_gpu_memory(r1_config(), options, card(kSmallCard));
    ASSERT_FALSE(plan.ok());
    const auto fits = static_cast<int32_t>(advised(plan.message(), "lower --max-model-len"));
    ASSERT_GT(fits, 16384) << plan.message();
    options.max_context = fits;
    EXPECT_TRUE(plan_gpu_memory(r1_config(), options, card(kSmallCard)).ok());
    options.max_context = fits + 1;
    EXPECT_FALSE(plan_gpu_memory(r1_config(), options, card(kSmallCard)).ok());
    // What is chosen without a wish is the same.
    options.max_context = 0;
    EXPECT_EQ(plan_gpu_memory(r1_config(), options, card(kSmallCard))->max_context, fits);
  }
}

TEST(GpuMemoryPlan, WeightsTooLarge_NamesAFormatThatFits) {
  GpuDeviceInfo device = card(kSmallCard);
  device.total_bytes = device.free_bytes = 3'000'000'000;
  const auto plan = plan_gpu_memory(r1_config(), {}, device);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.message().find("smaller format: int8 needs"), std::string::npos) << plan.message();
  GpuExecutorOptions smaller;
  smaller.weight_format = smaller.head_format = smaller.embedding_format = GpuWeightFormat::kInt8;
  EXPECT_TRUE(plan_gpu_memory(r1_config(), smaller, device).ok());
  device.total_bytes = device.free_bytes = 1'000'000'000;
  EXPECT_NE(plan_gpu_memory(r1_config(), {}, device).message().find("a larger card"),
            std::string::npos);
}

TEST(GpuMemoryPlan, ExactKvCacheBytes_AreTakenOrRefusedWithTheValueThatFits) {
  GpuExecutorOptions options;
  options.max_context = 4096;
  options.kv_cache_bytes = 1'000'000'000;
  const auto plan = plan_gpu_memory(r1_config(), options, card(kSmallCard));
  ASSERT_TRUE(plan.ok()) << plan.message();
  EXPECT_LE(plan->kv_bytes, options.kv_cache_bytes);
  EXPECT_GT(plan->kv_bytes, options.kv_cache_bytes - 16 * 28672);
  options.kv_cache_bytes = 4'000'000'000;
  const auto too_large = plan_gpu_memory(r1_config(), options, card(kSmallCard));
  ASSERT_FALSE(too_large.ok());
  options.kv_cache_bytes = static_cast<int64_t>(advised(too_large.message(), "lower it"));
  EXPECT_TRUE(plan_gpu_memory(r1_config(), options, card(kSmallCard)).ok()) << too_large.message();
  options.kv_cache_bytes = 1'000'000;
  const auto too_small = plan_gpu_memory(r1_config(), options, card(kSmallCard));
  ASSERT_FALSE(too_small.ok());
  options.kv_cache_bytes = static_cast<int64_t>(advised(too_small.message(), "raise it"));
  EXPECT_TRUE(plan_gpu_memory(r1_config(), options, card(kSmallCard)).ok()) << too_small.message();
}

TEST(GpuMemoryPlan, HostileOptionsAndCards_AreRefusedByName) {
  const auto message_of = [](const GpuExecutorOptions& options, const GpuDeviceInfo& device) {
    const auto plan = plan_gpu_memory(r1_config(), options, device);
    return plan.ok() ? std::string("accepted") : plan.message();
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double share : {0.0, -0.5, 1.5, 1.0000001, kNan, HUGE_VAL}) {
    GpuExecutorOptions options;
    options.memory_utilization = share;
    EXPECT_NE(message_of(options, card("T4")).find("--gpu-memory-utilization must"),
              std::string::npos)
        << share;
  }
  const auto refused_option = [&](const char* flag, auto set) {
    GpuExecutorOptions options;
    set(options);
    EXPECT_NE(message_of(options, card("T4")).find(flag), std::string::npos) << flag;
  };
  refused_option("--max-num-seqs", [](auto& options) { options.num_slots = 0; });
  refused_option("--max-num-seqs", [](auto& options) { options.num_slots = 4097; });
  refused_option("--max-num-batched-tokens", [](auto& options) { options.max_batch_tokens = -1; });
  refused_option("--max-model-len", [](auto& options) { options.max_context = 131073; });
  refused_option("--kv-cache-memory-bytes", [](auto& options) { options.kv_cache_bytes = -1; });
  refused_option("logit rows", [](auto& options) { options.max_logit_rows = 0; });
  const auto refused_card = [&](auto set) {
    GpuDeviceInfo device = card("T4");
    set(device);
    const auto plan = plan_gpu_memory(r1_config(), {}, device);
    EXPECT_FALSE(plan.ok());
    EXPECT_EQ(plan.status().code(), StatusCode::kFailedPrecondition) << plan.message();
  };
  refused_card([](auto& device) { device.free_bytes = device.total_bytes + 1; });
  refused_card([](auto& device) { device.total_bytes = device.free_bytes = 0; });
  refused_card([](auto& device) { device.free_bytes = -1; });
  refused_card([](auto& device) { device.num_sms = 0; });
  refused_card([](auto& device) { device.compute_major = 6; });
}

// Every size at the limit the readers and options allow: refused by the true sum, not by a product
// that wrapped around.
TEST(GpuMemoryPlan, LargestModelAndOptions_AreRefusedWithoutOverflow) {
  ModelConfig config;
  config.hidden_size = kMaxHiddenSize;
  config.intermediate_size = kMaxIntermediateSize;
  config.num_layers = kMaxLayers;
  config.num_heads = config.num_kv_heads = kMaxHeads;
  config.head_dim = kMaxHeadDim;
  config.vocab_size = kMaxVocabSize;
  config.max_position = kMaxPosition;
  GpuExecutorOptions options;
  options.num_slots = 4096;
  options.max_batch_tokens = options.max_logit_rows = 1 << 16;
  options.max_context = kMaxPosition;
  options.batch_invariant = true;
  const auto plan = plan_gpu_memory(config, options, card("H200"));
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), StatusCode::kResourceExhausted);
  // 1,024 layers of seven matrices of 2^36 weights, two embeddings of 2^40, and vectors of fp32.
  const double bytes = 7 * 0x1p47 + 2 * 0x1p41 + 4 * (1024.0 * (0x1p17 + 3 * 0x1p20) + 0x1p16);
  EXPECT_NE(plan.message().find(fmt::format("weights {:.2f} GB", bytes / 1e9)), std::string::npos)
      << plan.message();
}

TEST(GpuMemoryPlan, RandomModelsAndCards_NeverExceedTheShareOrWhatIsFree) {
  int num_plans = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t bound) {
      return static_cast<int32_t>(1 + random_bits(seed, 9, ++counter) % bound);
    };
    const auto draw_format = [&]() -> std::optional<GpuWeightFormat> {
      const int32_t number = draw(5);
      if (number == 5) return std::nullopt;
      return static_cast<GpuWeightFormat>(number - 1);
    };
    ModelConfig config;
    config.hidden_size = 32 * draw(64);
    config.intermediate_size = 32 * draw(200);
    config.num_layers = draw(40);
    config.num_kv_heads = draw(8);
    config.num_heads = config.num_kv_heads * draw(8);
    config.head_dim = 2 * draw(80);
    config.vocab_size = draw(160000);
    config.max_position = draw(200000);
    config.tied_embeddings = draw(2) == 1;
    GpuExecutorOptions options;
    options.memory_utilization = random_uniform(seed, 10, 0);
    options.kv_type = static_cast<GpuKvFormat>(draw(2) - 1);
    options.weight_format = draw_format();
    options.head_format = draw_format();
    options.embedding_format = draw_format();
    options.num_slots = draw(300);
    options.max_batch_tokens = draw(2000);
    options.max_logit_rows = draw(100);
    options.enforce_eager = draw(2) == 1;
    options.batch_invariant = draw(2) == 1;
    if (draw(2) == 1) options.max_context = draw(static_cast<uint64_t>(config.max_position));
    if (draw(4) == 1) options.kv_cache_bytes = int64_t{draw(1 << 30)} * draw(8);
    const std::span<const KnownGpu> cards = known_gpus();
    GpuDeviceInfo device = cards[static_cast<size_t>(draw(cards.size()) - 1)].device();
    device.free_bytes -= device.total_bytes / 100 * (draw(60) - 1);
    const auto plan = plan_gpu_memory(config, options, device);
    if (!plan.ok()) continue;
    ++num_plans;
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const auto total = static_cast<double>(plan->total_bytes());
    EXPECT_LE(total, options.memory_utilization * static_cast<double>(device.total_bytes));
    EXPECT_LE(plan->total_bytes(), device.free_bytes);
    EXPECT_GE(plan->kv_tokens(), plan->max_context);
    EXPECT_GE(plan->max_context, 1);
    EXPECT_LE(plan->max_context, config.max_position);
    EXPECT_TRUE(options.max_context == 0 || plan->max_context == options.max_context);
    EXPECT_EQ(plan->kv_bytes, plan->kv_tokens() * plan->kv_bytes_per_token);
    EXPECT_EQ(plan->workspace_bytes, plan->workspace.total_bytes);
    if (options.kv_cache_bytes == 0) {
      // At most what all slots need, and no block less than that unless memory ends first.
      const int64_t blocks = int64_t{options.num_slots} * ((plan->max_context + 15) / 16);
      EXPECT_LE(plan->num_blocks, blocks);
      const int64_t left = plan->budget_bytes - plan->total_bytes();
      EXPECT_TRUE(plan->num_blocks == blocks || left < 16 * plan->kv_bytes_per_token);
    }
  }
  EXPECT_GT(num_plans, 100);
}

TEST(GpuMemoryPlan, Lines_AreTheExactPlan) {
  GpuExecutorOptions options = int4_options();
  options.num_slots = 4;
  options.max_context = 4096;
  const auto plan = plan_gpu_memory(r1_config(), options, card(kSmallCard));
  ASSERT_TRUE(plan.ok());
  const std::vector<std::string> lines = memory_plan_lines(*plan);
  ASSERT_EQ(lines.size(), 5u);
  int64_t sum = 0;
  for (size_t line = 0; line < 4; ++line)
    sum += std::strtoll(lines[line].c_str() + 10, nullptr, 10);
  EXPECT_EQ(std::strtoll(lines[4].c_str() + 10, nullptr, 10), sum);
  EXPECT_EQ(sum, plan->total_bytes());
  EXPECT_NE(lines[0].find("int4 g128, head int8 g128, embedding int8 g128"), std::string::npos);
  EXPECT_NE(lines[1].find("16384 tokens of 28672 bytes: 4.0 sequences of 4096"), std::string::npos)
      << lines[1];
  EXPECT_NE(lines[4].find("of 5.40 GB: 0.9 of 6.00 GB on RTX 3060 Laptop 6 GB"), std::string::npos)
      << lines[4];
}

}  // namespace
}  // namespace sparrow
