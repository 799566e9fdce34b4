// Fuzz entry of the file of `sparrow bench --replay`: what is accepted keeps the limits, a refusal
// is one line that names the file.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "tools/bench/replay_file.h"
#include "tools/synth/byte_tokenizer.h"

namespace sparrow {
namespace {

constexpr ReplayLimits kLimits = {.max_texts = 4, .max_prompt = 64, .max_output = 16};

void check_texts(const std::string& path) {
  static const auto tokenizer = Tokenizer::create(byte_tokenizer_spec()).value();
  const auto texts = read_replay_file(path, *tokenizer, kLimits);
  if (!texts.ok()) {
    CHECK(texts.message().starts_with(path));
    CHECK(texts.message().find('\n') == std::string::npos);
    return;
  }
  CHECK(!texts->empty() && texts->size() <= static_cast<size_t>(kLimits.max_texts));
  for (const ReplayText& text : *texts) {
    CHECK(!text.prompt.empty() && text.prompt.size() <= static_cast<size_t>(kLimits.max_prompt));
    CHECK(text.output.size() >= 2 && text.output.size() <= static_cast<size_t>(kLimits.max_output));
    for (const TokenId id : text.prompt) CHECK(id >= 0);
    for (const TokenId id : text.output) CHECK(id >= 0);
  }
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  CHECK(file >= 0 && ::write(file, data, size) == static_cast<ssize_t>(size));
  sparrow::check_texts("/proc/self/fd/" + std::to_string(file));
  ::close(file);
  return 0;
}
