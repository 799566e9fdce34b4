#include "base/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/file.h"

namespace sparrow {
namespace {

constexpr size_t kMaxProcBytes = 1u << 20;

// Fields of /proc/self/stat behind the command's name, which may hold spaces (man 5 proc): the
// first here is field 3, the state.
constexpr size_t kFirstField = 3;
constexpr size_t kUserTicks = 14;
constexpr size_t kSystemTicks = 15;
constexpr size_t kNumThreads = 20;
constexpr size_t kStartTicks = 22;
constexpr size_t kVirtualBytes = 23;
constexpr size_t kResidentPages = 24;

std::vector<double> stat_fields() {
  std::vector<double> fields(kFirstField + 1, 0);  // by number of the field, from 1
  const Result<std::string> text = read_file("/proc/self/stat", kMaxProcBytes);
  if (!text.ok()) return {};
  const size_t name_end = text->rfind(')');
  if (name_end == std::string::npos || name_end + 4 > text->size()) return {};
  const char* at = text->c_str() + name_end + 4;  // behind ") S"
  while (true) {
    char* end = nullptr;
    const double value = std::strtod(at, &end);
    if (end == at) return fields;
    fields.push_back(value);
    at = end;
  }
}

// "btime 1700000000": when the machine was started, in unix seconds.
double boot_time_seconds() {
  const Result<std::string> text = read_file("/proc/stat", kMaxProcBytes);
  if (!text.ok()) return 0;
  const size_t at = text->find("\nbtime ");
  return at == std::string::npos ? 0 : std::strtod(text->c_str() + at + 7, nullptr);
}

double count_open_fds() {
  std::error_code error;
  std::filesystem::directory_iterator entries("/proc/self/fd", error);
  double count = 0;
  while (!error && entries != std::filesystem::directory_iterator()) {
    ++count;
    entries.increment(error);
  }
  return count > 0 ? count - 1 : 0;  // the listing itself holds one
}

}  // namespace

ProcessMetrics::ProcessMetrics(MetricsRegistry& registry)
    : resident_bytes_(registry.gauge("process_resident_memory_bytes", "Resident memory")),
      virtual_bytes_(registry.gauge("process_virtual_memory_bytes", "Virtual memory")),
      cpu_seconds_(
          registry.settable_counter("process_cpu_seconds_total", "User and system CPU time spent")),
      threads_(registry.gauge("process_threads", "Threads of this process")),
      open_fds_(registry.gauge("process_open_fds", "Open file descriptors")),
      max_fds_(registry.gauge("process_max_fds", "Most file descriptors the process may open")),
      start_time_seconds_(registry.gauge("process_start_time_seconds",
                                         "Start of the process, seconds since 1970 (UTC)")) {
  refresh();
}

void ProcessMetrics::read_stat() {
  const std::vector<double> fields = stat_fields();
  if (fields.size() <= kResidentPages) return;
  const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  if (ticks_per_second <= 0) return;
  cpu_seconds_.set((fields[kUserTicks] + fields[kSystemTicks]) / ticks_per_second);
  threads_.set(fields[kNumThreads]);
  virtual_bytes_.set(fields[kVirtualBytes]);
  resident_bytes_.set(fields[kResidentPages] * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  if (start_time_seconds_.value() == 0) {
    start_time_seconds_.set(boot_time_seconds() + fields[kStartTicks] / ticks_per_second);
  }
}

void ProcessMetrics::refresh() {
  read_stat();
  open_fds_.set(count_open_fds());
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) max_fds_.set(static_cast<double>(limit.rlim_cur));
}

}  // namespace sparrow
