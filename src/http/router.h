#pragma once
// Router: method and path to handler. A pattern is an exact path whose segments may be parameters:
// "{name}" matches one segment that is not empty, "{name*}" (last) the whole rest, slashes included
// (model ids have them). Exact paths win over parameters. HEAD uses GET's handler; the server sends
// no body for it. Unknown path: 404; known path, other method: 405 with Allow; OPTIONS: 204 with
// Allow (preflights never get here, see access.h). Immutable while serving, then thread-safe.
//
//   Router router(error_response);
//   router.add("GET", "/v1/models/{id*}", [](const Call& call) { show(call.parameter("id")); });

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/http_types.h"

namespace sparrow::http {

struct Call {
  std::shared_ptr<const Request> request;
  std::shared_ptr<Responder> responder;
  std::vector<std::pair<std::string, std::string>> parameters;

  // Empty when the pattern has no such parameter.
  std::string_view parameter(std::string_view name) const;
};

using RouteHandler = std::function<void(const Call&)>;

class Router {
 public:
  // Makes the body for 404 and 405, with the request at hand.
  using ErrorResponse =
      std::function<Response(int status, std::string_view message, const Request& request)>;

  explicit Router(ErrorResponse error_response) : error_response_(std::move(error_response)) {}

  // One handler per method and pattern; a second is a mistake of ours (CHECK).
  void add(std::string method, std::string pattern, RouteHandler handler);

  // Fits http::Handler.
  void handle(std::shared_ptr<const Request> request, std::shared_ptr<Responder> responder) const;

  // The methods of a path, "GET, HEAD, OPTIONS"; empty: no such path.
  std::string allowed_methods(std::string_view path) const;
  // "GET /v1/models" in order of registration: for the API page and for tests.
  const std::vector<std::string>& routes() const { return routes_; }

 private:
  using Parameters = std::vector<std::pair<std::string, std::string>>;
  struct Route {
    std::vector<std::string> segments;  // "{x}" and "{x*}" are parameters
    std::map<std::string, RouteHandler> handlers;
  };

  const Route* find(std::string_view path, Parameters& parameters) const;
  static bool match(const Route& route, std::string_view path, Parameters& parameters);

  ErrorResponse error_response_;
  std::map<std::string, Route, std::less<>> exact_;  // by path
  std::vector<std::pair<std::string, Route>> patterns_;
  std::vector<std::string> routes_;
};

}  // namespace sparrow::http
