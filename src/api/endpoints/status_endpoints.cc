#include <optional>
#include <string_view>
#include <tuple>

#include "api/endpoints/endpoints.h"
#include "api/stream/reply.h"
#include "base/check.h"
#include "base/json.h"

namespace sparrow::api {
namespace {

struct Health {
  const char* state;
  bool serving;    // can answer, if only what is running
  bool accepting;  // takes new requests
  bool alive;      // no reason to start the process anew
};

Health health_of(const EngineView& engine, ApiContext& context) {
  const TimePoint now = context.clock().now();
  const EngineState state = state_of(engine, context.options().watchdog_timeout, now);
  if (state == EngineState::kFailed) return {"failed", false, false, false};
  if (state == EngineState::kStuck) return {"stuck", false, false, false};
  if (context.state().phase == ServerPhase::kDraining) return {"draining", true, false, true};
  // Ready again when the next probe may come, or no router would ever send one.
  if (state == EngineState::kFailing) {
    return {"failing", false, now >= engine.load.breaker_retry_at, true};
  }
  return {"ready", true, true, true};
}

// From what the engines have published: waits for a copy of a few words, never for a step. Of
// several the best decides what is served. One that is stuck holds requests that never end, which
// only a new process heals; one that failed has ended its own, and the others go on.
Health health_of(ApiContext& context, bool for_liveness = false) {
  const Serving* serving = context.serving();
  if (serving == nullptr) return {"loading", false, false, true};
  std::optional<Health> best;
  bool is_one_stuck = false;
  const auto rank = [](const Health& one) {
    return std::tuple(one.accepting, one.serving, one.alive);
  };
  for (const EngineView& engine : serving->engine->engines()) {
    const Health health = health_of(engine, context);
    is_one_stuck = is_one_stuck || std::string_view(health.state) == "stuck";
    if (!best || rank(health) > rank(*best)) best = health;
  }
  CHECK(best.has_value());
  return for_liveness && is_one_stuck ? Health{"stuck", false, false, false} : *best;
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
  // A slow load and a drain are no reason to kill the process; a stuck engine, or that all have
  // failed, is.
  router.add("GET", "/livez", [&context](const http::Call& call) {
    const Health health = health_of(context, true);
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
