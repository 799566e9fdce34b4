#pragma once
// ObservedResponder: a Responder that adds openai-processing-ms and counts the exchange in the HTTP
// metrics when it ends. Same threads as the responder it wraps.

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

std::shared_ptr<http::Responder> observe_responder(std::shared_ptr<http::Responder> responder,
                                                   HttpMetrics& metrics, const Clock& clock,
                                                   std::string handler,
                                                   const http::Request& request);

}  // namespace sparrow::api
