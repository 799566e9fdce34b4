#include "api/api_server.h"

#include <algorithm>
#include <condition_variable>
#include <thread>

#include "api/api_context.h"
#include "api/door_refusals.h"
#include "api/endpoints/endpoints.h"
#include "api/observed_responder.h"
#include "base/log.h"
#include "engine/watchdog.h"
#include "http/static_assets.h"

namespace sparrow::api {
namespace {

// Of what failed before a request was complete: too slow, or too many at once.
constexpr int64_t kRetryProtocolMs = 2000;

http::Response routing_error(int status, std::string_view message, const http::Request& request) {
  if (status == 404) return error_response(not_found(request.method, request.path));
  return error_response(http_error(status, std::string(message)));
}

}  // namespace

struct ApiServer::Impl {
  Impl(ApiOptions options, MetricsRegistry& metrics)
      : context(std::move(options), metrics),
        http_metrics(metrics),
        door_refusals(http_metrics, context.clock(),
                      [this](RejectReason reason) { context.note_refusal(reason); }),
        router(routing_error),
        metrics_router(routing_error),
        watchdog(context.options().watchdog_timeout) {
    add_chat_endpoint(router, context);
    add_completions_endpoint(router, context);
    add_models_endpoints(router, context);
    add_tokenize_endpoints(router, context);
    add_status_endpoints(router, context);
    add_admin_endpoints(router, context);
    for (http::Router* one : {&router, &metrics_router}) add_health_endpoints(*one, context);
    add_metrics_endpoint(metrics_router, context);
    if (!context.options().metrics_apart) add_metrics_endpoint(router, context);
    add_docs_endpoint(router);
    ticker = std::thread([this] { tick_until_stopped(); });
  }

  // Often enough that no stream is silent for much longer than the heartbeat, and that a changed
  // key file counts within a second.
  void tick_until_stopped() {
    const auto period = std::clamp(context.options().heartbeat / 4, std::chrono::milliseconds(50),
                                   std::chrono::milliseconds(1000));
    std::unique_lock lock(mutex);
    while (!stopping.wait_for(lock, period, [this] { return stopped; })) {
      try {
        tick();
      } catch (const std::exception& error) {  // out of memory: the next round may do
        log_error("api: a round of heartbeats failed: {}", error.what());
      }
    }
  }

  void tick() {
    watchdog.check(context.beat(), context.clock().now());
    context.update_gate();
    context.tick_all();
    context.keys().reload_if_changed();
  }

  void stop_ticker() {
    {
      std::lock_guard lock(mutex);
      stopped = true;
    }
    stopping.notify_all();
    if (ticker.joinable()) ticker.join();
  }

  void stop() {
    stop_ticker();
    context.stop();
  }

  // A label per route; unknown paths share one, so that clients cannot make labels.
  std::string handler_label(const std::string& path) const {
    if (http::find_asset(path)) return "page";
    if (router.allowed_methods(path).empty()) return "none";
    constexpr std::string_view kModels = "/v1/models/";
    if (path.starts_with(kModels)) return "/v1/models/{id}";
    return path;
  }

  static Exchange exchange_of(const http::Request& request, std::string handler) {
    return {std::move(handler), request.method, request.request_id, {}, request.body.size()};
  }

  void handle(std::shared_ptr<const http::Request> request,
              std::shared_ptr<http::Responder> responder) {
    MaybeError error = context.keys().check(*request);
    Exchange exchange = exchange_of(*request, handler_label(request->path));
    if (!error) exchange.tenant = context.keys().caller_of(*request).tenant;
    auto observed =
        observe_responder(std::move(responder), http_metrics, context.clock(), std::move(exchange));
    // The page asks for the key itself; its files hold no secret.
    if (auto page = http::static_response(*request)) return observed->send(std::move(*page));
    if (error) return observed->send(error_response(*error));
    router.handle(std::move(request), std::move(observed));
  }

  // The port for metrics alone: no pages, no API.
  void handle_metrics(std::shared_ptr<const http::Request> request,
                      std::shared_ptr<http::Responder> responder) {
    const bool is_known = !metrics_router.allowed_methods(request->path).empty();
    auto observed = observe_responder(std::move(responder), http_metrics, context.clock(),
                                      exchange_of(*request, is_known ? request->path : "none"));
    if (auto error = context.keys().check(*request)) return observed->send(error_response(*error));
    metrics_router.handle(std::move(request), std::move(observed));
  }

  ApiContext context;
  HttpMetrics http_metrics;
  DoorRefusals door_refusals;
  http::Router router;
  http::Router metrics_router;
  Watchdog watchdog;  // the ticker's, or of tests
  std::mutex mutex;
  std::condition_variable stopping;
  bool stopped = false;  // guarded by mutex
  std::thread ticker;
};

ApiServer::ApiServer(ApiOptions options, MetricsRegistry& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), metrics)) {}

ApiServer::~ApiServer() { impl_->stop(); }

void ApiServer::set_ready(ModelInfo model, Engine& engine) {
  set_ready(std::move(model), std::make_unique<EngineAdapter>(engine));
}

void ApiServer::set_ready(ModelInfo model, std::unique_ptr<EnginePort> engine) {
  const SystemRole system_role = impl_->context.options().system_role;
  impl_->context.set_serving(std::unique_ptr<Serving>(
      new Serving{ServedModel(std::move(model), system_role), std::move(engine)}));
}

http::Handler ApiServer::handler() {
  return [impl = impl_.get()](std::shared_ptr<const http::Request> request,
                              std::shared_ptr<http::Responder> responder) {
    impl->handle(std::move(request), std::move(responder));
  };
}

http::Handler ApiServer::metrics_handler() {
  return [impl = impl_.get()](std::shared_ptr<const http::Request> request,
                              std::shared_ptr<http::Responder> responder) {
    impl->handle_metrics(std::move(request), std::move(responder));
  };
}

http::Response ApiServer::protocol_error(int status, std::string_view message) {
  ApiError error = http_error(status, std::string(message));
  if (status == 503 || status == 408) error.retry_after_ms = kRetryProtocolMs;
  return error_response(error);
}

std::function<http::Response(int, std::string_view)> ApiServer::protocol_errors() {
  return [impl = impl_.get()](int status, std::string_view message) {
    impl->door_refusals.on_refused_request(status, message);
    return protocol_error(status, message);
  };
}

std::function<void()> ApiServer::refused_connections() {
  return [impl = impl_.get()] { impl->door_refusals.on_refused_connection(); };
}

Status ApiServer::load_keys() { return impl_->context.keys().reload(); }

void ApiServer::begin_drain() { impl_->context.state().phase = ServerPhase::kDraining; }

int ApiServer::num_active() const { return impl_->context.state().num_active; }

void ApiServer::stop_ticking() { impl_->stop_ticker(); }

void ApiServer::stop() { impl_->stop(); }

void ApiServer::tick() { impl_->tick(); }

}  // namespace sparrow::api
