#include "cmd/options/admission_options.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace sparrow {
namespace {

constexpr const char* kLimits = "Limits";
constexpr const char* kOverload = "Overload";
// A step that takes this many times its allowance is a sign of trouble.
constexpr double kStepsOfAllowance = 8;

constexpr OptionSpec kLimitOptions[] = {
    {.name = "max-queue-wait-ms",
     .type = OptionType::kNumber,
     .default_text = "60000",
     .help = "Predicted wait for the first token that is still accepted; beyond it 503 with "
             "Retry-After; 0 is no limit",
     .unit = "ms",
     .min = 0,
     .max = 86400000,
     .group = kLimits},
    {.name = "limit-requests-per-minute",
     .type = OptionType::kSize,
     .default_text = "0",
     .help = "Requests a key may send in a minute, if its key file entry says nothing else; more "
             "get 429; callers without a key share one; 0 is off",
     .min = 0,
     .max = 1e9,
     .group = kLimits},
    {.name = "limit-tokens-per-minute",
     .type = OptionType::kSize,
     .default_text = "0",
     .help = "Tokens a key may use in a minute, prompts and answers together; 0 is off",
     .unit = "tokens",
     .min = 0,
     .max = 1e12,
     .group = kLimits},
    {.name = "limit-concurrent-per-key",
     .type = OptionType::kSize,
     .default_text = "0",
     .help = "Requests a key may have in work at once; 0 is off",
     .min = 0,
     .max = 1e6,
     .group = kLimits},
};

constexpr OptionSpec kLadderOptions[] = {
    {.name = "degrade-profile",
     .type = OptionType::kString,
     .default_text = "gentle",
     .help = "What load may shorten: gentle only what a request leaves open, article max_tokens "
             "and temperature of all, off nothing",
     .choices = "gentle|article|off",
     .group = kOverload},
    {.name = "degrade-max-level",
     .type = OptionType::kInt,
     .default_text = "4",
     .help = "Last step taken: 1 shorter thinking, 2 shorter answers, 3 a cached answer or a "
             "message, 4 refuse",
     .min = 0,
     .max = 4,
     .group = kOverload},
    {.name = "degrade-kv-share",
     .type = OptionType::kNumber,
     .default_text = "0.9",
     .help = "Share of the KV cache held by running requests that counts as pressure; 0 is off",
     .min = 0,
     .max = 1,
     .group = kOverload},
    {.name = "degrade-queue-age-ms",
     .type = OptionType::kNumber,
     .default_text = "10000",
     .help = "Age of the oldest waiting request that counts as pressure; 0 is off",
     .unit = "ms",
     .min = 0,
     .max = 86400000,
     .group = kOverload},
    {.name = "degrade-step-ms",
     .type = OptionType::kNumber,
     .default_text = "2000",
     .help = "Mean duration of a step that counts as pressure, unless given 8 times --max-step-ms; "
             "0 is off",
     .unit = "ms",
     .min = 0,
     .max = 86400000,
     .group = kOverload},
    {.name = "degrade-deadline-misses",
     .type = OptionType::kInt,
     .default_text = "3",
     .help = "Requests in a row that missed their deadline that count as pressure; 0 is off",
     .min = 0,
     .max = 1000000,
     .group = kOverload},
};

constexpr OptionSpec kPaceOptions[] = {
    {.name = "degrade-message-severity",
     .type = OptionType::kNumber,
     .default_text = "3",
     .help = "Queue age or duration of a step, in multiples of what counts as pressure, that leads "
             "to step 3, cached answers and messages; 0 leaves the step out",
     .min = 0,
     .max = 1000000,
     .group = kOverload},
    {.name = "degrade-refuse-severity",
     .type = OptionType::kNumber,
     .default_text = "6",
     .help = "As above, to step 4, refusal; 0 leaves the step out",
     .min = 0,
     .max = 1000000,
     .group = kOverload},
    {.name = "degrade-raise-ms",
     .type = OptionType::kNumber,
     .default_text = "2000",
     .help = "How long pressure lasts before the next step is taken; the first is taken at once",
     .unit = "ms",
     .min = 0,
     .max = 86400000,
     .group = kOverload},
    {.name = "degrade-lower-ms",
     .type = OptionType::kNumber,
     .default_text = "5000",
     .help = "How long calm lasts before a step is taken back; what step 4 refuses is told to come "
             "back after that",
     .unit = "ms",
     .min = 0,
     .max = 86400000,
     .group = kOverload},
};

constexpr OptionSpec kActionOptions[] = {
    {.name = "degrade-thinking-budget",
     .type = OptionType::kSize,
     .default_text = "1024",
     .help = "Thinking under pressure, from step 1",
     .unit = "tokens",
     .min = 1,
     .max = 1048576,
     .group = kOverload},
    {.name = "degrade-max-tokens",
     .type = OptionType::kSize,
     .default_text = "512",
     .help = "Longest answer under pressure, thinking included, from step 2",
     .unit = "tokens",
     .min = 2,
     .max = 1048576,
     .group = kOverload},
    {.name = "degrade-answer-reserve",
     .type = OptionType::kSize,
     .default_text = "256",
     .help = "Part of max_tokens that thinking may not use, where it was shortened or a thinking "
             "budget was asked for; at most half",
     .unit = "tokens",
     .min = 0,
     .max = 1048576,
     .group = kOverload},
    {.name = "degrade-temperature",
     .type = OptionType::kNumber,
     .default_text = "",
     .help = "Highest temperature under pressure, where a request names none; low ones make R1 "
             "repeat itself; article: of all, 0.3 unless given",
     .min = 0,
     .max = 2,
     .group = kOverload},
    {.name = "degrade-message",
     .type = OptionType::kString,
     .default_text = "",
     .help = "What a chat is told in step 3, at most 4096 bytes of UTF-8; absent: that many people "
             "use the server, in English or Chinese as the question",
     .group = kOverload},
};

DegradeProfile profile_of(const std::string& name) {
  if (name == "off") return DegradeProfile::kOff;
  return name == "article" ? DegradeProfile::kArticle : DegradeProfile::kGentle;
}

DegradationOptions degradation_options(const OptionValues& values) {
  DegradationOptions options;
  options.profile = profile_of(values.text("degrade-profile"));
  options.max_level = static_cast<int>(values.integer("degrade-max-level"));
  options.kv_share = values.number("degrade-kv-share");
  options.queue_age_ms = values.number("degrade-queue-age-ms");
  options.step_ms = values.given("degrade-step-ms")
                        ? values.number("degrade-step-ms")
                        : kStepsOfAllowance * values.number("max-step-ms");
  options.deadline_misses = static_cast<int>(values.integer("degrade-deadline-misses"));
  options.message_severity = values.number("degrade-message-severity");
  options.refuse_severity = values.number("degrade-refuse-severity");
  options.raise_ms = values.number("degrade-raise-ms");
  options.lower_ms = values.number("degrade-lower-ms");
  options.thinking_budget = static_cast<int>(values.integer("degrade-thinking-budget"));
  options.max_tokens = static_cast<int>(values.integer("degrade-max-tokens"));
  options.answer_reserve = static_cast<int>(values.integer("degrade-answer-reserve"));
  if (values.given("degrade-temperature")) {
    options.temperature = values.number("degrade-temperature");
  }
  return options;
}

constexpr size_t kMaxMessageBytes = 4096;

}  // namespace

std::vector<OptionSpec> with_admission_options(std::vector<OptionSpec> own) {
  own.insert(own.end(), std::begin(kLimitOptions), std::end(kLimitOptions));
  own.insert(own.end(), std::begin(kLadderOptions), std::end(kLadderOptions));
  own.insert(own.end(), std::begin(kPaceOptions), std::end(kPaceOptions));
  own.insert(own.end(), std::begin(kActionOptions), std::end(kActionOptions));
  return own;
}

AdmissionOptions admission_options(const OptionValues& values) {
  AdmissionOptions options;
  options.max_queue_wait_ms = values.number("max-queue-wait-ms");
  options.max_num_queued_reqs = static_cast<int>(values.integer("max-num-queued-reqs"));
  options.key_limits.requests_per_minute =
      static_cast<int>(values.integer("limit-requests-per-minute"));
  options.key_limits.tokens_per_minute = values.integer("limit-tokens-per-minute");
  options.key_limits.max_concurrent = static_cast<int>(values.integer("limit-concurrent-per-key"));
  options.degradation = degradation_options(values);
  return options;
}

Status check_admission_options(const OptionValues& values) {
  const std::string& message = values.text("degrade-message");
  if (values.given("degrade-message") && message.empty()) {
    return invalid_argument("--degrade-message is empty: leave it out for the usual text");
  }
  if (message.size() > kMaxMessageBytes) {
    return invalid_argument(fmt::format("--degrade-message has {} bytes; at most {} will do",
                                        message.size(), kMaxMessageBytes));
  }
  if (!is_valid_utf8(message)) return invalid_argument("--degrade-message is not UTF-8");
  const double of_message = values.number("degrade-message-severity");
  const double of_refusal = values.number("degrade-refuse-severity");
  for (const auto& [name, severity] : {std::pair("degrade-message-severity", of_message),
                                       std::pair("degrade-refuse-severity", of_refusal)}) {
    if (severity <= 0 || severity >= 1) continue;
    return invalid_argument(fmt::format(
        "--{} {}: 1 is where the first step begins, so give 1 or more, or 0 to leave the step out",
        name, severity));
  }
  if (of_refusal > 0 && of_refusal < of_message) {
    return invalid_argument(
        fmt::format("--degrade-refuse-severity {} is below --degrade-message-severity {}: steps "
                    "come in order; 0 leaves one out",
                    of_refusal, of_message));
  }
  return ok_status();
}

}  // namespace sparrow
