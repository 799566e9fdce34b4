#pragma once
// For tests of this folder: a new empty directory that is removed at the end, and answers whose
// value follows from the key, so that a torn or mixed-up one is seen.

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/check.h"
#include "base/random.h"
#include "store/answer_store.h"

namespace sparrow {

class TestDirectory {
 public:
  TestDirectory() {
    // In memory where possible: these tests are about what is written, not about waiting for disks.
    std::error_code error;
    const bool has_memory_disk = std::filesystem::is_directory("/dev/shm", error);
    const std::filesystem::path base =
        has_memory_disk ? "/dev/shm" : std::filesystem::temp_directory_path();
    std::string pattern = (base / "sparrow_XXXXXX").string();
    const char* made = ::mkdtemp(pattern.data());
    CHECK(made != nullptr);
    path_ = pattern;
  }
  ~TestDirectory() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string test_key(uint64_t number, size_t bytes = 40) {
  std::string key = "key " + std::to_string(number) + " ";
  while (key.size() < bytes)
    key += static_cast<char>('a' + random_bits(1, number, key.size()) % 26);
  return key;
}

inline std::string test_value(const std::string& key, size_t bytes = 200) {
  std::string value = "answer to " + key;
  while (value.size() < bytes) value += value.substr(0, bytes - value.size());
  return value;
}

inline AnswerEntry test_entry(uint64_t number, const std::string& owner = "a", size_t bytes = 200) {
  const std::string key = test_key(number);
  return {
      .owner = owner, .listed = false, .label = {}, .key = key, .value = test_value(key, bytes)};
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace sparrow
