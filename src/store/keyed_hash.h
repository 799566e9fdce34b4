#pragma once
// keyed_hash: 128 bits of a text under a secret, so that nobody who does not know the secret can
// make two texts collide. SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012).
// Stateless, thread-safe.

#include <array>
#include <cstdint>
#include <string_view>

namespace sparrow {

using HashSecret = std::array<uint64_t, 2>;
using Hash128 = std::array<uint64_t, 2>;

Hash128 keyed_hash(const HashSecret& secret, std::string_view text);

}  // namespace sparrow
