#pragma once
// ApiKeys: who may call, and whom a request belongs to. Keys come as "Authorization: Bearer KEY"
// or as "x-api-key: KEY", with the same rights. Health endpoints need none. Only digests are kept;
// a presented key is compared with all of them, each in constant time.
//
// The key file can change while serving: reload() takes the new keys as a whole, or keeps the old
// ones and says why. A revoked key is refused from the next request on. Thread-safe.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/caller.h"
#include "api/errors.h"
#include "base/file.h"
#include "base/status.h"
#include "http/http_types.h"

namespace sparrow::api {

struct KeySources {
  std::vector<std::string> api_keys;    // --api-key
  std::vector<std::string> admin_keys;  // --admin-key
  std::string file;                     // --api-key-file, see auth_key_file.h
};

class ApiKeys {
 public:
  // The file is not read yet: until reload() nobody but the given keys is let in.
  explicit ApiKeys(const KeySources& sources);

  // Reads the file and logs what came of it. The error names file and line; what clients may hear
  // of it is in the log only. Nothing happens without a file.
  Status reload();
  // The same if the file is another than the one last looked at.
  void reload_if_changed();

  // Requests need a key. An admin key alone does not close the API for others.
  bool enabled() const { return enabled_; }
  size_t num_keys() const;
  MaybeError check(const http::Request& request) const;
  // Of a request that passed check(), even if its key was revoked just now.
  Caller caller_of(const http::Request& request) const;
  // Admin endpoints: an admin key; where there is none at all, this machine itself, if the server
  // is bound to a loopback address. Never a page in a browser.
  MaybeError check_admin(const http::Request& request, bool bound_to_loopback) const;

 private:
  struct Key {
    std::string digest;
    Caller caller;
  };
  struct Table {
    std::vector<Key> keys;
    bool has_admin = false;
  };

  static const Key* find(const Table& table, const http::Request& request);
  std::shared_ptr<const Table> table() const;
  void add_key(Table& table, std::string digest, Caller caller);
  Status replace_table();

  const std::string file_;
  const bool enabled_;
  Table given_;  // from the command line

  std::mutex reload_mutex_;
  std::optional<FileStamp> stamp_;            // guarded by reload_mutex_
  std::map<std::string, std::string> salts_;  // by tenant, of this process; reload_mutex_
  mutable std::mutex mutex_;
  std::shared_ptr<const Table> table_;     // guarded by mutex_
  std::shared_ptr<const Table> previous_;  // guarded by mutex_; for requests on their way
};

// By its headers. A proxy on this machine makes everybody look local.
bool came_through_a_proxy(const http::Request& request);

}  // namespace sparrow::api
