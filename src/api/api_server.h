#pragma once
// ApiServer: the OpenAI-compatible API as one http::Handler. It starts in "loading" (health and
// model list answer, the rest is 503), is "ready" after set_ready(), "draining" after
// begin_drain().
//
//   ApiServer api(options, metrics);
//   http::HttpServer server(server_options, api.handler(), ApiServer::protocol_error);
//   server.start();  …load…  api.set_ready(std::move(model_info), engine);
//   api.begin_drain();  engine_thread.drain(…);  engine_thread.stop();  server.stop();  api.stop();
//
// Thread-safe. It outlives the engine thread's last step and server.stop(); the HttpServer object
// outlives stop().

#include <functional>
#include <memory>
#include <string_view>

#include "api/api_options.h"
#include "api/engine_port.h"
#include "base/metrics.h"
#include "http/http_types.h"

namespace sparrow::api {

class ApiServer {
 public:
  ApiServer(ApiOptions options, MetricsRegistry& metrics);
  ~ApiServer();

  // The engine is loaded and its thread runs. Once.
  void set_ready(ModelInfo model, Engine& engine);
  void set_ready(ModelInfo model, std::unique_ptr<EnginePort> engine);
  http::Handler handler();
  // Health and /metrics alone, for a port of their own.
  http::Handler metrics_handler();
  // The body for what the HTTP server refuses by itself.
  static http::Response protocol_error(int status, std::string_view message);
  // The same, counted and logged; and what it calls for each connection too many. This object
  // outlives the HTTP server.
  std::function<http::Response(int status, std::string_view message)> protocol_errors();
  std::function<void()> refused_connections();

  // The keys of the file, before clients come and whenever it changed: a broken one changes
  // nothing.
  Status load_keys();
  // New generation requests get 503 with Retry-After from now on.
  void begin_drain();
  // Generation requests inside, from arrival to the last byte.
  int num_active() const;
  // Ends the threads of this object.
  // No more heartbeats; before the HTTP server, whose loops they use, is stopped.
  void stop_ticking();
  void stop();
  // For tests: a round of heartbeats and of the watchdog now.
  void tick();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparrow::api
