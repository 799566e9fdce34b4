#pragma once
// Metrics: counters, gauges and histograms with fixed buckets, rendered as Prometheus text
// (version 0.0.4). Registering allocates and locks; updating is one or two atomic operations and
// safe from any thread, including the engine's step loop. Handles live as long as the registry.
//
//   Counter& tokens = registry.counter("vllm:generation_tokens_total", "Tokens generated",
//                                      {{"model_name", name}});
//   tokens.add(3);

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace sparrow {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  void add(uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> upper_bounds);
  void observe(double value);

  const std::vector<double>& upper_bounds() const { return upper_bounds_; }
  // Not cumulative; the last entry counts what lies above every bound.
  uint64_t bucket(size_t index) const { return buckets_[index].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::vector<double> upper_bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> buckets_;
  std::atomic<double> sum_{0};
};

class MetricsRegistry {
 public:
  MetricsRegistry();
  ~MetricsRegistry();

  // The same name and labels give the same object; a name has one kind and one help text.
  Counter& counter(const std::string& name, const std::string& help, MetricLabels labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, MetricLabels labels = {});
  // A counter of fractions whose sum somebody else keeps: set() never goes down.
  Gauge& settable_counter(const std::string& name, const std::string& help,
                          MetricLabels labels = {});
  Histogram& histogram(const std::string& name, const std::string& help,
                       std::vector<double> upper_bounds, MetricLabels labels = {});

  std::string render() const;

 private:
  struct Family;
  Family& family(const std::string& name, const std::string& help, const char* kind);

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Family>> families_;  // guarded by mutex_, in order of registration
};

}  // namespace sparrow
