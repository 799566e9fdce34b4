// sparrow key: makes an API key, shows it once, and the line that lets it in.

#include <fmt/format.h>

#include <cstdio>

#include "api/auth_digest.h"
#include "api/auth_key_file.h"
#include "base/random.h"
#include "cmd/command.h"

namespace sparrow {
namespace {

constexpr const char* kLimits = "Limits";

std::vector<OptionSpec> key_options() {
  return {
      {.name = "name",
       .type = OptionType::kString,
       .default_text = "user",
       .help = "Whom the key is for: logs and limits go by this name"},
      {.name = "admin",
       .type = OptionType::kFlag,
       .default_text = "false",
       .help = "The key may use the /admin endpoints too"},
      {.name = "rpm",
       .type = OptionType::kSize,
       .default_text = "0",
       .help = "Requests per minute; 0 is no limit",
       .min = 0,
       .max = 1e6,
       .group = kLimits},
      {.name = "tpm",
       .type = OptionType::kSize,
       .default_text = "0",
       .help = "Tokens per minute, prompts and answers together; 0 is no limit",
       .min = 0,
       .max = 1e12,
       .group = kLimits},
      {.name = "concurrent",
       .type = OptionType::kSize,
       .default_text = "0",
       .help = "Requests at once; 0 is no limit",
       .min = 0,
       .max = 1e6,
       .group = kLimits},
  };
}

constexpr const char* kExamples =
    "  sparrow key --name alice                       the key, then its line for the file\n"
    "  sparrow key --name bob --rpm 60 --tpm 100K\n"
    "  sparrow key --name ops --admin | tee /dev/tty | tail -1 >> keys.txt\n"
    "  sparrow serve --api-key-file keys.txt\n";

// 192 bits.
std::string new_key() {
  std::string key = "sk-";
  for (int i = 0; i < 3; ++i) key += fmt::format("{:016x}", entropy64());
  return key;
}

}  // namespace

const CommandSpec& key_spec() {
  static const std::vector<OptionSpec> kOptions = key_options();
  static const CommandSpec kSpec{.name = "key",
                                 .summary = "Make an API key and its line for --api-key-file",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

int run_key(const OptionValues& values) {
  if (!api::keys_are_hashed()) {
    return fail(unimplemented(
        "this build cannot hash keys: it was configured without OpenSSL (package libssl-dev)"));
  }
  KeyLimits limits;
  limits.requests_per_minute = static_cast<int>(values.integer("rpm"));
  limits.tokens_per_minute = values.integer("tpm");
  limits.max_concurrent = static_cast<int>(values.integer("concurrent"));
  const std::string key = new_key();
  const std::string line =
      api::key_file_line(values.text("name"), api::key_digest(key), limits, values.flag("admin"));
  const auto read_back = api::parse_key_file(line);
  if (!read_back.ok()) {
    return fail(invalid_argument(fmt::format("--name {}: a name is 1 to {} of A-Z a-z 0-9 . _ -",
                                             values.text("name"), api::kMaxKeyNameBytes)));
  }
  std::printf("%s\n%s\n", key.c_str(), line.c_str());
  std::fputs(
      "The first line is the key: it is shown only now. The second belongs in the file of "
      "--api-key-file.\n",
      stderr);
  return 0;
}

}  // namespace sparrow
