#include "base/metrics.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/json.h"

namespace sparrow {
namespace {

std::string render_labels(MetricLabels labels) {
  if (labels.empty()) return "";
  std::sort(labels.begin(), labels.end());
  std::string out = "{";
  for (const auto& [name, value] : labels) {
    if (out.size() > 1) out += ',';
    out += name + "=\"";
    for (const char c : value) {
      if (c == '\\' || c == '"') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    out += '"';
  }
  return out + "}";
}

// Labels of one bucket line: those of the histogram and its upper bound.
std::string bucket_labels(MetricLabels labels, const std::string& bound) {
  labels.emplace_back("le", bound);
  return render_labels(std::move(labels));
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::string text;
  append_json_number(text, value);
  return text;
}

std::string escaped_help(const std::string& help) {
  std::string out;
  for (const char c : help) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\') out += c;
    out += c;
  }
  return out;
}

}  // namespace

Histogram::Histogram(std::vector<double> upper_bounds)
    : upper_bounds_(std::move(upper_bounds)),
      buckets_(std::make_unique<std::atomic<uint64_t>[]>(upper_bounds_.size() + 1)) {
  CHECK(std::is_sorted(upper_bounds_.begin(), upper_bounds_.end()));
}

void Histogram::observe(double value) {
  const auto bound = std::lower_bound(upper_bounds_.begin(), upper_bounds_.end(), value);
  buckets_[static_cast<size_t>(bound - upper_bounds_.begin())].fetch_add(1,
                                                                         std::memory_order_relaxed);
  double sum = sum_.load(std::memory_order_relaxed);
  while (!sum_.compare_exchange_weak(sum, sum + value, std::memory_order_relaxed)) {
  }
}

struct MetricsRegistry::Family {
  std::string name;
  std::string help;
  std::string kind;
  struct Series {
    MetricLabels labels;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
  };
  std::vector<Series> series;

  Series& find_or_add(MetricLabels labels) {
    for (Series& one : series) {
      if (one.labels == labels) return one;
    }
    series.push_back({std::move(labels), nullptr, nullptr, nullptr});
    return series.back();
  }

  void render(std::string& out) const {
    out += "# HELP " + name + " " + escaped_help(help) + "\n# TYPE " + name + " " + kind + "\n";
    for (const Series& one : series) {
      if (one.counter) {
        out += name + render_labels(one.labels) + " " + std::to_string(one.counter->value()) + "\n";
      } else if (one.gauge) {
        out += name + render_labels(one.labels) + " " + number(one.gauge->value()) + "\n";
      } else if (one.histogram) {
        render_histogram(out, one);
      }
    }
  }

  void render_histogram(std::string& out, const Series& one) const {
    const Histogram& histogram = *one.histogram;
    uint64_t total = 0;
    for (size_t i = 0; i <= histogram.upper_bounds().size(); ++i) {
      total += histogram.bucket(i);
      const bool last = i == histogram.upper_bounds().size();
      const std::string bound = last ? "+Inf" : number(histogram.upper_bounds()[i]);
      out +=
          name + "_bucket" + bucket_labels(one.labels, bound) + " " + std::to_string(total) + "\n";
    }
    out += name + "_sum" + render_labels(one.labels) + " " + number(histogram.sum()) + "\n";
    out += name + "_count" + render_labels(one.labels) + " " + std::to_string(total) + "\n";
  }
};

MetricsRegistry::MetricsRegistry() = default;
MetricsRegistry::~MetricsRegistry() = default;

MetricsRegistry::Family& MetricsRegistry::family(const std::string& name, const std::string& help,
                                                 const char* kind) {
  for (auto& one : families_) {
    if (one->name == name) {
      CHECK(one->kind == kind);
      return *one;
    }
  }
  families_.push_back(std::make_unique<Family>(Family{name, help, kind, {}}));
  return *families_.back();
}

Counter& MetricsRegistry::counter(const std::string& name, const std::string& help,
                                  MetricLabels labels) {
  std::lock_guard lock(mutex_);
  auto& series = family(name, help, "counter").find_or_add(std::move(labels));
  if (!series.counter) series.counter = std::make_unique<Counter>();
  return *series.counter;
}

Gauge& MetricsRegistry::gauge(const std::string& name, const std::string& help,
                              MetricLabels labels) {
  std::lock_guard lock(mutex_);
  auto& series = family(name, help, "gauge").find_or_add(std::move(labels));
  if (!series.gauge) series.gauge = std::make_unique<Gauge>();
  return *series.gauge;
}

Gauge& MetricsRegistry::settable_counter(const std::string& name, const std::string& help,
                                         MetricLabels labels) {
  std::lock_guard lock(mutex_);
  auto& series = family(name, help, "counter").find_or_add(std::move(labels));
  CHECK(!series.counter);
  if (!series.gauge) series.gauge = std::make_unique<Gauge>();
  return *series.gauge;
}

Histogram& MetricsRegistry::histogram(const std::string& name, const std::string& help,
                                      std::vector<double> upper_bounds, MetricLabels labels) {
  std::lock_guard lock(mutex_);
  auto& series = family(name, help, "histogram").find_or_add(std::move(labels));
  if (!series.histogram) series.histogram = std::make_unique<Histogram>(std::move(upper_bounds));
  return *series.histogram;
}

std::string MetricsRegistry::render() const {
  std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& one : families_) one->render(out);
  return out;
}

}  // namespace sparrow
