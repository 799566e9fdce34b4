#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/mapped_file.h"

namespace sparrow {
namespace {

std::string temporary(const char* name) {
  return (std::filesystem::temp_directory_path() /
          (std::string("sparrow-file-") + std::to_string(::getpid()) + name))
      .string();
}

TEST(File, WriteThenRead_GivesTheSameBytes) {
  const std::string path = temporary("a");
  for (const size_t size : {0u, 1u, 4095u, 4096u, 4097u, 100000u}) {
    const std::string content(size, 'x');
    ASSERT_TRUE(write_file_atomically(path, content).ok());
    const auto read = read_file(path, 100000);
    ASSERT_TRUE(read.ok()) << read.message();
    EXPECT_EQ(*read, content);
    if (size > 0) {
      EXPECT_FALSE(read_file(path, size - 1).ok());
    }
  }
  std::filesystem::remove(path);
}

TEST(File, ProcFile_HasContentThoughItsSizeIsZero) {
  const auto text = read_file("/proc/self/status", 1u << 20);
  ASSERT_TRUE(text.ok()) << text.message();
  EXPECT_NE(text->find("Pid:"), std::string::npos);
}

TEST(File, MissingAndDirectory_AreNamed) {
  const auto missing = read_file("/no/such/file", 10);
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.message().find("/no/such/file"), std::string::npos);
  EXPECT_NE(read_file("/tmp", 10).message().find("not a regular file"), std::string::npos);
  EXPECT_NE(MappedFile::open("/tmp").message().find("not a regular file"), std::string::npos);
}

TEST(MappedFile, Bytes_AreThoseOfTheFile) {
  const std::string path = temporary("b");
  ASSERT_TRUE(write_file_atomically(path, "hello").ok());
  auto mapped = MappedFile::open(path);
  ASSERT_TRUE(mapped.ok());
  const MappedFile moved = std::move(*mapped);
  ASSERT_EQ(moved.size_bytes(), 5u);
  EXPECT_EQ(static_cast<char>(moved.bytes()[1]), 'e');
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sparrow
