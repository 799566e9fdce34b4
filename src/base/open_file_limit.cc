#include "base/open_file_limit.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace sparrow {
namespace {

int64_t as_count(rlim_t limit) {
  constexpr auto kMost = static_cast<rlim_t>(std::numeric_limits<int64_t>::max());
  return static_cast<int64_t>(std::min(limit, kMost));  // RLIM_INFINITY is the largest of all
}

}  // namespace

int64_t raise_open_file_limit(int64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const int64_t before = as_count(limit.rlim_cur);
  const int64_t raised = std::min(wanted, as_count(limit.rlim_max));
  if (raised <= before) return before;
  limit.rlim_cur = static_cast<rlim_t>(raised);
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? raised : before;
}

}  // namespace sparrow
