#include "base/options.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace sparrow {
namespace {

constexpr OptionSpec kOptions[] = {
    {.name = "model", .type = OptionType::kString, .default_text = "", .help = "what to load"},
    {.name = "max-model-len",
     .type = OptionType::kSize,
     .default_text = "4096",
     .help = "context",
     .unit = "tokens",
     .min = 1,
     .max = 1e6},
    {.name = "tensor-parallel-size",
     .type = OptionType::kInt,
     .default_text = "1",
     .help = "ranks",
     .min = 1,
     .max = 8,
     .aliases = "-tp"},
    {.name = "served-model-name", .type = OptionType::kList, .default_text = "", .help = "names"},
    {.name = "enable-prefix-caching",
     .type = OptionType::kFlag,
     .default_text = "true",
     .help = "share"},
    {.name = "temperature",
     .type = OptionType::kNumber,
     .default_text = "0.6",
     .help = "heat",
     .min = 0,
     .max = 2},
    {.name = "dtype",
     .type = OptionType::kString,
     .default_text = "auto",
     .help = "type",
     .choices = "auto|bfloat16"},
};
constexpr CommandSpec kCommand{.name = "serve",
                               .summary = "Serves",
                               .positional = "[MODEL]",
                               .options = kOptions,
                               .examples = "  sparrow serve\n"};

OptionValues parsed(const std::vector<std::string>& arguments) {
  Result<OptionValues> values = parse_options(kCommand, arguments);
  EXPECT_TRUE(values.ok()) << values.message();
  return values.ok() ? *values : OptionValues{};
}

TEST(Options, NothingGiven_DefaultsHold) {
  const OptionValues values = parsed({});
  EXPECT_EQ(values.integer("max-model-len"), 4096);
  EXPECT_TRUE(values.flag("enable-prefix-caching"));
  EXPECT_DOUBLE_EQ(values.number("temperature"), 0.6);
  EXPECT_FALSE(values.given("max-model-len"));
  EXPECT_EQ(values.text("model"), "");
}

TEST(Options, SpellingsOfOtherServers_AreUnderstood) {
  EXPECT_EQ(parsed({"--max_model_len=8K"}).integer("max-model-len"), 8192);
  EXPECT_EQ(parsed({"--max-model-len", "25.6k"}).integer("max-model-len"), 25600);
  EXPECT_EQ(parsed({"-tp", "2"}).integer("tensor-parallel-size"), 2);
  EXPECT_EQ(parsed({"--model deepseek-ai/r1"}).text("model"), "deepseek-ai/r1");
  EXPECT_FALSE(parsed({"--no-enable-prefix-caching"}).flag("enable-prefix-caching"));
  EXPECT_FALSE(parsed({"--enable-prefix-caching", "false"}).flag("enable-prefix-caching"));
  EXPECT_TRUE(parsed({"--enable-prefix-caching", "--dtype", "auto"}).flag("enable-prefix-caching"));
}

TEST(Options, Lists_TakeManyValuesAndCommas) {
  const std::vector<std::string> want = {"a", "b", "c"};
  EXPECT_EQ(parsed({"--served-model-name", "a", "b", "c"}).list("served-model-name"), want);
  EXPECT_EQ(
      parsed({"--served-model-name", "a,b", "--served-model-name", "c"}).list("served-model-name"),
      want);
}

TEST(Options, Positional_IsKeptApart) {
  EXPECT_EQ(parsed({"dir/model", "-tp", "1"}).positional(), std::vector<std::string>{"dir/model"});
  EXPECT_EQ(parsed({"--", "--model"}).positional(), std::vector<std::string>{"--model"});
}

TEST(Options, WrongValues_NameFlagValueAndRange) {
  const auto message = [](const std::vector<std::string>& arguments) {
    return parse_options(kCommand, arguments).message();
  };
  EXPECT_NE(message({"--temperature", "3"}).find("--temperature must be 0 to 2, got '3'"),
            std::string::npos);
  EXPECT_NE(message({"--temperature", "nan"}).find("a number"), std::string::npos);
  EXPECT_NE(message({"--max-model-len", "12x"}).find("got '12x'"), std::string::npos);
  EXPECT_NE(message({"--max-model-len"}).find("needs a value"), std::string::npos);
  EXPECT_NE(message({"--dtype", "int3"}).find("one of auto, bfloat16"), std::string::npos);
  EXPECT_NE(message({"--max-model"}).find("did you mean"), std::string::npos);
  EXPECT_NE(message({"--nonsense"}).find("sparrow serve --help"), std::string::npos);
}

TEST(Options, Environment_IsBelowCommandLineAndAboveDefault) {
  ASSERT_EQ(setenv("SPARROW_MAX_MODEL_LEN", "2K", 1), 0);
  EXPECT_EQ(parsed({}).integer("max-model-len"), 2048);
  EXPECT_TRUE(parsed({}).given("max-model-len"));
  EXPECT_EQ(parsed({"--max-model-len", "100"}).integer("max-model-len"), 100);
  unsetenv("SPARROW_MAX_MODEL_LEN");
}

TEST(Options, Help_NamesEveryOptionAndTheExamples) {
  EXPECT_TRUE(parsed({"--help"}).help_asked());
  const std::string help = options_help(kCommand);
  for (const OptionSpec& spec : kOptions) EXPECT_NE(help.find(spec.name), std::string::npos);
  EXPECT_NE(help.find("Examples"), std::string::npos);
  EXPECT_NE(options_markdown(kCommand).find("auto\\|bfloat16"), std::string::npos);
}

TEST(ParseSize, Suffixes_FollowVllm) {
  EXPECT_EQ(*parse_size("1k"), 1000);
  EXPECT_EQ(*parse_size("1K"), 1024);
  EXPECT_EQ(*parse_size("1.5G"), 1610612736);
  EXPECT_EQ(*parse_size("1.5GiB"), 1610612736);
  EXPECT_EQ(*parse_size("6GB"), 6000000000);
  EXPECT_EQ(*parse_size("3MiB"), 3145728);
  EXPECT_EQ(*parse_size("2kB"), 2000);
  for (const char* bad : {"", "k", "1kk", "1 k", "inf", "0x10", "1e400", "99999999G"}) {
    EXPECT_FALSE(parse_size(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace sparrow
