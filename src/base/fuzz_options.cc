// Fuzz entry of the command line: arguments separated by zero bytes, or a list of processors. What
// is accepted is what the table allows; what is refused is named.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/cpu_topology.h"
#include "base/options.h"

namespace sparrow {
namespace {

constexpr size_t kMaxInputBytes = 1u << 12;

constexpr OptionSpec kOptions[] = {
    {.name = "verbose", .type = OptionType::kFlag, .default_text = "false", .help = "Say more"},
    {.name = "max-model-len",
     .type = OptionType::kSize,
     .default_text = "8K",
     .help = "Context",
     .min = 1,
     .max = 1048576,
     .aliases = "-c|--ctx-size"},
    {.name = "threads", .type = OptionType::kInt, .default_text = "", .help = "Threads", .min = 0},
    {.name = "share",
     .type = OptionType::kNumber,
     .default_text = "0.9",
     .help = "Share",
     .min = 0,
     .max = 1},
    {.name = "role",
     .type = OptionType::kString,
     .default_text = "auto",
     .help = "Role",
     .choices = "auto|fold|keep"},
    {.name = "model",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Model",
     .aliases = "-m"},
    {.name = "api-key", .type = OptionType::kList, .default_text = "", .help = "Keys"},
};
constexpr CommandSpec kCommand{
    .name = "serve", .summary = "Serve", .positional = "[MODEL]", .options = kOptions};

void fuzz_arguments(std::string_view bytes) {
  std::vector<std::string> arguments;
  while (!bytes.empty()) {
    const size_t end = std::min(bytes.find('\0'), bytes.size());
    arguments.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
  const Result<OptionValues> values = parse_options(kCommand, arguments);
  if (!values.ok()) {
    CHECK(values.message().find("sparrow serve --help") != std::string::npos);
    return;
  }
  if (values->help_asked()) return;
  const int64_t context = values->integer("max-model-len");
  CHECK(context >= 1 && context <= 1048576);
  CHECK(values->integer("threads") >= 0);
  const double share = values->number("share");
  CHECK(std::isfinite(share) && share >= 0 && share <= 1);
  const std::string& role = values->text("role");
  CHECK(role == "auto" || role == "fold" || role == "keep");
  for (const std::string& key : values->list("api-key")) {
    CHECK(!key.empty() && key.find(',') == std::string::npos);
  }
  (void)values->flag("verbose");
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > sparrow::kMaxInputBytes) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 4 != 0) {
    sparrow::fuzz_arguments(bytes);
    return 0;
  }
  const auto cpus = sparrow::parse_cpu_list(std::string(bytes));
  CHECK(cpus.ok() || !cpus.message().empty());
  if (!cpus.ok()) return 0;
  for (const int cpu : *cpus) CHECK(cpu >= 0);
  return 0;
}
