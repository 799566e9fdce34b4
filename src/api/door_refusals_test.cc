// What is refused before any handler leaves a trace in the metrics, and in the log at a pace.

#include "api/door_refusals.h"

#include <gtest/gtest.h>

#include "api/engine_test_support.h"
#include "base/prometheus_test_support.h"

namespace sparrow::api {
namespace {

TimePoint at(double seconds) { return TimePoint{} + from_ms(seconds * 1000); }

PrometheusText scraped(MetricsRegistry& metrics) {
  return PrometheusReader::read(metrics.render());
}

std::string requests(int status) {
  return R"(http_requests_total{handler="none",method="other",status=")" + std::to_string(status) +
         "\"}";
}

std::string rejected(const std::string& reason) {
  return "sparrow_rejected_total{reason=\"" + reason + "\"}";
}

TEST(WarningPace, OneWarningInTenSeconds_TellsOfTheRest) {
  WarningPace pace;
  EXPECT_EQ(pace.on_event(at(0)), 1u);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(pace.on_event(at(9.9)), std::nullopt);
  EXPECT_EQ(pace.on_event(at(10)), 501u);
  EXPECT_EQ(pace.on_event(at(11)), std::nullopt);
  EXPECT_EQ(pace.on_event(at(3600)), 2u);
}

TEST(DoorRefusals, EveryStatusIsCounted_FiveHundredIsTheHandlers) {
  ApiFixture fixture;
  const auto answer = fixture.server->protocol_errors();
  for (const int status : {400, 408, 413, 414, 431, 503}) {
    EXPECT_EQ(answer(status, "because").status, status);
    EXPECT_EQ(scraped(fixture.metrics).at(requests(status)), 1) << status;
  }
  EXPECT_EQ(scraped(fixture.metrics).at(rejected("body_memory")), 1);
  answer(500, "the request was dropped unanswered");
  EXPECT_FALSE(scraped(fixture.metrics).has(requests(500)));
}

TEST(DoorRefusals, BrokenRequestsAndConnectionsTooMany_AreCounted) {
  FakeServerOptions options;
  options.http.max_connections = 1;
  FakeServer server(options);
  http::TestClient one(server.port());
  ASSERT_TRUE(one.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  EXPECT_EQ(one.read_reply().status, 200);
  http::TestClient two(server.port());
  EXPECT_EQ(two.read_reply().status, 503);
  const PrometheusText full = scraped(server.metrics());
  EXPECT_EQ(full.at(rejected("connections")), 1);
  EXPECT_EQ(full.at(requests(503)), 1);
  ASSERT_TRUE(one.send("nonsense\r\n\r\n"));
  EXPECT_EQ(one.read_reply().status, 400);
  EXPECT_EQ(scraped(server.metrics()).at(requests(400)), 1);
}

TEST(DoorRefusals, FullPrepQueue_IsCounted) {
  ApiOptions options;
  options.prep_queue_capacity = 0;
  ApiFixture fixture(options);
  EXPECT_EQ(fixture.post("/tokenize", R"({"prompt":"hi"})")->status, 503);
  EXPECT_EQ(scraped(fixture.metrics).at(rejected("prep_queue")), 1);
  EXPECT_EQ(fixture.post("/v1/completions", R"({"prompt":"hi"})")->status, 503);
  EXPECT_EQ(scraped(fixture.metrics).at(rejected("prep_queue")), 2);
}

}  // namespace
}  // namespace sparrow::api
