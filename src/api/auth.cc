#include "api/auth.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/auth_digest.h"
#include "api/auth_key_file.h"
#include "base/log.h"
#include "base/random.h"
#include "http/access.h"

namespace sparrow::api {
namespace {

constexpr std::string_view kOpenPaths[] = {"/health", "/ping", "/livez", "/readyz"};

bool contains(const auto& list, std::string_view path) {
  return std::find(std::begin(list), std::end(list), path) != std::end(list);
}

std::string_view bearer_token(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() < kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = header[i];
    const char low = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (low != kScheme[i]) return {};
  }
  header.remove_prefix(kScheme.size());
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  return header;
}

bool names_a_key(const http::Request& request) {
  return !bearer_token(request.header("authorization")).empty() ||
         !request.header("x-api-key").empty();
}

// The log calls a key of the command line by the beginning of its digest.
std::string tenant_of_bare_key(const std::string& digest, size_t index) {
  constexpr size_t kShownBytes = 4;
  if (!keys_are_hashed()) return fmt::format("key-{}", index + 1);
  return "key-" + to_hex(digest.substr(0, kShownBytes));
}

void warn_about(const std::string& file, const FileStamp& stamp, const std::vector<KeyLine>& keys) {
  if (stamp.world_readable) {
    log_warning("{} can be read by everybody on this machine: chmod 600 {}", file, file);
  }
  for (const KeyLine& key : keys) {
    if (!key.is_plain) continue;
    log_warning("{}:{}: the file holds the key itself; `sparrow key` makes a line without it", file,
                key.line);
  }
}

}  // namespace

ApiKeys::ApiKeys(const KeySources& sources)
    : file_(sources.file),
      enabled_(!sources.file.empty() ||
               std::any_of(sources.api_keys.begin(), sources.api_keys.end(),
                           [](const std::string& key) { return !key.empty(); })) {
  for (size_t i = 0; i < sources.api_keys.size(); ++i) {
    if (sources.api_keys[i].empty()) continue;
    std::string digest = key_digest(sources.api_keys[i]);
    Caller caller;
    caller.tenant = tenant_of_bare_key(digest, i);
    add_key(given_, std::move(digest), std::move(caller));
  }
  for (const std::string& key : sources.admin_keys) {
    if (key.empty()) continue;
    Caller caller;
    caller.tenant = "admin";
    caller.is_admin = true;
    add_key(given_, key_digest(key), std::move(caller));
  }
  table_ = std::make_shared<const Table>(given_);
}

void ApiKeys::add_key(Table& table, std::string digest, Caller caller) {
  std::string& salt = salts_[caller.tenant];
  if (salt.empty()) salt = fmt::format("{:016x}{:016x}", entropy64(), entropy64());
  caller.cache_salt = salt;
  table.has_admin |= caller.is_admin;
  table.keys.push_back({std::move(digest), std::move(caller)});
}

std::shared_ptr<const ApiKeys::Table> ApiKeys::table() const {
  std::lock_guard lock(mutex_);
  return table_;
}

size_t ApiKeys::num_keys() const { return table()->keys.size(); }

Status ApiKeys::reload() {
  if (file_.empty()) return ok_status();
  std::lock_guard lock(reload_mutex_);
  const Status status = replace_table();
  if (!status.ok()) log_error("{}; the keys stay as they were", status.message());
  return status;
}

void ApiKeys::reload_if_changed() {
  if (file_.empty()) return;
  const Result<FileStamp> stamp = file_stamp(file_);
  std::lock_guard lock(reload_mutex_);
  // One that is gone for a moment is being replaced.
  if (!stamp.ok() || (stamp_ && *stamp_ == *stamp)) return;
  const Status status = replace_table();
  if (!status.ok()) log_error("{}; the keys stay as they were", status.message());
}

Status ApiKeys::replace_table() {
  if (!keys_are_hashed()) {
    return unimplemented(
        "--api-key-file: this build cannot hash keys: it was configured without OpenSSL (package "
        "libssl-dev); use --api-key or SPARROW_API_KEY");
  }
  // The stamp first: a file that changes while it is read is read again.
  ASSIGN_OR_RETURN(const FileStamp stamp, file_stamp(file_));
  stamp_ = stamp;
  ASSIGN_OR_RETURN(const std::string text, read_file(file_, kMaxKeyFileBytes));
  const Result<std::vector<KeyLine>> lines = parse_key_file(text);
  if (!lines.ok()) {
    constexpr std::string_view kPrefix = "line ";
    return invalid_argument(fmt::format("{}:{}", file_, lines.message().substr(kPrefix.size())));
  }
  Table next = given_;
  for (const KeyLine& line : *lines) {
    Caller caller;
    caller.tenant = line.name;
    caller.limits = line.limits;
    caller.is_admin = line.is_admin;
    add_key(next, line.digest, std::move(caller));
  }
  // Salts of tenants that are gone are forgotten with them.
  std::erase_if(salts_, [&](const auto& salt) {
    return std::none_of(next.keys.begin(), next.keys.end(),
                        [&](const Key& key) { return key.caller.tenant == salt.first; });
  });
  warn_about(file_, stamp, *lines);
  log_info("{}: {} keys", file_, lines->size());
  std::lock_guard lock(mutex_);
  previous_ = std::exchange(table_, std::make_shared<const Table>(std::move(next)));
  return ok_status();
}

const ApiKeys::Key* ApiKeys::find(const Table& table, const http::Request& request) {
  if (table.keys.empty()) return nullptr;
  const Key* found = nullptr;
  // Clients that fill in both often have a dummy in one of them.
  for (const std::string_view key :
       {request.header("x-api-key"), bearer_token(request.header("authorization"))}) {
    if (key.empty() || key.size() > kMaxKeyBytes) continue;
    const std::string digest = key_digest(key);
    for (const Key& one : table.keys) {
      const bool same = equal_in_constant_time(one.digest, digest);
      found = same ? &one : found;
    }
  }
  return found;
}

MaybeError ApiKeys::check(const http::Request& request) const {
  if (!enabled() || contains(kOpenPaths, request.path)) return std::nullopt;
  if (find(*table(), request) != nullptr) return std::nullopt;
  return invalid_api_key(!names_a_key(request));
}

Caller ApiKeys::caller_of(const http::Request& request) const {
  std::unique_lock lock(mutex_);
  const std::shared_ptr<const Table> table = table_;
  const std::shared_ptr<const Table> previous = previous_;
  lock.unlock();
  if (const Key* key = find(*table, request)) return key->caller;
  if (previous != nullptr) {
    if (const Key* key = find(*previous, request)) return key->caller;
  }
  return {};
}

MaybeError ApiKeys::check_admin(const http::Request& request, bool bound_to_loopback) const {
  if (!request.header("origin").empty()) {
    return permission_denied("Admin endpoints do not answer pages in a browser.");
  }
  const std::shared_ptr<const Table> table = this->table();
  if (table->has_admin) {
    const Key* key = find(*table, request);
    if (key == nullptr) return invalid_api_key(!names_a_key(request));
    if (key->caller.is_admin) return std::nullopt;
    return permission_denied("This key may not use the admin endpoints; an admin key may.");
  }
  const bool is_local = http::is_loopback_address(request.remote_address);
  if (bound_to_loopback && is_local && !came_through_a_proxy(request)) return check(request);
  return permission_denied(
      "Admin endpoints need an admin key here: start the server with --admin-key, or mark a key as "
      "admin in --api-key-file.");
}

bool came_through_a_proxy(const http::Request& request) {
  for (const char* name : {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
                           "x-real-ip", "via"}) {
    if (!request.header(name).empty()) return true;
  }
  return false;
}

}  // namespace sparrow::api
