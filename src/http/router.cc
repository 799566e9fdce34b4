#include "http/router.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow::http {
namespace {

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> segments;
  size_t start = 1;  // behind the leading slash
  while (start <= path.size()) {
    const size_t end = std::min(path.find('/', start), path.size());
    segments.emplace_back(path.substr(start, end - start));
    start = end + 1;
  }
  return segments;
}

bool is_parameter(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

bool is_rest(std::string_view segment) {
  return is_parameter(segment) && segment[segment.size() - 2] == '*';
}

}  // namespace

std::string_view Call::parameter(std::string_view name) const {
  for (const auto& [parameter_name, value] : parameters) {
    if (parameter_name == name) return value;
  }
  return {};
}

void Router::add(std::string method, std::string pattern, RouteHandler handler) {
  CHECK(!pattern.empty() && pattern.front() == '/' && handler != nullptr);
  routes_.push_back(method + " " + pattern);
  Route* route = nullptr;
  if (pattern.find('{') == std::string::npos) {
    route = &exact_[pattern];
  } else {
    const auto same = std::find_if(patterns_.begin(), patterns_.end(),
                                   [&](const auto& entry) { return entry.first == pattern; });
    route =
        same != patterns_.end() ? &same->second : &patterns_.emplace_back(pattern, Route()).second;
    route->segments = split_path(pattern);
  }
  CHECK(route->handlers.emplace(std::move(method), std::move(handler)).second);
}

bool Router::match(const Route& route, std::string_view path, Parameters& parameters) {
  parameters.clear();
  size_t start = 1;
  for (const std::string& segment : route.segments) {
    if (start > path.size()) return false;
    const bool rest = is_rest(segment);
    const size_t end = rest ? path.size() : std::min(path.find('/', start), path.size());
    const std::string_view value = path.substr(start, end - start);
    if (is_parameter(segment)) {
      if (value.empty()) return false;
      parameters.emplace_back(segment.substr(1, segment.size() - (rest ? 3 : 2)), value);
    } else if (value != segment) {
      return false;
    }
    start = end + 1;
  }
  return start == path.size() + 1;
}

const Router::Route* Router::find(std::string_view path, Parameters& parameters) const {
  if (path.empty() || path.front() != '/') return nullptr;
  const auto exact = exact_.find(path);
  if (exact != exact_.end()) return &exact->second;
  for (const auto& [pattern, route] : patterns_) {
    if (match(route, path, parameters)) return &route;
  }
  parameters.clear();
  return nullptr;
}

std::string Router::allowed_methods(std::string_view path) const {
  Parameters parameters;
  const Route* route = find(path, parameters);
  if (route == nullptr) return {};
  std::string allowed;
  for (const auto& [method, handler] : route->handlers) {
    allowed += method + ", ";
    if (method == "GET" && route->handlers.count("HEAD") == 0) allowed += "HEAD, ";
  }
  return allowed + "OPTIONS";
}

void Router::handle(std::shared_ptr<const Request> request,
                    std::shared_ptr<Responder> responder) const {
  Call call{std::move(request), std::move(responder), {}};
  const Request& asked = *call.request;
  const Route* route = find(asked.path, call.parameters);
  if (route != nullptr) {
    auto found = route->handlers.find(asked.method);
    if (found == route->handlers.end() && asked.method == "HEAD") {
      found = route->handlers.find("GET");
    }
    if (found != route->handlers.end()) return found->second(call);
  }
  if (asked.method == "OPTIONS" && (route != nullptr || asked.path == "*")) {
    Response response;
    response.status = 204;
    response.headers.emplace_back("Allow", route != nullptr ? allowed_methods(asked.path)
                                                            : "GET, HEAD, POST, DELETE, OPTIONS");
    return call.responder->send(std::move(response));
  }
  if (route == nullptr) {
    return call.responder->send(
        error_response_(404, "no such path: " + asked.method + " " + asked.path, asked));
  }
  Response response =
      error_response_(405, asked.method + " is not a method of " + asked.path, asked);
  response.headers.emplace_back("Allow", allowed_methods(asked.path));
  call.responder->send(std::move(response));
}

}  // namespace sparrow::http
