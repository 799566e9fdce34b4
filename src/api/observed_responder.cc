#include "api/observed_responder.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

namespace sparrow::api {
namespace {

constexpr int kClientLeft = 499;  // the customary status of an exchange its client ended

const std::vector<double> kArticleBounds = {.005, .01, .025, .05, .075, .1, .25, .5, .75,
                                            1,    2.5, 5,    7.5, 10,   20, 40,  80};
const std::vector<double> kHttpBounds = {.001, .005, .01, .025, .05, .1, .25, .5,  1,
                                         2.5,  5,    10,  20,   40,  80, 160, 320, 640};

const std::vector<double> kSizeBounds = {100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};

bool is_scrape_or_health(const std::string& handler) {
  for (const char* path : {"/health", "/ping", "/livez", "/readyz", "/metrics"}) {
    if (handler == path) return true;
  }
  return false;
}

class ObservedResponder final : public http::Responder {
 public:
  ObservedResponder(std::shared_ptr<http::Responder> responder, HttpMetrics& metrics,
                    const Clock& clock, std::string handler, const http::Request& request)
      : responder_(std::move(responder)),
        metrics_(metrics),
        clock_(clock),
        handler_(std::move(handler)),
        method_(request.method),
        request_bytes_(request.body.size()),
        begin_(clock.now()) {}

  ~ObservedResponder() override { observe(kClientLeft); }

  void send(http::Response response) override {
    status_ = response.status;
    response_bytes_ = response.body.size();
    response.headers.emplace_back("openai-processing-ms", elapsed_ms());
    responder_->send(std::move(response));
    observe(status_);
  }
  void start_stream(int status, std::string content_type, http::Headers headers) override {
    status_ = status;
    headers.emplace_back("openai-processing-ms", elapsed_ms());
    responder_->start_stream(status, std::move(content_type), std::move(headers));
  }
  bool write(std::string bytes) override {
    response_bytes_ += bytes.size();
    return responder_->write(std::move(bytes));
  }
  void finish() override {
    responder_->finish();
    observe(status_);
  }
  void on_close(std::function<void()> callback) override {
    responder_->on_close(std::move(callback));
  }
  bool closed() const override { return responder_->closed(); }
  http::IoLoop& loop() override { return responder_->loop(); }

 private:
  std::string elapsed_ms() const { return fmt::format("{:.0f}", to_ms(clock_.now() - begin_)); }
  // Also from the destructor: where memory runs out, a number is less bad than an exception.
  void observe(int status) noexcept {
    if (std::exchange(observed_, true)) return;
    try {
      metrics_.observe(handler_, method_, status, to_seconds(clock_.now() - begin_));
      metrics_.observe_sizes(handler_, request_bytes_, response_bytes_);
    } catch (const std::bad_alloc&) {  // not counted
    }
  }

  const std::shared_ptr<http::Responder> responder_;
  HttpMetrics& metrics_;
  const Clock& clock_;
  const std::string handler_;
  const std::string method_;
  const size_t request_bytes_;
  size_t response_bytes_ = 0;
  const TimePoint begin_;
  int status_ = 200;
  bool observed_ = false;
};

std::string known_method(const std::string& method) {
  for (const char* known : {"GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"}) {
    if (method == known) return method;
  }
  return "other";
}

}  // namespace

HttpMetrics::HttpMetrics(MetricsRegistry& registry)
    : registry_(registry),
      article_requests_(registry.counter(
          "deepseek_requests_total", "HTTP requests but health checks and scrapes of the metrics")),
      article_latency_(registry.histogram(
          "deepseek_request_latency_seconds",
          "Seconds from a complete request to the end of its answer, without health and scrapes",
          kArticleBounds)) {}

void HttpMetrics::observe(const std::string& handler, const std::string& method, int status,
                          double seconds) {
  const std::string known = known_method(method);
  registry_
      .counter("http_requests_total", "HTTP requests answered",
               {{"handler", handler}, {"method", known}, {"status", fmt::format("{}", status)}})
      .add();
  registry_
      .histogram("http_request_duration_seconds",
                 "Seconds from a complete request to the end of its answer", kHttpBounds,
                 {{"handler", handler}, {"method", known}})
      .observe(seconds);
  if (is_scrape_or_health(handler)) return;
  article_requests_.add();
  article_latency_.observe(seconds);
}

void HttpMetrics::observe_sizes(const std::string& handler, size_t request_bytes,
                                size_t response_bytes) {
  registry_
      .histogram("http_request_size_bytes", "Bytes of request bodies", kSizeBounds,
                 {{"handler", handler}})
      .observe(static_cast<double>(request_bytes));
  registry_
      .histogram("http_response_size_bytes", "Bytes of response bodies", kSizeBounds,
                 {{"handler", handler}})
      .observe(static_cast<double>(response_bytes));
}

std::shared_ptr<http::Responder> observe_responder(std::shared_ptr<http::Responder> responder,
                                                   HttpMetrics& metrics, const Clock& clock,
                                                   std::string handler,
                                                   const http::Request& request) {
  return std::make_shared<ObservedResponder>(std::move(responder), metrics, clock,
                                             std::move(handler), request);
}

}  // namespace sparrow::api
