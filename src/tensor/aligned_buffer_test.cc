#include "tensor/aligned_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace sparrow {
namespace {

TEST(AlignedBuffer, AnySize_IsAlignedAndZero) {
  for (const size_t size : {size_t{1}, size_t{4097}, size_t{3} << 20}) {
    Result<AlignedBuffer> buffer = AlignedBuffer::try_allocate(size, "test");
    ASSERT_TRUE(buffer.ok()) << buffer.message();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % AlignedBuffer::kAlignment, 0u);
    ASSERT_EQ(buffer->size_bytes(), size);
    for (const std::byte byte : buffer->bytes()) ASSERT_EQ(byte, std::byte{0});
    buffer->data()[size - 1] = std::byte{1};
  }
}

TEST(AlignedBuffer, ImpossibleSize_IsRefusedByName) {
  for (const size_t size : {~size_t{0}, size_t{1} << 60}) {
    const Result<AlignedBuffer> buffer = AlignedBuffer::try_allocate(size, "KV blocks");
    ASSERT_FALSE(buffer.ok());
    EXPECT_EQ(buffer.status().code(), StatusCode::kResourceExhausted);
    EXPECT_NE(buffer.message().find("KV blocks"), std::string::npos);
  }
}

TEST(AlignedBuffer, Move_TakesTheMemory) {
  AlignedBuffer first = AlignedBuffer::try_allocate(100, "test").value();
  const std::byte* address = first.data();
  AlignedBuffer second = std::move(first);
  EXPECT_EQ(second.data(), address);
  EXPECT_EQ(second.size_bytes(), 100u);
  EXPECT_EQ(AlignedBuffer::try_allocate(0, "test").value().size_bytes(), 0u);
}

}  // namespace
}  // namespace sparrow
