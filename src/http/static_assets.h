#pragma once
// The files of the web page that are part of the program (cmake/SparrowEmbed.cmake), and how they
// are answered: content type, strong ETag, and a policy that allows no inline script, no foreign
// host and no frame. Constant after start-up, thread-safe.
//
//   if (auto response = static_response(*request)) responder->send(std::move(*response));

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "http/http_types.h"

namespace sparrow::http {

struct EmbeddedFile {
  const char* path;  // "/index.html"
  const char* begin;
  const char* end;
};

struct Asset {
  std::string_view content;
  std::string_view content_type;
  std::string etag;  // quoted
};

// "/" is "/index.html". Only exact paths of embedded files.
std::optional<Asset> find_asset(std::string_view path);

// For GET and HEAD of an asset: 200, or 304 when If-None-Match names its ETag.
std::optional<Response> static_response(const Request& request);

}  // namespace sparrow::http
