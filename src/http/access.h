#pragma once
// Who may call from a browser: CORS (the Fetch standard's protocol) and the Host allow-list that
// stops DNS rebinding on a loopback bind. Pure functions of options and request, thread-safe.

#include <string>
#include <string_view>
#include <vector>

#include "http/http_types.h"

namespace sparrow::http {

struct CorsOptions {
  // "https://chat.example", or "*" for any. Empty: only pages this server itself serves.
  std::vector<std::string> allowed_origins;
  // Paths that begin so are never for pages of other sites. Empty: none.
  std::string private_prefix;
};

// What every answer to a request with an allowed Origin carries; empty otherwise.
Headers cors_headers(const CorsOptions& options, const Request& request);
// OPTIONS with Origin and Access-Control-Request-Method: answered by the server, not by a handler.
bool is_preflight(const Request& request);
// 204 with what is allowed, without any of it for a foreign origin or a private path (the browser
// then refuses).
Response preflight_response(const CorsOptions& options, const Request& request);

// True for "localhost", "*.localhost", "host.docker.internal", any IP address (a rebinding attack
// needs a name), no Host at all (HTTP/1.0) and the names in `more_hosts`; ports are ignored.
bool is_allowed_host(std::string_view host_header, const std::vector<std::string>& more_hosts);
bool is_loopback_address(std::string_view host);

}  // namespace sparrow::http
