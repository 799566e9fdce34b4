#pragma once
// What a test can ask about its own process: open files, resident memory.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string>

namespace sparrow {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kUnderSanitizer = true;  // resident memory says nothing there
#else
inline constexpr bool kUnderSanitizer = false;
#endif

inline size_t num_open_files() {
  using Iterator = std::filesystem::directory_iterator;
  // The listing itself has one open.
  return static_cast<size_t>(std::distance(Iterator("/proc/self/fd"), Iterator())) - 1;
}

// Of a process, this one by default; 0 when it cannot be read.
inline size_t resident_bytes(const char* process = "self") {
  const std::string path = std::string("/proc/") + process + "/statm";
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return 0;
  size_t total = 0, resident = 0;
  const int num_read = std::fscanf(file, "%zu %zu", &total, &resident);
  std::fclose(file);
  return num_read == 2 ? resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace sparrow
