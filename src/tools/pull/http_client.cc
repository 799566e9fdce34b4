#include "tools/pull/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace sparrow {
namespace {

constexpr int kMaxRedirects = 5;
constexpr size_t kMaxAddress = 16384;  // signed addresses of a CDN are about 1.5 KB
constexpr size_t kMaxErrorText = 300;
constexpr size_t kMaxErrorBody = 65536;
constexpr int64_t kMaxRetryAfter = 60;  // seconds
constexpr long kBufferBytes = 256 * 1024;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.front()) <= 0x20) text.remove_prefix(1);
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= 0x20) text.remove_suffix(1);
  return text;
}

// A server's words on the user's terminal: ASCII without controls.
std::string printable_text(std::string_view text) {
  std::string out(text.substr(0, kMaxErrorText));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7F) c = '?';
  }
  return out;
}

int64_t parse_count(std::string_view text) {
  int64_t value = -1;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() && value >= 0 ? value
                                                                                           : -1;
}

// "bytes 100-199/200" or "bytes 100-199/*".
void parse_content_range(std::string_view text, HttpHead& head) {
  if (!text.starts_with("bytes ")) return;
  text.remove_prefix(6);
  const size_t dash = text.find('-');
  const size_t slash = text.find('/');
  if (dash == text.npos || slash == text.npos || dash > slash) return;
  head.range_begin = parse_count(text.substr(0, dash));
  head.range_total = parse_count(text.substr(slash + 1));
}

// The address of the part with rel="next" in `<a>; rel="prev", <b>; rel="next"`.
std::string parse_next_link(std::string_view text) {
  while (!text.empty()) {
    const size_t open = text.find('<');
    const size_t close = text.find('>');
    if (open == text.npos || close == text.npos || close < open) return {};
    const std::string_view address = text.substr(open + 1, close - open - 1);
    text.remove_prefix(close + 1);
    const std::string_view parameters = text.substr(0, text.find('<'));
    if (parameters.find("rel=\"next\"") != text.npos) return std::string(address);
  }
  return {};
}

void read_header(std::string_view line, HttpHead& head, std::string& location) {
  if (line.starts_with("HTTP/")) {  // an interim answer came before
    head = {};
    location.clear();
    return;
  }
  const size_t colon = line.find(':');
  if (colon == line.npos || line.size() > kMaxAddress) return;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (is_same_word(name, "content-length")) head.content_length = parse_count(value);
  if (is_same_word(name, "content-range")) parse_content_range(value, head);
  if (is_same_word(name, "content-encoding")) head.encoded = !is_same_word(value, "identity");
  if (is_same_word(name, "x-error-code")) head.error_code = printable_text(value);
  if (is_same_word(name, "x-error-message")) head.error_message = printable_text(value);
  if (is_same_word(name, "link")) head.next_url = parse_next_link(value);
  if (is_same_word(name, "location")) location = value;
  if (is_same_word(name, "retry-after")) {
    head.retry_after_s =
        static_cast<int>(std::clamp<int64_t>(parse_count(value), 0, kMaxRetryAfter));
  }
}

struct UrlParts {
  std::string scheme, host, port;
};

// One part of an address; empty when there is none.
std::string url_part(CURLU* url, CURLUPart part, unsigned int flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string out = text;
  curl_free(text);
  return out;
}

using UrlHandle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

UrlParts parse_url(const std::string& url) {
  const UrlHandle handle(curl_url(), &curl_url_cleanup);
  if (handle == nullptr || curl_url_set(handle.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return {};
  }
  UrlParts parts{url_part(handle.get(), CURLUPART_SCHEME), url_part(handle.get(), CURLUPART_HOST),
                 url_part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT)};
  std::transform(parts.host.begin(), parts.host.end(), parts.host.begin(), lower);
  return parts;
}

// `target` seen from `base`; empty when it is no address.
std::string resolve_url(const std::string& base, const std::string& target) {
  const UrlHandle handle(curl_url(), &curl_url_cleanup);
  if (handle == nullptr ||
      curl_url_set(handle.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      curl_url_set(handle.get(), CURLUPART_URL, target.c_str(), 0) != CURLUE_OK) {
    return {};
  }
  return url_part(handle.get(), CURLUPART_URL);
}

// Scheme, host and port: an address in a message shows no signature and no path.
std::string shown_origin(const std::string& url) {
  const UrlParts parts = parse_url(url);
  return printable_text(fmt::format("{}://{}:{}", parts.scheme, parts.host, parts.port));
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool has_content(int status) { return status == 200 || status == 206; }

// One exchange on its way through the library's callbacks.
struct Exchange {
  const HttpHandlers* handlers;
  HttpHead head;
  std::string location;
  bool head_given = false;
  size_t error_body_bytes = 0;
  bool error_body_full = false;
  Status handler_status;
};

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {
    read_header(line, exchange.head, exchange.location);
    const size_t space = line.find(' ');
    if (space != line.npos) {
      exchange.head.status = static_cast<int>(parse_count(line.substr(space + 1, 3)));
    }
    return line.size();
  }
  read_header(line, exchange.head, exchange.location);
  return line.size();
}

// True when the caller wants the body.
bool give_head(Exchange& exchange) {
  if (exchange.head_given) return true;
  exchange.head_given = true;
  exchange.handler_status = exchange.handlers->on_head(exchange.head);
  return exchange.handler_status.ok();
}

size_t on_data(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const size_t length = size * count;
  if (!has_content(exchange.head.status)) {
    exchange.error_body_bytes += length;
    exchange.error_body_full = exchange.error_body_bytes > kMaxErrorBody;
    return exchange.error_body_full ? 0 : length;
  }
  if (!give_head(exchange)) return 0;
  exchange.handler_status = exchange.handlers->on_body({data, length});
  return exchange.handler_status.ok() ? length : 0;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* stop = static_cast<const std::atomic<bool>*>(user);
  return stop != nullptr && stop->load() ? 1 : 0;
}

Status cancelled() { return Status(StatusCode::kCancelled, "stopped"); }

Status failure_of(CURLcode code, const std::string& url, const char* detail) {
  const std::string reason = printable_text(*detail != '\0' ? detail : curl_easy_strerror(code));
  const std::string text = fmt::format("{}: {}", shown_origin(url), reason);
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      return cancelled();
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_OUT_OF_MEMORY:
      return failed_precondition(text);
    case CURLE_PEER_FAILED_VERIFICATION:
      return failed_precondition(
          text +
          ". If a proxy of your network signs for others, name its certificate in "
          "SSL_CERT_FILE; without ca-certificates installed nothing is trusted");
    case CURLE_BAD_CONTENT_ENCODING:
      return data_loss(text);
    default:
      return unavailable(text);
  }
}

struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListFree>;

void add_line(HeaderList& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) return;
  (void)list.release();
  list.reset(longer);
}

void allow_web_only(CURL* handle) {
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

}  // namespace

struct HttpClient::State {
  HttpClientOptions options;
  CURL* handle = nullptr;
};

HttpClient::HttpClient(const HttpClientOptions& options) : state_(std::make_unique<State>()) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  state_->options = options;
  if (initialised == CURLE_OK) state_->handle = curl_easy_init();
}

HttpClient::~HttpClient() { curl_easy_cleanup(state_->handle); }

Result<HttpHead> HttpClient::get(const HttpRequest& request, const HttpHandlers& handlers) {
  if (state_->handle == nullptr) return failed_precondition("libcurl could not be started");
  HttpRequest next = request;
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    const std::string scheme = parse_url(next.url).scheme;
    if (scheme != "http" && scheme != "https") {
      return failed_precondition(fmt::format("an address that is neither http nor https: {}",
                                             printable_text(next.url.substr(0, 80))));
    }
    std::string location;
    ASSIGN_OR_RETURN(HttpHead head, get_once(next, handlers, location));
    if (!is_redirect(head.status)) {
      if (!head.next_url.empty()) head.next_url = resolve_url(next.url, head.next_url);
      return head;
    }
    const std::string target = resolve_url(next.url, location);
    if (target.empty()) {
      return data_loss(
          fmt::format("{}: a redirect without a usable address", shown_origin(next.url)));
    }
    if (scheme == "https" && parse_url(target).scheme != "https") {
      return failed_precondition(fmt::format("{}: refusing a redirect from https to {}",
                                             shown_origin(next.url), shown_origin(target)));
    }
    // Once another origin was visited the token stays away, also on the way back.
    if (!same_origin(next.url, target)) next.token.clear();
    next.url = target;
  }
  return failed_precondition(
      fmt::format("{}: more than {} redirects", shown_origin(request.url), kMaxRedirects));
}

Result<HttpHead> HttpClient::get_once(const HttpRequest& request, const HttpHandlers& handlers,
                                      std::string& location) {
  CURL* handle = state_->handle;
  const HttpClientOptions& options = state_->options;
  curl_easy_reset(handle);  // keeps the connections
  Exchange exchange{.handlers = &handlers};
  char detail[CURL_ERROR_SIZE] = "";
  allow_web_only(handle);
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "sparrow-pull");
  // Asks for plain bytes, and still undoes an encoding the server insists on.
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "identity");
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options.connect_timeout_s));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout_s));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT, static_cast<long>(request.max_seconds));
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &on_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, &on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(options.stop));
  if (!options.ca_file.empty()) {
    curl_easy_setopt(handle, CURLOPT_CAINFO, options.ca_file.c_str());
  }
  const std::string range = fmt::format("{}-", request.offset);
  if (request.offset > 0) curl_easy_setopt(handle, CURLOPT_RANGE, range.c_str());
  HeaderList lines;
  if (!request.token.empty()) {
    add_line(lines, fmt::format("Authorization: Bearer {}", request.token));
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, lines.get());
  }
  const CURLcode code = curl_easy_perform(handle);
  location = std::move(exchange.location);
  if (!exchange.handler_status.ok()) return exchange.handler_status;
  if (options.stop != nullptr && options.stop->load()) return cancelled();
  if (code != CURLE_OK && !exchange.error_body_full) return failure_of(code, request.url, detail);
  if (has_content(exchange.head.status) && !give_head(exchange)) return exchange.handler_status;
  return exchange.head;
}

bool same_origin(const std::string& a, const std::string& b) {
  const UrlParts x = parse_url(a);
  const UrlParts y = parse_url(b);
  return !x.scheme.empty() && !x.host.empty() && x.scheme == y.scheme && x.host == y.host &&
         x.port == y.port;
}

std::string escape_url_part(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const char low = lower(c);
    if ((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace sparrow
