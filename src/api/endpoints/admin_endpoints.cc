#include <fmt/format.h>

#include <algorithm>

#include "api/endpoints/endpoints.h"
#include "api/stream/reply.h"
#include "base/json.h"

namespace sparrow::api {
namespace {

// Authorised where it is routed: no other spelling of a path gets by.
http::RouteHandler for_admins(ApiContext& context, http::RouteHandler handler) {
  return [&context, handler = std::move(handler)](const http::Call& call) {
    if (auto error =
            context.keys().check_admin(*call.request, context.options().bound_to_loopback)) {
      return call.responder->send(error_response(*error));
    }
    handler(call);
  };
}

const char* phase_name(ServerPhase phase) {
  switch (phase) {
    case ServerPhase::kLoading:
      return "loading";
    case ServerPhase::kReady:
      return "ready";
    case ServerPhase::kDraining:
      return "draining";
  }
  return "unknown";
}

void append_member(std::string& out, const char* name, int64_t value) {
  out += fmt::format(",\"{}\":", name);
  append_integer(out, value);
}

// Sums over the engines; failed is said of any of them.
void append_engines(std::string& out, const EnginePort& port) {
  const std::vector<EngineView> engines = port.engines();
  const auto append_sum = [&](const char* name, auto EngineSnapshot::*member) {
    int64_t sum = 0;
    for (const EngineView& engine : engines) sum += static_cast<int64_t>(engine.load.*member);
    append_member(out, name, sum);
  };
  append_sum("steps", &EngineSnapshot::num_steps);
  append_sum("sequences_running", &EngineSnapshot::num_running);
  append_sum("sequences_waiting", &EngineSnapshot::num_waiting);
  append_sum("kv_blocks_total", &EngineSnapshot::num_blocks_total);
  append_sum("kv_blocks_live", &EngineSnapshot::num_blocks_live);
  append_sum("kv_blocks_cached", &EngineSnapshot::num_blocks_cached);
  const bool has_failed = std::any_of(engines.begin(), engines.end(),
                                      [](const EngineView& one) { return one.load.failed; });
  out += has_failed ? R"(,"engine_failed":true)" : R"(,"engine_failed":false)";
  if (engines.size() > 1) append_member(out, "engines", static_cast<int64_t>(engines.size()));
}

void send_status(const http::Call& call, ApiContext& context) {
  http::Response response;
  std::string& out = response.body;
  out = fmt::format(R"({{"state":"{}","version":)", phase_name(context.state().phase));
  append_json_string(out, context.options().version);
  append_member(out, "requests_active", context.state().num_active);
  append_member(out, "requests_accepted", context.num_accepted());
  append_member(out, "keys", static_cast<int64_t>(context.keys().num_keys()));
  if (const Serving* serving = context.serving()) {
    out += R"(,"model":)";
    append_json_string(out, serving->model.name());
    append_engines(out, *serving->engine);
  }
  out += '}';
  call.responder->send(std::move(response));
}

// The answer is on its way before the process is asked to end.
void drain(const http::Call& call, ApiContext& context) {
  http::Response response;
  response.status = 202;
  response.body = fmt::format(R"({{"state":"draining","requests_active":{}}})",
                              context.state().num_active.load());
  call.responder->send(std::move(response));
  context.drain();
}

void reload_keys(const http::Call& call, ApiContext& context) {
  const Status status = context.keys().reload();
  if (!status.ok()) {
    return call.responder->send(error_response(invalid_request(
        "", "The key file was not taken, the keys stay as they were; the log names the line.")));
  }
  http::Response response;
  response.body = fmt::format(R"({{"keys":{}}})", context.keys().num_keys());
  call.responder->send(std::move(response));
}

}  // namespace

void add_admin_endpoints(http::Router& router, ApiContext& context) {
  router.add("GET", "/admin/status", for_admins(context, [&context](const http::Call& call) {
               send_status(call, context);
             }));
  router.add("POST", "/admin/drain",
             for_admins(context, [&context](const http::Call& call) { drain(call, context); }));
  router.add("POST", "/admin/reload-keys", for_admins(context, [&context](const http::Call& call) {
               reload_keys(call, context);
             }));
}

}  // namespace sparrow::api
