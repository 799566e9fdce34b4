#pragma once
// Where tests find the data that is not part of the tree, and a place for what they write.

#include <cstdlib>
#include <filesystem>
#include <string>

namespace sparrow {

// SPARROW_TEST_DATA or ../shared/data (tests run in the root of the tree).
inline std::string test_data_path(const std::string& name) {
  const char* root = std::getenv("SPARROW_TEST_DATA");
  return std::string(root != nullptr ? root : "../shared/data") + "/" + name;
}

// An empty directory, removed with everything in it at the end of the scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sparrow-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace sparrow
