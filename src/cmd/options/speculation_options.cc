#include "cmd/options/speculation_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sparrow {
namespace {

namespace json = boost::json;

constexpr const char* kSpeculation = "Speculation";
constexpr const char* kConfigOption = "--speculative-config";

constexpr OptionSpec kSpeculationOptions[] = {
    {.name = "speculative-tokens",
     .type = OptionType::kInt,
     .default_text = "8",
     .help =
         "Next tokens guessed from repeating text and checked in one step; 0 is off; the answer "
         "is the same either way",
     .unit = "tokens",
     .min = 0,
     .max = kMaxDraftTokens,
     .group = kSpeculation},
    {.name = "speculative-max-rows",
     .type = OptionType::kInt,
     .default_text = "16",
     .help = "Guess only in steps of at most this many tokens, those of other requests included",
     .unit = "tokens",
     .min = 2,
     .max = 4096,
     .group = kSpeculation},
    {.name = "speculative-config",
     .type = OptionType::kString,
     .default_text = "",
     .help = "vLLM's JSON instead: method (ngram only), num_speculative_tokens, prompt_lookup_min, "
             "prompt_lookup_max",
     .group = kSpeculation},
};

std::string shown(const json::value& value) {
  const std::string text = json::serialize(value);
  return text.size() <= 40 ? text : text.substr(0, 40) + "...";
}

Status read_number(std::string_view key, const json::value& value, int low, int high, int& number) {
  if (value.is_int64() && value.get_int64() >= low && value.get_int64() <= high) {
    number = static_cast<int>(value.get_int64());
    return ok_status();
  }
  return invalid_argument(fmt::format("{}: {} must be a whole number from {} to {}, got {}",
                                      kConfigOption, key, low, high, shown(value)));
}

Status check_method(const json::value& value) {
  if (value.is_string() && value.get_string() == "ngram") return ok_status();
  return invalid_argument(
      fmt::format("{}: method {} is not available; \"ngram\" (guesses from the text itself) is the "
                  "only one",
                  kConfigOption, shown(value)));
}

Status read_config(const std::string& text, SpeculationOptions& options) {
  ASSIGN_OR_RETURN(const json::value root, parse_json(text, kConfigOption));
  if (!root.is_object()) {
    return invalid_argument(fmt::format(
        "{} must be a JSON object like {{\"method\":\"ngram\",\"num_speculative_tokens\":5}}",
        kConfigOption));
  }
  // The method first: a model draft's own keys are no news to whoever asked for one.
  const json::value* method = root.get_object().if_contains("method");
  if (method == nullptr) {
    return invalid_argument(
        fmt::format("{}: method is missing; \"ngram\" is the only one", kConfigOption));
  }
  RETURN_IF_ERROR(check_method(*method));
  std::optional<int> min_ngram;
  for (const auto& [name, value] : root.get_object()) {
    const std::string_view key(name.data(), name.size());
    if (key == "method") continue;
    if (key == "num_speculative_tokens") {
      RETURN_IF_ERROR(read_number(key, value, 0, kMaxDraftTokens, options.max_tokens));
    } else if (key == "prompt_lookup_max") {
      RETURN_IF_ERROR(read_number(key, value, 1, PromptLookup::kMaxNgram, options.max_ngram));
    } else if (key == "prompt_lookup_min") {
      RETURN_IF_ERROR(read_number(key, value, 1, PromptLookup::kMaxNgram, min_ngram.emplace(0)));
    } else {
      return invalid_argument(fmt::format(
          "{}: the key '{}' is not known; method, num_speculative_tokens, prompt_lookup_min and "
          "prompt_lookup_max are",
          kConfigOption, key.substr(0, 40)));
    }
  }
  options.min_ngram = min_ngram.value_or(std::min(options.min_ngram, options.max_ngram));
  if (options.min_ngram > options.max_ngram) {
    return invalid_argument(fmt::format("{}: prompt_lookup_min {} is above prompt_lookup_max {}",
                                        kConfigOption, options.min_ngram, options.max_ngram));
  }
  return ok_status();
}

}  // namespace

std::vector<OptionSpec> with_speculation_options(std::vector<OptionSpec> own) {
  own.insert(own.end(), std::begin(kSpeculationOptions), std::end(kSpeculationOptions));
  return own;
}

Result<SpeculationOptions> speculation_options(const OptionValues& values) {
  SpeculationOptions options;
  options.max_tokens = static_cast<int>(values.integer("speculative-tokens"));
  options.max_rows = static_cast<int>(values.integer("speculative-max-rows"));
  const std::string& config = values.text("speculative-config");
  if (config.empty()) return options;
  if (values.given("speculative-tokens")) {
    return invalid_argument(fmt::format(
        "--speculative-tokens and {} say the same thing twice: leave one out", kConfigOption));
  }
  RETURN_IF_ERROR(read_config(config, options));
  return options;
}

}  // namespace sparrow
