// The twin's matrix units: fragments lie as the PTX ISA says, written down here once more, from the
// tables of its section on m16n8k16; and a copy is not there before its wait.
#include "kernels/cuda/mma.cuh"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "kernels/cuda/gpu_test_support.h"

namespace sparrow::gpu_twin {
namespace {

struct DirectQueue final : TwinQueue {
  void add(std::function<void()> work) override { work(); }
  GpuStream stream() { return {static_cast<TwinQueue*>(this)}; }
};

// Integers of up to 8 bits: exact in bf16 and fp16, and so are their sums in fp32.
std::vector<int> small_integers(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int> values(count);
  for (int& value : values) value = static_cast<int>(random() % 255) - 127;
  return values;
}

template <typename T>
uint16_t bits_of(int value) {
  T half;
  from_float(static_cast<float>(value), half);
  return half.bits;
}

// Element numbers as in the PTX ISA: a0..a7, b0..b3, c0..c3 of a lane.
int row_of_a(int lane, int i) { return lane / 4 + (i == 2 || i == 3 || i >= 6 ? 8 : 0); }
int column_of_a(int lane, int i) { return lane % 4 * 2 + (i & 1) + (i < 4 ? 0 : 8); }
int row_of_b(int lane, int i) { return lane % 4 * 2 + (i & 1) + (i < 2 ? 0 : 8); }
int row_of_c(int lane, int i) { return lane / 4 + (i < 2 ? 0 : 8); }

template <typename T>
__global__ void product_kernel(const uint16_t* a, const uint16_t* b, const float* c, float* out) {
  const int lane = static_cast<int>(threadIdx.x);
  FragmentA fragment_a = {};
  FragmentB fragment_b = {};
  FragmentC sums;
  for (int i = 0; i < 8; ++i) {
    const unsigned bits = a[row_of_a(lane, i) * 16 + column_of_a(lane, i)];
    fragment_a.a[i / 2] |= bits << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) {
    const unsigned bits = b[row_of_b(lane, i) * 8 + lane / 4];
    fragment_b.b[i / 2] |= bits << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) sums.c[i] = c[row_of_c(lane, i) * 8 + lane % 4 * 2 + i % 2];
  multiply_add<T>(fragment_a, fragment_b, sums);
  for (int i = 0; i < 4; ++i) out[row_of_c(lane, i) * 8 + lane % 4 * 2 + i % 2] = sums.c[i];
}

template <typename T>
void expect_product() {
  const std::vector<int> a = small_integers(16 * 16, 1), b = small_integers(16 * 8, 2);
  std::vector<uint16_t> a_bits, b_bits;
  for (const int value : a) a_bits.push_back(bits_of<T>(value));
  for (const int value : b) b_bits.push_back(bits_of<T>(value));
  std::vector<float> c(16 * 8), out(16 * 8);
  for (size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i * i);
  DirectQueue queue;
  launch(queue.stream(), Dim3{1}, Dim3{32}, 0, product_kernel<T>, a_bits.data(), b_bits.data(),
         c.data(), out.data());
  for (size_t row = 0; row < 16; ++row) {
    for (size_t column = 0; column < 8; ++column) {
      int sum = static_cast<int>(c[row * 8 + column]);
      for (size_t k = 0; k < 16; ++k) sum += a[row * 16 + k] * b[k * 8 + column];
      EXPECT_EQ(out[row * 8 + column], static_cast<float>(sum)) << row << ", " << column;
    }
  }
}

TEST(Mma, FragmentsOfTheIsa_GiveTheProduct) {
  expect_product<BF16>();
  expect_product<F16>();
}

// Loads both operands from shared memory; each warp of the block has its own.
__global__ void load_kernel(const uint16_t* values, unsigned* a_out, unsigned* b_out) {
  constexpr int kPitch = 24;
  uint16_t* shared = dynamic_shared<uint16_t>();
  for (int i = static_cast<int>(threadIdx.x); i < 16 * 16; i += 32) {
    shared[i / 16 * kPitch + i % 16] = values[i];
  }
  __syncthreads();
  FragmentA a;
  FragmentB first, second;
  load_fragment_a(shared, kPitch, a);
  load_fragments_b(shared, kPitch, first, second);
  for (int i = 0; i < 4; ++i) a_out[threadIdx.x * 4 + i] = a.a[i];
  for (int i = 0; i < 2; ++i) {
    b_out[threadIdx.x * 4 + i] = first.b[i];
    b_out[threadIdx.x * 4 + 2 + i] = second.b[i];
  }
}

TEST(Mma, LoadedFragments_LieAsTheIsaSays) {
  std::vector<uint16_t> values(16 * 16);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
  std::vector<unsigned> a(32 * 4), b(32 * 4);
  DirectQueue queue;
  launch(queue.stream(), Dim3{1}, Dim3{32}, 16 * 24 * 2, load_kernel, values.data(), a.data(),
         b.data());
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const unsigned word = a[static_cast<size_t>(lane * 4 + i / 2)];
      EXPECT_EQ(word >> (i % 2 * 16) & 0xffff,
                static_cast<unsigned>(row_of_a(lane, i) * 16 + column_of_a(lane, i)));
    }
    // Columns of B are the rows of the memory.
    for (int i = 0; i < 8; ++i) {
      const unsigned word = b[static_cast<size_t>(lane * 4 + i / 2)];
      const int column = i / 4 * 8 + lane / 4;
      EXPECT_EQ(word >> (i % 2 * 16) & 0xffff,
                static_cast<unsigned>(column * 16 + row_of_b(lane, i % 4)));
    }
  }
}

TEST(Mma, AsyncCopies_AreThereAfterTheirWaitAndNotBefore) {
  alignas(16) int source[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  alignas(16) int target[12] = {};
  for (int& value : target) value = -1;
  AsyncCopies copies;
  copies.add(target, source, true);
  copies.commit();
  copies.add(target + 4, source + 4, true);
  copies.add(target + 8, source, false);
  copies.commit();
  EXPECT_EQ(target[0], -1);
  copies.wait<1>();
  EXPECT_EQ(target[3], 4);
  EXPECT_EQ(target[4], -1);
  copies.wait<0>();
  EXPECT_EQ(target[7], 8);
  EXPECT_EQ(target[8], 0);
}

}  // namespace
}  // namespace sparrow::gpu_twin
