#include "api/observed_responder.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "base/log.h"

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

std::string known_method(const std::string& method) {
  for (const char* known : {"GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"}) {
    if (method == known) return method;
  }
  return "other";
}

class ObservedResponder final : public http::Responder {
 public:
  ObservedResponder(std::shared_ptr<http::Responder> responder, HttpMetrics& metrics,
                    const Clock& clock, Exchange exchange)
      : responder_(std::move(responder)),
        metrics_(metrics),
        clock_(clock),
        exchange_(std::move(exchange)),
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
  void when_sent(std::function<void()> task) override { responder_->when_sent(std::move(task)); }
  bool closed() const override { return responder_->closed(); }
  http::IoLoop& loop() override { return responder_->loop(); }
  void log_with(const LogFields& fields) override {
    facts_.insert(facts_.end(), fields.begin(), fields.end());
  }

 private:
  std::string elapsed_ms() const { return fmt::format("{:.0f}", to_ms(clock_.now() - begin_)); }
  void report(int status) {
    const Duration total = clock_.now() - begin_;
    metrics_.observe(exchange_.handler, exchange_.method, status, to_seconds(total));
    metrics_.observe_sizes(exchange_.handler, exchange_.request_bytes, response_bytes_);
    LogFields fields = {{"request_id", exchange_.request_id}};
    if (!exchange_.tenant.empty()) fields.emplace_back("tenant", exchange_.tenant);
    fields.insert(fields.end(), facts_.begin(), facts_.end());
    fields.emplace_back("total_ms", to_ms(total));
    const bool is_api = !is_scrape_or_health(exchange_.handler) && exchange_.handler != "page";
    const bool is_fault = status >= 500 && status != 503;  // 503 is a refusal, and no news
    log_event(is_fault ? LogLevel::kError
              : is_api ? LogLevel::kInfo
                       : LogLevel::kDebug,
              fmt::format("{} {} {}", known_method(exchange_.method), exchange_.handler, status),
              fields);
  }
  // Also from the destructor: where memory runs out, a number is less bad than an exception.
  void observe(int status) noexcept {
    if (std::exchange(observed_, true)) return;
    try {
      report(status);
    } catch (const std::bad_alloc&) {  // not counted, not logged
    }
  }

  const std::shared_ptr<http::Responder> responder_;
  HttpMetrics& metrics_;
  const Clock& clock_;
  const Exchange exchange_;
  size_t response_bytes_ = 0;
  const TimePoint begin_;
  LogFields facts_;
  int status_ = 200;
  bool observed_ = false;
};

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
                                                   Exchange exchange) {
  return std::make_shared<ObservedResponder>(std::move(responder), metrics, clock,
                                             std::move(exchange));
}

}  // namespace sparrow::api
