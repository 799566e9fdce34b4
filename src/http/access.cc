#include "http/access.h"

#include <arpa/inet.h>

#include <algorithm>

namespace sparrow::http {
namespace {

constexpr std::string_view kExposedHeaders =
    "x-request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    "x-sparrow-ignored, x-sparrow-degraded, x-sparrow-answer-cache";

bool is_ip_address(const std::string& text) {
  in6_addr buffer{};
  return inet_pton(AF_INET, text.c_str(), &buffer) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &buffer) == 1;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// "name:port", "[v6]:port" or either without the port.
std::string host_without_port(std::string_view host) {
  if (!host.empty() && host.front() == '[') {
    const size_t end = host.find(']');
    if (end == std::string_view::npos) return std::string(host);
    return std::string(host.substr(1, end - 1));
  }
  return lower(host.substr(0, host.find(':')));
}

bool is_origin_allowed(const CorsOptions& options, const Request& request) {
  const std::string_view origin = request.header("origin");
  if (!options.private_prefix.empty() && request.path.starts_with(options.private_prefix)) {
    return false;
  }
  return std::any_of(options.allowed_origins.begin(), options.allowed_origins.end(),
                     [&](const std::string& allowed) {
                       return allowed == "*" || lower(allowed) == lower(origin);
                     });
}

}  // namespace

Headers cors_headers(const CorsOptions& options, const Request& request) {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || !is_origin_allowed(options, request)) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)},
          {"Vary", "Origin"},
          {"Access-Control-Expose-Headers", std::string(kExposedHeaders)}};
}

bool is_preflight(const Request& request) {
  return request.method == "OPTIONS" && !request.header("origin").empty() &&
         !request.header("access-control-request-method").empty();
}

Response preflight_response(const CorsOptions& options, const Request& request) {
  Response response;
  response.status = 204;
  response.headers.emplace_back("Vary",
                                "Access-Control-Request-Method, Access-Control-Request-Headers");
  if (!is_origin_allowed(options, request)) return response;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS, DELETE");
  const std::string_view wanted = request.header("access-control-request-headers");
  if (!wanted.empty()) response.headers.emplace_back("Access-Control-Allow-Headers", wanted);
  if (request.header("access-control-request-private-network") == "true") {
    response.headers.emplace_back("Access-Control-Allow-Private-Network", "true");
  }
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

bool is_allowed_host(std::string_view host_header, const std::vector<std::string>& more_hosts) {
  if (host_header.empty()) return true;
  const std::string host = host_without_port(host_header);
  if (host == "localhost" || host == "host.docker.internal" || is_ip_address(host)) return true;
  constexpr std::string_view kSuffix = ".localhost";
  if (host.size() > kSuffix.size() &&
      host.compare(host.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0) {
    return true;
  }
  return std::any_of(more_hosts.begin(), more_hosts.end(), [&](const std::string& allowed) {
    return allowed == "*" || lower(allowed) == host;
  });
}

bool is_loopback_address(std::string_view host) {
  const std::string plain = host_without_port(host == "::1" ? "[::1]" : host);
  return plain == "localhost" || plain == "::1" || plain.rfind("127.", 0) == 0;
}

}  // namespace sparrow::http
