#pragma once
// The files of a repository as a hub lists them, and which of them a model needs. The list comes
// from an untrusted server: bounded, names checked, hashes must look like hashes. Sizes in bytes.
// Stateless, thread-safe.

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sparrow {

struct HubFile {
  std::string path;  // inside the repository; checked by check_file_name
  int64_t size = 0;  // bytes of the content
  std::string etag;  // name of the blob: sha256 of an LFS file, git blob id (sha1) of another
  bool lfs = false;  // etag is a sha256
};

// Relative, no "." or "..", no backslash, no control character, valid UTF-8, bounded.
Status check_file_name(std::string_view path);

// Appends one page of the answer of /api/models/ID/tree/COMMIT?recursive=true; folders are left
// out.
Status append_file_list(const boost::json::value& page, std::vector<HubFile>& files);

// What `sparrow serve` reads, smallest first: `gguf` alone when it is not empty; else config,
// tokenizer, template and the safetensors files in the top folder. The error says what the
// repository offers instead.
Result<std::vector<HubFile>> select_files(const std::vector<HubFile>& files,
                                          const std::string& gguf);

}  // namespace sparrow
