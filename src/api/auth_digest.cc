#include "api/auth_digest.h"

#ifdef SPARROW_HAS_OPENSSL
#include <openssl/evp.h>
#endif

#include "base/check.h"
#include "http/target.h"

namespace sparrow::api {
#ifdef SPARROW_HAS_OPENSSL
bool keys_are_hashed() { return true; }

std::string key_digest(std::string_view key) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int len = 0;
  CHECK(EVP_Digest(key.data(), key.size(), bytes, &len, EVP_sha256(), nullptr) == 1);
  return std::string(bytes, bytes + len);
}
#else
bool keys_are_hashed() { return false; }

std::string key_digest(std::string_view key) { return std::string(key); }
#endif

std::string to_hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

std::string from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return {};
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = http::hex_value(hex[i]);
    const int low = http::hex_value(hex[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i] ^ b[i]));
  }
  return *const_cast<const volatile unsigned*>(&difference) == 0;
}

}  // namespace sparrow::api
