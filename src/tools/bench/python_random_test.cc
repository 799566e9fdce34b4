#include "tools/bench/python_random.h"

#include <gtest/gtest.h>

#include <vector>

namespace sparrow {
namespace {

// All values were printed by CPython 3.11: random.seed(n), three getrandbits(32), 1,300 more that
// nobody looks at (two refills of the state), then one of 32 bits, one of 1 and one of 14.
struct Golden {
  uint64_t seed;
  uint32_t first[3];
  uint32_t late32, late1, late14;
};
constexpr Golden kGoldens[] = {
    {0, {3626764237u, 1654615998u, 3255389356u}, 3811075795u, 1, 3534},
    {1, {577090037u, 2444712010u, 3639700191u}, 1012481663u, 1, 4647},
    {uint64_t{1} << 32, {485306839u, 1508871100u, 1794561286u}, 4052002403u, 1, 14935},
    {1234567890123u, {3532746698u, 3180869644u, 867419813u}, 3550219638u, 1, 13714},
    {~uint64_t{0}, {93740670u, 1068495656u, 1452108352u}, 4219852749u, 1, 50},
};

TEST(PythonRandom, BitsOfEverySeed_AreThoseOfPython) {
  for (const Golden& golden : kGoldens) {
    PythonRandom random(golden.seed);
    for (const uint32_t expected : golden.first) {
      EXPECT_EQ(random.getrandbits(32), expected) << "seed " << golden.seed;
    }
    for (int i = 0; i < 1300; ++i) random.getrandbits(32);
    EXPECT_EQ(random.getrandbits(32), golden.late32) << "seed " << golden.seed;
    EXPECT_EQ(random.getrandbits(1), golden.late1) << "seed " << golden.seed;
    EXPECT_EQ(random.getrandbits(14), golden.late14) << "seed " << golden.seed;
  }
}

TEST(PythonRandom, Integers_AreThoseOfPython) {
  PythonRandom random(7);
  const auto draw = [&](int64_t low, int64_t high, int count) {
    std::vector<int64_t> drawn;
    for (int i = 0; i < count; ++i) drawn.push_back(random.randint(low, high));
    return drawn;
  };
  using Drawn = std::vector<int64_t>;
  EXPECT_EQ(draw(100, 1024, 8), (Drawn{431, 254, 504, 766, 149, 174, 940, 648}));
  // 256 values: nine bits are drawn, and half of them thrown away.
  EXPECT_EQ(draw(0, 255, 6), (Drawn{48, 187, 29, 109, 19, 44}));
  EXPECT_EQ(draw(-3, 3, 6), (Drawn{0, 0, -3, -2, -3, 1}));
  EXPECT_EQ(draw(5, 5, 1), (Drawn{5}));
  EXPECT_EQ(draw(0, 4294967294, 1), (Drawn{253877686}));
}

}  // namespace
}  // namespace sparrow
