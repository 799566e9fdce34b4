#include "cmd/options/answer_cache_options.h"

namespace sparrow {
namespace {

constexpr const char* kCache = "Answer cache";

constexpr OptionSpec kOptions[] = {
    {.name = "answer-cache",
     .type = OptionType::kString,
     .default_text = "off",
     .help = "File (SQLite) that keeps finished answers: of greedy and seeded requests, and of the "
             "questions of sparrow cache warm; off keeps none",
     .group = kCache},
    {.name = "answer-cache-size",
     .type = OptionType::kSize,
     .default_text = "256M",
     .help = "Room for answers on disk; the least recently used of whoever holds most go first",
     .unit = "bytes",
     .min = 65536,
     .max = 1099511627776,
     .group = kCache},
    {.name = "answer-cache-ttl",
     .type = OptionType::kSize,
     .default_text = "604800",
     .help = "How long an answer is used after it was made; 0 is for ever",
     .unit = "seconds",
     .min = 0,
     .max = 3155760000,
     .group = kCache},
};

}  // namespace

std::vector<OptionSpec> with_answer_cache_options(std::vector<OptionSpec> own) {
  own.insert(own.end(), std::begin(kOptions), std::end(kOptions));
  return own;
}

AnswerStoreOptions answer_store_options(const OptionValues& values) {
  AnswerStoreOptions options;
  const std::string& path = values.text("answer-cache");
  if (path != "off") options.path = path;
  options.max_bytes = values.integer("answer-cache-size");
  options.ttl_s = values.integer("answer-cache-ttl");
  return options;
}

}  // namespace sparrow
