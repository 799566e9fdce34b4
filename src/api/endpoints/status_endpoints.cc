#include "api/endpoints/endpoints.h"
#include "api/stream/reply.h"
#include "base/json.h"

namespace sparrow::api {
namespace {

struct Health {
  const char* state;
  bool serving;    // can answer, if only what is running
  bool accepting;  // takes new requests
  bool alive;      // no reason to start the process anew
};

// From what the engine has published: waits for a copy of a few words, never for a step.
Health health_of(ApiContext& context) {
  const Serving* serving = context.serving();
  if (serving == nullptr) return {"loading", false, false, true};
  const EngineSnapshot load = serving->engine->snapshot();
  if (load.failed) return {"failed", false, false, false};
  if (context.stuck()) return {"stuck", false, false, false};
  if (context.state().phase == ServerPhase::kDraining) return {"draining", true, false, true};
  if (load.breaker != BreakerState::kClosed) {
    // Ready again when the next probe may come, or no router would ever send one.
    return {"failing", false, context.clock().now() >= load.breaker_retry_at, true};
  }
  return {"ready", true, true, true};
}

void send_state(const http::Call& call, const char* state, bool good) {
  http::Response response;
  response.status = good ? 200 : 503;
  response.body = std::string(R"({"status":")") + (good ? "ok" : "unavailable") + R"(","state":")" +
                  state + "\"}";
  call.responder->send(std::move(response));
}

void send_metrics(const http::Call& call, ApiContext& context) {
  context.update_gate();
  http::Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = context.render_metrics();
  call.responder->send(std::move(response));
}

}  // namespace

void add_health_endpoints(http::Router& router, ApiContext& context) {
  for (const char* path : {"/health", "/ping"}) {
    router.add("GET", path, [&context](const http::Call& call) {
      const Health health = health_of(context);
      send_state(call, health.state, health.serving);
    });
  }
  // A slow load and a drain are no reason to kill the process; a failed or stuck engine is.
  router.add("GET", "/livez", [&context](const http::Call& call) {
    const Health health = health_of(context);
    send_state(call, health.state, health.alive);
  });
  router.add("GET", "/readyz", [&context](const http::Call& call) {
    const Health health = health_of(context);
    send_state(call, health.state, health.accepting);
  });
}

void add_metrics_endpoint(http::Router& router, ApiContext& context) {
  router.add("GET", "/metrics",
             [&context](const http::Call& call) { send_metrics(call, context); });
}

void add_status_endpoints(http::Router& router, ApiContext& context) {
  router.add("GET", "/version", [&context](const http::Call& call) {
    http::Response response;
    response.body = R"({"version":)";
    append_json_string(response.body, context.options().version);
    response.body += '}';
    call.responder->send(std::move(response));
  });
  router.add("GET", "/load", [&context](const http::Call& call) {
    http::Response response;
    response.body = R"({"server_load":)";
    append_integer(response.body, context.state().num_active.load());
    response.body += '}';
    call.responder->send(std::move(response));
  });
}

}  // namespace sparrow::api
