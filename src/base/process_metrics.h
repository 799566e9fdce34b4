#pragma once
// ProcessMetrics: what this process takes from the machine, under the names every Prometheus client
// library gives it (process_resident_memory_bytes, process_cpu_seconds_total, process_open_fds …).
// Read from /proc when refresh() is called, that is once per scrape. A value that cannot be read
// keeps what it had. Any thread, one at a time.

#include "base/metrics.h"

namespace sparrow {

class ProcessMetrics {
 public:
  explicit ProcessMetrics(MetricsRegistry& registry);
  void refresh();
  double resident_bytes() const { return resident_bytes_.value(); }

 private:
  void read_stat();

  Gauge& resident_bytes_;
  Gauge& virtual_bytes_;
  Gauge& cpu_seconds_;
  Gauge& threads_;
  Gauge& open_fds_;
  Gauge& max_fds_;
  Gauge& start_time_seconds_;
};

}  // namespace sparrow
