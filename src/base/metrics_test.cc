#include "base/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/prometheus_test_support.h"

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

TEST(Metrics, HostileTexts_StayWellFormed) {
  MetricsRegistry registry;
  registry.counter("a_total", "two\nlines and a \\", {{"b", "}\"\n\\,a=\"1\""}, {"a", ""}}).add(2);
  registry.gauge("b", "B").set(HUGE_VAL);
  registry.gauge("c", "C").set(-HUGE_VAL);
  registry.gauge("d", "D").set(std::nan(""));
  registry.settable_counter("e_total", "E").set(1.5);
  registry.histogram("f", "F", {1e-7, 0.1, 1e9}, {{"le2", "x"}}).observe(0.1);
  const std::string text = registry.render();
  const PrometheusText read = PrometheusReader::read(text);
  EXPECT_TRUE(read.errors.empty()) << read.errors.front() << "\n" << text;
  EXPECT_EQ(read.at("a_total{a=\"\",b=\"}\\\"\\n\\\\,a=\\\"1\\\"\"}"), 2);
  EXPECT_EQ(read.at("b"), HUGE_VAL);
  EXPECT_EQ(read.types.at("e_total"), "counter");
  EXPECT_EQ(read.at("e_total"), 1.5);
}

// The reader itself: each of these must be found.
TEST(Metrics, StrictReader_FindsWhatAScraperWouldStumbleOver) {
  const std::string head = "# HELP a A\n# TYPE a gauge\n";
  for (const std::string& text : {
           std::string("a 1\n"),
           head + "a 1",
           head + "a\n",
           head + "a x\n",
           head + "b 1\n",
           head + "a 1\na 2\n",
           head + "a 1\n" + head,
           head + "a{x=\"1\\x\"} 1\n",
           head + "a{x=\"1} 1\n",
           head + "a{b=\"1\",a=\"1\"} 1\n",
           head + "1a 1\n",
           head + "a 0x10\n",
           head + "\na 1\n",
           std::string("# HELP a A\n# TYPE a thing\na 1\n"),
           std::string("# HELP a A\n# TYPE a counter\na -1\n"),
           std::string("# HELP a A\n# TYPE a histogram\na_bucket{le=\"1\"} 2\n"
                       "a_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n"),
           std::string("# HELP a A\n# TYPE a histogram\na_bucket{le=\"1\"} 2\n"
                       "a_sum 1\na_count 2\n"),
       }) {
    EXPECT_FALSE(PrometheusReader::read(text).errors.empty()) << text;
  }
}

}  // namespace
}  // namespace sparrow
