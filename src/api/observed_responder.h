#pragma once
// ObservedResponder: a Responder that adds openai-processing-ms, and when the exchange ends counts
// it in the HTTP metrics and writes its one line to the log: never a prompt, an answer or a key.
// Same threads as the responder it wraps.

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "http/http_types.h"

namespace sparrow::api {

// The HTTP families, and article 3's names for the same. Thread-safe.
class HttpMetrics {
 public:
  explicit HttpMetrics(MetricsRegistry& registry);
  // `handler` is a route or "none", never a client's text: labels are bounded.
  void observe(const std::string& handler, const std::string& method, int status, double seconds);
  void observe_sizes(const std::string& handler, size_t request_bytes, size_t response_bytes);

 private:
  MetricsRegistry& registry_;
  Counter& article_requests_;
  Histogram& article_latency_;
};

// What is known of an exchange before it is handled.
struct Exchange {
  std::string handler;  // a route, "page" or "none"
  std::string method;
  std::string request_id;
  std::string tenant;  // empty: no key
  size_t request_bytes = 0;
};

std::shared_ptr<http::Responder> observe_responder(std::shared_ptr<http::Responder> responder,
                                                   HttpMetrics& metrics, const Clock& clock,
                                                   Exchange exchange);

}  // namespace sparrow::api
