#include "tools/pull/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

namespace sparrow {

struct BlobDigest::State {
  bool sha256 = true;
  int64_t size = 0;
  bool good = false;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free};
};

BlobDigest::BlobDigest(bool sha256, int64_t size) : state_(std::make_unique<State>()) {
  state_->sha256 = sha256;
  state_->size = size;
  restart();
}
BlobDigest::~BlobDigest() = default;
BlobDigest::BlobDigest(BlobDigest&&) noexcept = default;
BlobDigest& BlobDigest::operator=(BlobDigest&&) noexcept = default;

void BlobDigest::update(std::string_view bytes) {
  state_->good =
      state_->good && EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1;
}

void BlobDigest::restart() {
  const EVP_MD* algorithm = state_->sha256 ? EVP_sha256() : EVP_sha1();
  state_->good = state_->context != nullptr &&
                 EVP_DigestInit_ex(state_->context.get(), algorithm, nullptr) == 1;
  if (!state_->sha256) {
    std::string header = fmt::format("blob {}", state_->size);
    header += '\0';
    update(header);
  }
}

Result<std::string> BlobDigest::finish() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (!state_->good || EVP_DigestFinal_ex(state_->context.get(), bytes, &length) != 1) {
    return failed_precondition(
        fmt::format("the OpenSSL library of this machine does not compute {}",
                    state_->sha256 ? "SHA-256" : "SHA-1"));
  }
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", bytes[i]);
  return hex;
}

}  // namespace sparrow
