#include "tools/pull/hub_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <utility>

#include "base/env.h"
#include "base/file.h"
#include "base/json.h"
#include "tools/pull/hub_id.h"

namespace sparrow {
namespace {

namespace json = boost::json;

constexpr JsonLimits kListLimits = {.max_bytes = 8u << 20, .max_depth = 32};
constexpr int kMaxPages = 50;
constexpr int kListSeconds = 120;
constexpr size_t kMaxTokenLength = 1024;

bool is_set(const char* name) {
  const auto value = env_string(name);
  return value && *value != "0" && *value != "false" && *value != "FALSE" && *value != "no";
}

Result<int> seconds_of(const char* name, int otherwise) {
  const auto text = env_string(name);
  if (!text) return otherwise;
  int value = 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), value);
  if (result.ec != std::errc() || result.ptr != text->data() + text->size() || value < 1 ||
      value > 3600) {
    return invalid_argument(fmt::format("{}={}: expected 1 to 3600 seconds", name, *text));
  }
  return value;
}

// The token must be one line of plain characters: it goes into a header.
Result<std::string> checked_token(std::string token, const char* source) {
  while (!token.empty() && static_cast<unsigned char>(token.back()) <= 0x20) token.pop_back();
  const bool plain =
      std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (!plain || token.size() > kMaxTokenLength) {
    return invalid_argument(fmt::format("{}: not a token: expected at most {} printable characters",
                                        source, kMaxTokenLength));
  }
  return token;
}

Result<std::string> find_token() {
  if (const auto token = env_string("HF_TOKEN")) return checked_token(*token, "HF_TOKEN");
  std::string path;
  if (const auto given = env_string("HF_TOKEN_PATH")) {
    path = *given;
  } else if (const auto home = env_string("HF_HOME")) {
    path = *home + "/token";
  } else if (const auto cache = env_string("XDG_CACHE_HOME")) {
    path = *cache + "/huggingface/token";
  } else if (const auto user = env_string("HOME")) {
    path = *user + "/.cache/huggingface/token";
  }
  if (path.empty()) return std::string();
  const Result<std::string> content = read_file(path, 4096);
  if (!content.ok()) return std::string();  // no such file: nobody logged in
  return checked_token(*content, path.c_str());
}

bool is_plain_address(const std::string& url) {
  return (url.starts_with("https://") || url.starts_with("http://")) && url.size() <= 512 &&
         std::all_of(url.begin(), url.end(), [](char c) { return c > 0x20 && c < 0x7F; }) &&
         url.find_first_of("@?#\\") == std::string::npos && url.find('/') + 2 < url.size();
}

bool is_this_machine(const std::string& url) {
  for (const char* host : {"http://127.0.0.1", "http://localhost", "http://[::1]"}) {
    if (!url.starts_with(host)) continue;
    const std::string rest = url.substr(std::string_view(host).size());
    if (rest.empty() || rest.front() == ':' || rest.front() == '/') return true;
  }
  return false;
}

std::string text_of(const json::value& value, const char* name) {
  if (!value.is_object()) return {};
  const auto found = value.get_object().find(name);
  if (found == value.get_object().end() || !found->value().is_string()) return {};
  return std::string(found->value().get_string());
}

std::string escaped_path(const std::string& path) {
  std::string out;
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (begin > 0) out += '/';
    out += escape_url_part(std::string_view(path).substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

}  // namespace

Result<HubAccess> hub_access_from_environment() {
  HubAccess access;
  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    if (is_set(name)) {
      return failed_precondition(
          fmt::format("{} is set: nothing is asked or downloaded. Unset it to pull", name));
    }
  }
  if (const auto endpoint = env_string("HF_ENDPOINT")) {
    access.endpoint = *endpoint;
    while (access.endpoint.ends_with('/')) access.endpoint.pop_back();
    if (!is_plain_address(access.endpoint)) {
      return invalid_argument(
          "HF_ENDPOINT: expected http(s)://HOST[:PORT][/PATH], without a user name");
    }
  }
  ASSIGN_OR_RETURN(access.token, find_token());
  if (access.endpoint.starts_with("http://") && !is_this_machine(access.endpoint)) {
    access.token.clear();  // everybody on the way could read it
  }
  for (const char* name : {"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const auto path = env_string(name)) access.ca_file = *path;
  }
  ASSIGN_OR_RETURN(access.connect_timeout_s,
                   seconds_of("HF_HUB_ETAG_TIMEOUT", access.connect_timeout_s));
  ASSIGN_OR_RETURN(access.stall_timeout_s,
                   seconds_of("HF_HUB_DOWNLOAD_TIMEOUT", access.stall_timeout_s));
  return access;
}

HubClient::HubClient(HubAccess access, const RetryOptions& retry, NoteCallback note)
    : access_(std::move(access)),
      retry_(retry),
      note_(std::move(note)),
      http_({.connect_timeout_s = access_.connect_timeout_s,
             .stall_timeout_s = access_.stall_timeout_s,
             .ca_file = access_.ca_file,
             .stop = retry.stop}) {}

Result<HubRevision> HubClient::find_revision(const std::string& id, const std::string& revision) {
  CHECK(is_hub_id(id) && is_hub_revision(revision));
  const std::string url =
      fmt::format("{}/api/models/{}/revision/{}", access_.endpoint, id, escape_url_part(revision));
  ASSIGN_OR_RETURN(const json::value answer,
                   get_json(url, id, fmt::format("revision '{}'", revision), nullptr));
  HubRevision found{text_of(answer, "id"), text_of(answer, "sha")};
  if (!is_hub_id(found.id)) found.id = id;
  if (!is_commit(found.commit)) {
    return data_loss(fmt::format("{}: the answer for {} names no commit. Is it a Hugging Face hub?",
                                 access_.endpoint, id));
  }
  return found;
}

Result<std::vector<HubFile>> HubClient::list_files(const HubRevision& revision) {
  std::vector<HubFile> files;
  std::string url = fmt::format("{}/api/models/{}/tree/{}?recursive=true", access_.endpoint,
                                revision.id, revision.commit);
  for (int page = 0; page < kMaxPages; ++page) {
    std::string next;
    ASSIGN_OR_RETURN(const json::value list, get_json(url, revision.id, "the file list", &next));
    RETURN_IF_ERROR(append_file_list(list, files));
    if (next.empty()) return files;
    if (!same_origin(next, access_.endpoint)) {
      return data_loss("the hub's file list goes on at another host: refused");
    }
    url = next;
  }
  return resource_exhausted(
      fmt::format("the hub's file list has more than the limit of {} pages", kMaxPages));
}

Result<HttpHead> HubClient::get_file(const HubRevision& revision, const std::string& path,
                                     int64_t offset, const HttpHandlers& handlers) {
  const std::string url = fmt::format("{}/{}/resolve/{}/{}", access_.endpoint, revision.id,
                                      revision.commit, escaped_path(path));
  return http_.get({.url = url, .token = access_.token, .offset = offset}, handlers);
}

Result<json::value> HubClient::get_json(const std::string& url, const std::string& id,
                                        const std::string& what, std::string* next_url) {
  Retry retry(retry_);
  while (true) {
    std::string body;
    HttpHandlers handlers;
    handlers.on_head = [](const HttpHead&) { return ok_status(); };
    handlers.on_body = [&](std::string_view bytes) {
      if (bytes.size() > kListLimits.max_bytes - body.size()) {
        return resource_exhausted(
            fmt::format("{}: {}: the answer is longer than the limit of {} MiB", access_.endpoint,
                        what, kListLimits.max_bytes >> 20));
      }
      body += bytes;
      return ok_status();
    };
    const Result<HttpHead> head =
        http_.get({.url = url, .token = access_.token, .max_seconds = kListSeconds}, handlers);
    if (head.ok() && head->status == 200) {
      if (next_url != nullptr) *next_url = head->next_url;
      return parse_json(body, fmt::format("{}: {}", access_.endpoint, what), kListLimits);
    }
    const bool repeat = head.ok() ? is_retryable_status(head->status)
                                  : head.status().code() == StatusCode::kUnavailable;
    Status failure = head.ok() ? refusal(*head, id, what) : head.status();
    if (failure.code() == StatusCode::kNotFound && what.starts_with("revision")) {
      const std::string similar = similar_id(id);
      if (!similar.empty())
        failure = not_found(failure.message() + ". Did you mean " + similar + "?");
    }
    if (!repeat) return failure;
    RETURN_IF_ERROR(wait_before_retry(retry, failure, head.ok() ? head->retry_after_s : 0));
  }
}

// The right id for a wrong one: a model we know, else what the hub finds by the name. Best effort.
std::string HubClient::similar_id(const std::string& id) {
  if (const auto known = suggest_hub_id(id)) return *known;
  std::string body;
  HttpHandlers handlers;
  handlers.on_head = [](const HttpHead&) { return ok_status(); };
  handlers.on_body = [&](std::string_view bytes) {
    body += bytes;
    return body.size() > (1u << 20) ? resource_exhausted("too long") : ok_status();
  };
  const std::string name = id.substr(id.find('/') + 1);
  const std::string url =
      fmt::format("{}/api/models?search={}&limit=5", access_.endpoint, escape_url_part(name));
  const Result<HttpHead> head = http_.get({.url = url, .max_seconds = 10}, handlers);
  if (!head.ok() || head->status != 200) return {};
  const Result<json::value> list = parse_json(body, "search", kListLimits);
  if (!list.ok() || !list->is_array()) return {};
  for (const json::value& entry : list->get_array()) {
    const std::string found = text_of(entry, "id");
    if (is_hub_id(found) && !same_hub_id(found, id)) return found;
  }
  return {};
}

Status HubClient::refusal(const HttpHead& head, const std::string& id,
                          const std::string& what) const {
  const std::string& code = head.error_code;
  const std::string said =
      head.error_message.empty() ? "" : fmt::format(" ({})", head.error_message);
  if (code == "RevisionNotFound") {
    return failed_precondition(
        fmt::format("{} has no {}{}; see {}/{}/tree/main", id, what, said, access_.endpoint, id));
  }
  if (code == "EntryNotFound") {
    return failed_precondition(fmt::format("{}: {} is listed but not there{}", id, what, said));
  }
  if (code == "RepoNotFound" || (head.status == 404 && code.empty())) {
    return not_found(fmt::format("{}: no such model on {}, or not for you{}", id, access_.endpoint,
                                 access_.token.empty() ? " without HF_TOKEN" : ""));
  }
  if (head.status == 401 || head.status == 403) {
    const std::string why = code == "GatedRepo" ? "is gated" : "is private, gated or misspelt";
    const std::string next =
        access_.token.empty()
            ? fmt::format("ask for access at {}/{}, then set HF_TOKEN to a token of your account",
                          access_.endpoint, id)
            : fmt::format(
                  "the token was sent and refused: ask for access at {}/{}, or set HF_TOKEN "
                  "to another one",
                  access_.endpoint, id);
    return failed_precondition(fmt::format("{} {}{}: {}", id, why, said, next));
  }
  if (head.status == 429) {
    return unavailable(fmt::format("{}: too many requests from here; wait a while, or set HF_TOKEN",
                                   access_.endpoint));
  }
  return Status(
      is_retryable_status(head.status) ? StatusCode::kUnavailable : StatusCode::kFailedPrecondition,
      fmt::format("{}: {}: HTTP status {}{}", access_.endpoint, what, head.status, said));
}

Status HubClient::wait_before_retry(Retry& retry, const Status& failure, double asked_s) const {
  const double seconds = retry.failed(asked_s);
  if (seconds < 0) {
    return unavailable(
        fmt::format("{}. Tried {} times. Is the network up? Behind a proxy set https_proxy; where "
                    "the hub cannot "
                    "be reached set HF_ENDPOINT to a mirror (for example https://hf-mirror.com)",
                    failure.message(), retry_.max_tries));
  }
  if (note_) note_(fmt::format("{}; trying again in {:.0f} s", failure.message(), seconds));
  return retry.wait(seconds);
}

}  // namespace sparrow
