#pragma once
// Constants of the exponential shared by all instruction sets: range reduction by ln 2 in two parts
// and the polynomial of Cephes expf (Moshier, netlib cephes/single/expf.c).

#include <stdint.h>

namespace sparrow {

constexpr float kExpHigh = 88.0f;
constexpr float kExpLow = -87.3f;  // exp() is still a normal number
constexpr float kExpLog2E = 1.44269504088896341f;
constexpr float kExpMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
constexpr uint32_t kExpMagicBits = 0x4b400000u;
constexpr float kExpLn2High = -0.693359375f;
constexpr float kExpLn2Low = 2.12194440e-4f;
constexpr float kExpPoly[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                               4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

// Rows below this magnitude quantize to zero: 127 / absmax must stay finite.
constexpr float kQuantizeMinimum = 1e-30f;

}  // namespace sparrow
