#pragma once
// BlobDigest: the hash that names a blob of a hub, fed piece by piece: sha256 of the content (LFS),
// or git's blob id, sha1("blob SIZE\0" + content). Move-only; belongs to one thread.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

class BlobDigest {
 public:
  // `size` of the whole content is part of git's hash.
  BlobDigest(bool sha256, int64_t size);
  ~BlobDigest();
  BlobDigest(BlobDigest&&) noexcept;
  BlobDigest& operator=(BlobDigest&&) noexcept;

  void update(std::string_view bytes);
  // Begins anew with no content.
  void restart();
  // Lower-case hex, once. Fails only when the library refuses the algorithm.
  Result<std::string> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sparrow
