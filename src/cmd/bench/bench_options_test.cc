#include "cmd/bench/bench_options.h"

#include <gtest/gtest.h>

#include "cmd/options/model_options.h"

namespace sparrow {
namespace {

OptionValues parse(const std::vector<std::string>& arguments) {
  static const std::vector<OptionSpec> kOptions = with_model_options(bench_option_specs());
  static const CommandSpec kSpec{.name = "bench", .summary = "", .options = kOptions};
  Result<OptionValues> values = parse_options(kSpec, arguments);
  EXPECT_TRUE(values.ok()) << values.message();
  return values.ok() ? *values : OptionValues();
}

TEST(BenchOptions, OfAnotherMeasurement_AreNamedAndRefused) {
  using Arguments = std::vector<std::string>;
  const std::pair<Arguments, const char*> kRefused[] = {
      {{"--workload", "nano-vllm", "--batch", "3"}, "--batch"},
      {{"--workload", "nano-vllm", "--gen-tokens", "3"}, "--gen-tokens"},
      {{"--workload", "users", "--depth", "3"}, "--depth"},
      {{"--workload", "users", "--sequences", "3"}, "--sequences"},
      {{"--workload", "users", "--repeat", "3"}, "--repeat"},
      {{"--workload", "latency", "--users", "3"}, "--users"},
      {{"--workload", "latency", "--replay", "file"}, "--replay"},
      {{"--card", "a40"}, "--card"},
      {{"--target-s", "3.5"}, "--target-s"},
      {{"--max-step-ms", "10"}, "--max-step-ms"}};
  for (const auto& [arguments, name] : kRefused) {
    const Status status = check_bench_options(parse(arguments));
    ASSERT_FALSE(status.ok()) << name;
    EXPECT_TRUE(status.message().starts_with(name)) << status.message();
  }
  for (const Arguments& arguments :
       {Arguments{}, Arguments{"--batch", "1", "--depth", "0", "--verify", "3"},
        Arguments{"--replay", "file", "--prompt-tokens", "9", "--gen-tokens", "9"},
        Arguments{"--workload", "latency", "--batch", "1,2", "--repeat", "2"},
        Arguments{"--workload", "file", "--sequences", "3", "--repeat", "2"},
        Arguments{"--workload", "users", "--rounds", "2", "--card", "a40", "--target-s", "1"}}) {
    EXPECT_TRUE(check_bench_options(parse(arguments)).ok());
  }
}

TEST(BenchOptions, Latency_IsTheBatchesFromOneTo256) {
  const auto preset = batch_options(parse({"--workload", "latency"}));
  ASSERT_TRUE(preset.ok()) << preset.message();
  ASSERT_EQ(preset->size(), 1u);
  EXPECT_EQ((*preset)[0].batches, (std::vector<int>{1, 2, 4, 8, 16, 32, 64, 128, 256}));
  EXPECT_EQ((*preset)[0].prompt_tokens, 32);
  EXPECT_EQ((*preset)[0].gen_tokens, 128);
  const auto given = batch_options(
      parse({"--workload", "latency", "--batch", "1,3", "--prompt-tokens", "7", "--gen-tokens=9"}));
  ASSERT_TRUE(given.ok()) << given.message();
  EXPECT_EQ((*given)[0].batches, (std::vector<int>{1, 3}));
  EXPECT_EQ((*given)[0].prompt_tokens, 7);
  EXPECT_EQ((*given)[0].gen_tokens, 9);
}

TEST(BenchOptions, SeveralPromptLengths_AreMeasuredInTurn) {
  const auto all = batch_options(parse({"--prompt-tokens", "512,4K", "--batch", "1"}));
  ASSERT_TRUE(all.ok()) << all.message();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].prompt_tokens, 512);
  EXPECT_EQ((*all)[1].prompt_tokens, 4096);
  EXPECT_EQ(*longest_prompt(parse({"--prompt-tokens", "4K,512"})), 4096);
  EXPECT_FALSE(batch_options(parse({"--prompt-tokens", "0"})).ok());
  EXPECT_FALSE(batch_options(parse({"--prompt-tokens", "1,200000"})).ok());
}

TEST(BenchOptions, Users_AskWithTheLengthsOfTheirProtocol) {
  const auto preset = users_options(parse({"--workload", "users"}));
  ASSERT_TRUE(preset.ok()) << preset.message();
  EXPECT_EQ(preset->num_users, 12);
  EXPECT_EQ(preset->request.prompt_tokens, 256);
  EXPECT_EQ(preset->request.output_tokens, 512);
  EXPECT_EQ(preset->engine.max_num_seqs, 12) << "a place each";
  EXPECT_EQ(preset->engine.max_step_ms, 200) << "the server's";
  EXPECT_EQ(preset->engine.max_num_batched_tokens, 512);
  const auto on_gpu = users_options(parse({"--workload", "users", "--device", "cuda"}));
  ASSERT_TRUE(on_gpu.ok()) << on_gpu.message();
  EXPECT_EQ(on_gpu->engine.max_step_ms, 30) << "the server's on a GPU";
  EXPECT_EQ(on_gpu->engine.max_num_batched_tokens, 2048);
  const auto given = users_options(parse({"--workload", "users", "--users", "40", "--prompt-tokens",
                                          "9", "--gen-tokens", "5", "--max-num-seqs", "8"}));
  ASSERT_TRUE(given.ok()) << given.message();
  EXPECT_EQ(given->request.prompt_tokens, 9);
  EXPECT_EQ(given->request.output_tokens, 5);
  EXPECT_EQ(given->engine.max_num_seqs, 8);
  EXPECT_FALSE(users_options(parse({"--workload", "users", "--prompt-tokens", "9,10"})).ok());
}

TEST(BenchOptions, ASetOfRequests_HasAPlaceForEachUpTo256) {
  const OptionValues values = parse({"--workload", "nano-vllm"});
  const auto whole = chosen_workload(values);
  ASSERT_TRUE(whole.ok()) << whole.message();
  EXPECT_EQ(whole->items.size(), 256u);
  EXPECT_EQ(workload_options(values, *whole).engine.max_num_seqs, 256);
  EXPECT_EQ(workload_options(values, *whole).repeat, 1);
  const OptionValues part_values =
      parse({"--workload", "nano-vllm", "--sequences", "16", "--repeat", "4"});
  const auto part = chosen_workload(part_values);
  ASSERT_TRUE(part.ok()) << part.message();
  EXPECT_EQ(part->items.size(), 16u);
  EXPECT_EQ(workload_options(part_values, *part).engine.max_num_seqs, 16);
  EXPECT_EQ(workload_options(part_values, *part).repeat, 4);
  EXPECT_GE(workload_options(values, *whole).engine.max_step_ms, 60000)
      << "nobody waits for a token: prompts are not cut";
  const OptionValues bounded = parse({"--workload", "nano-vllm", "--max-step-ms", "50"});
  EXPECT_EQ(workload_options(bounded, *whole).engine.max_step_ms, 50);
  const auto missing = chosen_workload(parse({"--workload", "no such file"}));
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.message().find("no such file"), std::string::npos) << missing.message();
}

TEST(BenchOptions, EveryCardOfTheTable_CanBeNamed) {
  for (const KnownGpu& card : known_gpus()) {
    const UsersTarget target = users_target(
        parse({"--workload", "users", "--card", std::string(card.id), "--target-s", "3.5"}));
    EXPECT_EQ(target.card, &card);
    EXPECT_EQ(target.target_s, 3.5);
  }
  const UsersTarget none = users_target(parse({"--workload", "users"}));
  EXPECT_EQ(none.card, nullptr);
  EXPECT_EQ(none.target_s, 0);
}

}  // namespace
}  // namespace sparrow
