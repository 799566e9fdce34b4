// Fuzz entry of the file of `sparrow bench --workload`: what is accepted keeps the limits, a
// refusal is one line that names the file.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "tools/bench/workload_file.h"

namespace sparrow {
namespace {

void check_workload(const std::string& path) {
  const auto workload = read_workload_file(path);
  if (!workload.ok()) {
    CHECK(workload.message().starts_with(path));
    CHECK(workload.message().find('\n') == std::string::npos);
    return;
  }
  CHECK(!workload->items.empty() && workload->items.size() <= size_t{kMaxWorkloadItems});
  CHECK(workload->num_in_full == static_cast<int>(workload->items.size()));
  for (const WorkloadItem& item : workload->items) {
    CHECK(item.prompt_tokens >= 1 && item.prompt_tokens <= kMaxWorkloadTokens);
    CHECK(item.output_tokens >= 1 && item.output_tokens <= kMaxWorkloadTokens);
  }
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  CHECK(file >= 0 && ::write(file, data, size) == static_cast<ssize_t>(size));
  sparrow::check_workload("/proc/self/fd/" + std::to_string(file));
  ::close(file);
  return 0;
}
