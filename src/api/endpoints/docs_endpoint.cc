#include <fmt/format.h>

#include "api/endpoints/endpoints.h"

namespace sparrow::api {
namespace {

// Works offline and without scripts.
std::string docs_page(const std::vector<std::string>& routes) {
  std::string rows;
  for (const std::string& route : routes) rows += fmt::format("<li><code>{}</code></li>\n", route);
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<title>Sparrow API</title></head>\n<body><h1>Sparrow API</h1>\n"
         "<p>OpenAI-compatible: point any OpenAI client at <code>/v1</code> of this address. Try:"
         "</p>\n<pre>curl http://HOST:PORT/v1/chat/completions -H 'Content-Type: application/json'"
         " \\\n  -d '{\"messages\":[{\"role\":\"user\",\"content\":\"1+1=?\"}]}'</pre>\n<ul>\n" +
         rows + "</ul></body></html>\n";
}

void send_html(const http::Call& call, std::string html) {
  http::Response response;
  response.content_type = "text/html; charset=utf-8";
  response.body = std::move(html);
  call.responder->send(std::move(response));
}

}  // namespace

void add_docs_endpoint(http::Router& router) {
  std::vector<std::string> routes = router.routes();
  routes.push_back("GET /docs");
  router.add("GET", "/docs",
             [html = docs_page(routes)](const http::Call& call) { send_html(call, html); });
}

}  // namespace sparrow::api
