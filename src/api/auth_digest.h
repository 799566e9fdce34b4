#pragma once
// What is kept of an API key: its SHA-256 where this build has OpenSSL, else the key itself.
// Stateless, thread-safe.

#include <string>
#include <string_view>

namespace sparrow::api {

// False: key_digest() returns the key as it is, and key files are refused.
bool keys_are_hashed();
// 32 bytes.
std::string key_digest(std::string_view key);
std::string to_hex(std::string_view bytes);
// Empty unless `hex` is an even number of hexadecimal digits.
std::string from_hex(std::string_view hex);

// Time depends on the lengths only, not on where the texts differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace sparrow::api
