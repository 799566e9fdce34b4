// The ladder's options: what is not given keeps the library's own value, what is given arrives, and
// what cannot work is refused by name.

#include "cmd/options/admission_options.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

// With the two options of serve that admission reads.
OptionValues parsed(const std::vector<std::string>& arguments) {
  static const std::vector<OptionSpec> options = with_admission_options({
      {.name = "max-step-ms", .type = OptionType::kNumber, .default_text = "250", .help = "x"},
      {.name = "max-num-queued-reqs", .type = OptionType::kSize, .default_text = "9", .help = "x"},
  });
  const CommandSpec command{.name = "serve", .summary = "serves", .options = options};
  Result<OptionValues> values = parse_options(command, arguments);
  EXPECT_TRUE(values.ok()) << values.message();
  return std::move(*values);
}

TEST(AdmissionOptions, Defaults_AreThoseOfTheLadder) {
  const DegradationOptions usual;
  const DegradationOptions options = admission_options(parsed({})).degradation;
  EXPECT_EQ(options.message_severity, usual.message_severity);
  EXPECT_EQ(options.refuse_severity, usual.refuse_severity);
  EXPECT_EQ(options.raise_ms, usual.raise_ms);
  EXPECT_EQ(options.lower_ms, usual.lower_ms);
  EXPECT_EQ(options.step_ms, usual.step_ms);
  EXPECT_TRUE(check_admission_options(parsed({})).ok());
}

TEST(AdmissionOptions, Ladder_TakesItsPaceAndItsSeverities) {
  const OptionValues values =
      parsed({"--degrade-message-severity", "2", "--degrade-refuse-severity", "2.5",
              "--degrade-raise-ms", "100", "--degrade-lower-ms", "900"});
  EXPECT_TRUE(check_admission_options(values).ok());
  const DegradationOptions options = admission_options(values).degradation;
  EXPECT_EQ(options.message_severity, 2);
  EXPECT_EQ(options.refuse_severity, 2.5);
  EXPECT_EQ(options.raise_ms, 100);
  EXPECT_EQ(options.lower_ms, 900);
}

TEST(AdmissionOptions, WhatCannotWork_IsRefusedByName) {
  const auto refusal = [](const std::vector<std::string>& arguments) {
    return check_admission_options(parsed(arguments)).message();
  };
  EXPECT_NE(refusal({"--degrade-message", ""}).find("--degrade-message"), std::string::npos);
  EXPECT_NE(refusal({"--degrade-message", "\xff"}).find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal({"--degrade-message", std::string(4097, 'x')}).find("4096"), std::string::npos);
  EXPECT_EQ(refusal({"--degrade-message", std::string(4096, 'x')}), "");
  EXPECT_NE(refusal({"--degrade-refuse-severity", "2"}).find("--degrade-refuse-severity 2"),
            std::string::npos);
  EXPECT_EQ(refusal({"--degrade-refuse-severity", "0"}), "") << "left out";
  EXPECT_NE(refusal({"--degrade-message-severity", "0.5"}).find("give 1 or more"),
            std::string::npos);
  EXPECT_EQ(refusal({"--degrade-message-severity", "0", "--degrade-refuse-severity", "1"}), "");
}

}  // namespace
}  // namespace sparrow
