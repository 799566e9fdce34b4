#include "base/process_metrics.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>

#include "base/prometheus_test_support.h"

namespace sparrow {
namespace {

PrometheusText scrape(MetricsRegistry& registry, ProcessMetrics& process) {
  process.refresh();
  return PrometheusReader::read(registry.render());
}

TEST(ProcessMetrics, Values_AreThoseOfThisProcess) {
  MetricsRegistry registry;
  ProcessMetrics process(registry);
  const PrometheusText text = scrape(registry, process);
  EXPECT_TRUE(text.errors.empty()) << text.errors.front();
  EXPECT_GT(text.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GE(text.at("process_virtual_memory_bytes"), text.at("process_resident_memory_bytes"));
  EXPECT_GE(text.at("process_threads"), 1);
  EXPECT_GE(text.at("process_max_fds"), text.at("process_open_fds"));
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_LE(text.at("process_start_time_seconds"), now + 2);
  EXPECT_GT(text.at("process_start_time_seconds"), now - 3600);
  EXPECT_EQ(text.types.at("process_cpu_seconds_total"), "counter");
}

TEST(ProcessMetrics, OpenFile_IsCounted) {
  MetricsRegistry registry;
  ProcessMetrics process(registry);
  const double before = scrape(registry, process).at("process_open_fds");
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(scrape(registry, process).at("process_open_fds"), before + 1);
  ::close(fd);
  EXPECT_EQ(scrape(registry, process).at("process_open_fds"), before);
}

TEST(ProcessMetrics, WorkDone_RaisesTheCpuTime) {
  MetricsRegistry registry;
  ProcessMetrics process(registry);
  const double before = scrape(registry, process).at("process_cpu_seconds_total");
  const std::clock_t begin = std::clock();
  while (std::clock() - begin < CLOCKS_PER_SEC / 20) {
  }
  EXPECT_GT(scrape(registry, process).at("process_cpu_seconds_total"), before);
}

}  // namespace
}  // namespace sparrow
