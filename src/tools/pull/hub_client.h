#pragma once
// HubClient: what a Hugging Face hub (or a mirror of it) is asked: which commit a revision is,
// which files it has, their bytes. Retries broken and refused exchanges; turns the hub's refusals
// into one sentence with the next step. Belongs to one thread.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tools/pull/file_list.h"
#include "tools/pull/http_client.h"
#include "tools/pull/retry.h"

namespace sparrow {

// Where the hub is and who asks.
struct HubAccess {
  std::string endpoint = "https://huggingface.co";  // without a slash at the end
  std::string token;                                // empty: nobody
  std::string ca_file;                              // certificates to trust; empty: the system's
  int connect_timeout_s = 10;
  int stall_timeout_s = 10;
};

// HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT, and
// SSL_CERT_FILE or REQUESTS_CA_BUNDLE for a proxy with certificates of its own. Fails when
// HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, or a value is unusable.
Result<HubAccess> hub_access_from_environment();

struct HubRevision {
  std::string id;      // as the hub spells it
  std::string commit;  // 40 hex digits
};

using NoteCallback = std::function<void(const std::string&)>;

class HubClient {
 public:
  // `note` gets a line about each try that failed and is repeated.
  HubClient(HubAccess access, const RetryOptions& retry, NoteCallback note);

  Result<HubRevision> find_revision(const std::string& id, const std::string& revision);
  Result<std::vector<HubFile>> list_files(const HubRevision& revision);
  // One try; the caller (blob_download) has its own idea of progress.
  Result<HttpHead> get_file(const HubRevision& revision, const std::string& path, int64_t offset,
                            const HttpHandlers& handlers);

  // What a status of 400 and above means for the user; also for the answers of get_file.
  Status refusal(const HttpHead& head, const std::string& id, const std::string& what) const;
  // Counts and notes a failure and waits; its error when it was the last one.
  Status wait_before_retry(Retry& retry, const Status& failure, double asked_s) const;

  const RetryOptions& retry_options() const { return retry_; }
  const NoteCallback& note() const { return note_; }

 private:
  Result<boost::json::value> get_json(const std::string& url, const std::string& id,
                                      const std::string& what, std::string* next_url);
  std::string similar_id(const std::string& id);

  const HubAccess access_;
  const RetryOptions retry_;
  const NoteCallback note_;
  HttpClient http_;
};

}  // namespace sparrow
