#include "tools/synth/random_weights.h"

#include "base/check.h"
#include "base/random.h"

namespace sparrow {
namespace {

constexpr float kStandardDeviation = 0.02f;
// The sum of four uniform bytes: mean 510, variance 4 * (256^2 - 1) / 12. Close enough to a normal
// distribution, with no tail that a quantized block would suffer from, at one hash per two values.
constexpr float kMean = 510.0f;
constexpr float kSumDeviation = 147.80f;
constexpr float kScale = kStandardDeviation / kSumDeviation;

float from_bytes(uint32_t bits) {
  // Bytes 0 + 2 and 1 + 3 side by side, then both halves together.
  const uint32_t pairs = (bits & 0x00ff00ffu) + ((bits >> 8) & 0x00ff00ffu);
  const uint32_t sum = (pairs & 0xffffu) + (pairs >> 16);
  return (static_cast<float>(static_cast<int32_t>(sum)) - kMean) * kScale;
}

}  // namespace

uint64_t weight_stream(uint64_t seed, std::string_view tensor_name) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : tensor_name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return mix64(mix64(seed) ^ hash);
}

void fill_random_weights(uint64_t stream, int64_t begin, int64_t count, float offset, float* out) {
  CHECK(begin >= 0 && begin % 2 == 0);
  // SplitMix64 proper: the finaliser over an arithmetic sequence.
  uint64_t counter = stream + static_cast<uint64_t>(begin / 2) * 0x9E3779B97F4A7C15u;
  int64_t i = 0;
  for (; i + 1 < count; i += 2, counter += 0x9E3779B97F4A7C15u) {
    const uint64_t bits = mix64(counter);
    out[i] = offset + from_bytes(static_cast<uint32_t>(bits));
    out[i + 1] = offset + from_bytes(static_cast<uint32_t>(bits >> 32));
  }
  if (i < count) out[i] = offset + from_bytes(static_cast<uint32_t>(mix64(counter)));
}

}  // namespace sparrow
