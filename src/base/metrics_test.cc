#include "base/metrics.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(Metrics, Render_IsPrometheusText) {
  MetricsRegistry registry;
  registry.counter("requests_total", "Requests", {{"status", "200"}, {"method", "GET"}}).add(3);
  registry.gauge("usage", "Share").set(0.25);
  EXPECT_EQ(registry.render(),
            "# HELP requests_total Requests\n# TYPE requests_total counter\n"
            "requests_total{method=\"GET\",status=\"200\"} 3\n"
            "# HELP usage Share\n# TYPE usage gauge\nusage 0.25\n");
}

TEST(Metrics, Histogram_BucketsAreCumulativeAndBoundsInclusive) {
  MetricsRegistry registry;
  Histogram& histogram = registry.histogram("seconds", "Time", {0.5, 1});
  for (const double value : {0.25, 0.5, 0.75, 7.0}) histogram.observe(value);
  const std::string text = registry.render();
  EXPECT_NE(text.find("seconds_bucket{le=\"0.5\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("seconds_bucket{le=\"1\"} 3\n"), std::string::npos);
  EXPECT_NE(text.find("seconds_bucket{le=\"+Inf\"} 4\n"), std::string::npos);
  EXPECT_NE(text.find("seconds_sum 8.5\nseconds_count 4\n"), std::string::npos);
}

TEST(Metrics, SameNameAndLabels_IsTheSameObject) {
  MetricsRegistry registry;
  Counter& first = registry.counter("a", "A", {{"k", "v"}});
  EXPECT_EQ(&first, &registry.counter("a", "A", {{"k", "v"}}));
  EXPECT_NE(&first, &registry.counter("a", "A", {{"k", "w"}}));
}

TEST(Metrics, LabelValues_AreEscaped) {
  MetricsRegistry registry;
  registry.counter("a", "A", {{"k", "q\"b\\n\n"}}).add();
  EXPECT_NE(registry.render().find("a{k=\"q\\\"b\\\\n\\n\"} 1"), std::string::npos);
}

}  // namespace
}  // namespace sparrow
