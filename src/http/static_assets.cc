#include "http/static_assets.h"

#include <cstdint>

#include "base/random.h"

namespace sparrow::http {

std::span<const EmbeddedFile> embedded_start_page();

namespace {

constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view content_type_of(std::string_view path) {
  struct Type {
    std::string_view suffix;
    std::string_view content_type;
  };
  constexpr Type kTypes[] = {
      {".html", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".svg", "image/svg+xml"},
      {".json", "application/json"},
      {".png", "image/png"},
      {".woff2", "font/woff2"},
  };
  for (const Type& type : kTypes) {
    if (path.size() > type.suffix.size() &&
        path.substr(path.size() - type.suffix.size()) == type.suffix) {
      return type.content_type;
    }
  }
  return "application/octet-stream";
}

// Tells versions of a file apart; nobody gains by a collision.
std::string etag_of(std::string_view content) {
  uint64_t hash = content.size();
  for (char c : content) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  hash = mix64(hash);
  std::string etag = "\"0000000000000000\"";
  for (size_t i = 16; i > 0; --i, hash >>= 4) etag[i] = "0123456789abcdef"[hash & 15];
  return etag;
}

}  // namespace

std::optional<Asset> find_asset(std::string_view path) {
  if (path == "/") path = "/index.html";
  for (const EmbeddedFile& file : embedded_start_page()) {
    if (path != file.path) continue;
    const std::string_view content(file.begin, static_cast<size_t>(file.end - file.begin));
    return Asset{content, content_type_of(path), etag_of(content)};
  }
  return std::nullopt;
}

std::optional<Response> static_response(const Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
  std::optional<Asset> asset = find_asset(request.path);
  if (!asset) return std::nullopt;
  Response response;
  response.content_type = asset->content_type;
  response.headers = {{"ETag", asset->etag},
                      {"Cache-Control", "no-cache"},
                      {"Content-Security-Policy", std::string(kPolicy)},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"}};
  if (request.header("if-none-match").find(asset->etag) != std::string_view::npos) {
    response.status = 304;
  } else {
    response.body = asset->content;
  }
  return response;
}

}  // namespace sparrow::http
