// What a disk and a kill can do to the answer cache: it ends up usable, with whole answers only.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/answer_store.h"
#include "store/test_support.h"

namespace sparrow {
namespace {

constexpr int64_t kNow = 1'700'000'000;
constexpr uint64_t kNumKeys = 60;

// Every answer found is the right one; returns how many were found.
int count_right_answers(AnswerStore& store) {
  int num_found = 0;
  for (uint64_t number = 0; number < kNumKeys; ++number) {
    const size_t bytes = 100 + number * 97;
    if (const auto value = store.find(test_key(number), kNow)) {
      EXPECT_EQ(*value, test_value(test_key(number), bytes)) << number;
      ++num_found;
    }
  }
  return num_found;
}

AnswerEntry sized_entry(uint64_t number) { return test_entry(number, "a", 100 + number * 97); }

void fill(const std::string& path) {
  AnswerStore store({.path = path});
  for (uint64_t number = 0; number < kNumKeys; ++number) {
    ASSERT_TRUE(store.put(sized_entry(number), kNow).stored);
  }
}

bool is_right(const std::string& path) {
  sqlite3* handle = nullptr;
  sqlite3_open(path.c_str(), &handle);
  std::string verdict;
  sqlite3_exec(
      handle, "PRAGMA integrity_check",
      [](void* out, int, char** values, char**) {
        *static_cast<std::string*>(out) += values[0];
        return 0;
      },
      &verdict, nullptr);
  sqlite3_close(handle);
  return verdict == "ok";
}

// Stores for ever, a byte into the pipe after each answer. Never returns.
[[noreturn]] void store_until_killed(const std::string& path, int pipe_fd, uint64_t seed) {
  AnswerStore store({.path = path, .max_bytes = 96 << 10});  // small, so that it evicts, too
  for (uint64_t i = 0;; ++i) {
    store.put(sized_entry(random_bits(seed, 0, i) % kNumKeys), kNow);
    if (::write(pipe_fd, "x", 1) != 1) ::_exit(1);
  }
}

TEST(AnswerStoreFaults, KillDuringWriting_LeavesWholeAnswersOnly) {
  TestDirectory directory;
  const std::string path = directory.file("answers.db");
  int num_found = 0;
  for (uint64_t round = 0; round < 120; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      store_until_killed(path, ends[1], round);
    }
    ::close(ends[1]);
    // The kill comes while the child works on the answer after these.
    const uint64_t num_answers = random_bits(99, 1, round) % 30;
    char byte;
    for (uint64_t i = 0; i < num_answers; ++i) ASSERT_EQ(::read(ends[0], &byte, 1), 1);
    ::kill(child, SIGKILL);
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    EXPECT_TRUE(WIFSIGNALED(state));
    ::close(ends[0]);
    AnswerStore store({.path = path, .max_bytes = 96 << 10});
    ASSERT_TRUE(store.open(kNow).ok()) << round;
    num_found += count_right_answers(store);
    EXPECT_LE(store.stats()->bytes, 96 << 10);
  }
  EXPECT_GT(num_found, 120);
  EXPECT_TRUE(is_right(path));
  EXPECT_FALSE(std::filesystem::exists(path + ".damaged"));
}

// Runs `work` in a child whose files may not grow beyond max_bytes; true: it returned true.
template <typename Work>
bool with_small_disk(rlim_t max_bytes, Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{max_bytes, max_bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::_exit(work() ? 0 : 1);
  }
  int state = 0;
  ::waitpid(child, &state, 0);
  return WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

TEST(AnswerStoreFaults, FullDisk_SwitchesStoringOff_FindsStillWork_AndItComesBack) {
  TestDirectory directory;
  for (const rlim_t kilobytes : {0, 1, 4, 12, 40, 64, 100, 160, 300}) {
    const std::string path = directory.file(std::to_string(kilobytes));
    EXPECT_TRUE(with_small_disk(kilobytes << 10, [&] {
      AnswerStore store({.path = path, .retry_after_s = 60});
      uint64_t number = 0;
      while (number < 2000 && store.put(sized_entry(number % kNumKeys), kNow).stored) ++number;
      if (number == 2000 || store.is_writable(kNow)) return false;
      if (store.put(sized_entry(1), kNow + 59).stored) return false;  // not even tried
      if (!store.is_writable(kNow + 60)) return false;
      return count_right_answers(store) >= (number > 0 ? 1 : 0);
    })) << kilobytes;
    AnswerStore store({.path = path});  // the disk has room again
    EXPECT_TRUE(store.open(kNow).ok()) << kilobytes;
    count_right_answers(store);
    EXPECT_TRUE(store.put(sized_entry(0), kNow).stored) << kilobytes;
    EXPECT_TRUE(store.find(test_key(0), kNow).has_value());
  }
}

TEST(AnswerStoreFaults, FullDisk_ThenRoom_TheSameStoreGoesOn) {
  TestDirectory directory;
  const std::string path = directory.file("a");
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{80 << 10, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    AnswerStore store({.path = path});
    uint64_t number = 0;
    while (number < 2000 && store.put(sized_entry(number % kNumKeys), kNow).stored) ++number;
    limit.rlim_cur = RLIM_INFINITY;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const bool again = store.put(sized_entry(3), kNow + 60).stored;
    ::_exit(again && store.find(test_key(3), kNow + 60) && store.is_writable(kNow + 60) ? 0 : 1);
  }
  int state = 0;
  ::waitpid(child, &state, 0);
  EXPECT_EQ(state, 0);
}

TEST(AnswerStoreFaults, NoPlaceToWrite_IsNotFatal) {
  TestDirectory directory;
  for (const std::string& path :
       {directory.file("missing/answers.db"), directory.file("."), std::string("/proc/answers")}) {
    AnswerStore store({.path = path});
    EXPECT_FALSE(store.open(kNow).ok()) << path;
    EXPECT_FALSE(store.put(sized_entry(1), kNow).stored) << path;
    EXPECT_FALSE(store.find(test_key(1), kNow).has_value()) << path;
    EXPECT_FALSE(store.stats().ok());
    EXPECT_FALSE(store.clear().ok());
  }
  const std::string path = directory.file("later/answers.db");
  AnswerStore store({.path = path});
  EXPECT_FALSE(store.put(sized_entry(1), kNow).stored);
  std::filesystem::create_directory(directory.file("later"));
  EXPECT_FALSE(store.put(sized_entry(1), kNow + 59).stored);
  EXPECT_TRUE(store.put(sized_entry(1), kNow + 60).stored);
}

TEST(AnswerStoreFaults, LockedByAnother_SwitchesStoringOff_ReadingGoesOn) {
  TestDirectory directory;
  const std::string path = directory.file("a");
  fill(path);
  AnswerStore store({.path = path});
  ASSERT_TRUE(store.open(kNow).ok());
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_FALSE(store.put(sized_entry(1), kNow).stored);
  EXPECT_EQ(count_right_answers(store), static_cast<int>(kNumKeys));
  EXPECT_FALSE(store.is_writable(kNow));
  sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  EXPECT_TRUE(store.put(sized_entry(1), kNow + 60).stored);
}

TEST(AnswerStoreFaults, TruncatedFiles_AreMovedAsideOrGiveRightAnswersOnly) {
  TestDirectory directory;
  const std::string path = directory.file("a");
  fill(path);
  const std::string whole = read_bytes(path);
  ASSERT_GT(whole.size(), 50'000u);
  for (const size_t size :
       {size_t{1}, size_t{15}, size_t{16}, size_t{99}, size_t{100}, size_t{4095}, size_t{4096},
        size_t{8192}, size_t{20'000}, whole.size() / 2, whole.size() - 4096, whole.size() - 1}) {
    write_bytes(path, whole.substr(0, size));
    AnswerStore store({.path = path});
    const Status opened = store.open(kNow);
    EXPECT_TRUE(opened.ok()) << size << ": " << opened.message();
    count_right_answers(store);
    store.put(sized_entry(0), kNow);  // may be what finds the damage
    EXPECT_TRUE(store.put(sized_entry(0), kNow).stored) << size;
    EXPECT_EQ(store.find(test_key(0), kNow), test_value(test_key(0), 100)) << size;
  }
  EXPECT_TRUE(std::filesystem::exists(path + ".damaged"));
}

TEST(AnswerStoreFaults, RandomlyDamagedFiles_NeverGiveAWrongAnswer) {
  TestDirectory directory;
  const std::string path = directory.file("a");
  fill(path);
  const std::string whole = read_bytes(path);
  int num_usable = 0;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    std::string bytes = whole;
    const uint64_t num_changes = 1 + random_bits(seed, 0, 0) % 200;
    for (uint64_t i = 1; i <= num_changes; ++i) {
      const size_t at = 16 + random_bits(seed, 1, i) % (bytes.size() - 16);
      bytes[at] = static_cast<char>(random_bits(seed, 2, i));
    }
    write_bytes(path, bytes);
    std::filesystem::remove(path + "-wal");
    AnswerStore store({.path = path});
    const bool opened = store.open(kNow).ok();
    count_right_answers(store);
    // A put() that finds the damage begins a new file; the rounds after it fill that one.
    for (uint64_t i = 0; i < 60; ++i) store.put(sized_entry(i % 20), kNow);
    const int num_found = count_right_answers(store);
    // The header may now name another program, or a file that is only read: then it is left alone.
    EXPECT_TRUE(num_found >= 20 || !opened || !store.is_writable(kNow)) << "seed " << seed;
    num_usable += num_found >= 20 ? 1 : 0;
  }
  EXPECT_GT(num_usable, 130);
}

TEST(AnswerStoreFaults, FilesOfSomethingElse_AreLeftAlone) {
  TestDirectory directory;
  const std::string text_path = directory.file("notes.txt");
  write_bytes(text_path, "my only copy of something");
  AnswerStore text_store({.path = text_path});
  EXPECT_FALSE(text_store.open(kNow).ok());
  EXPECT_FALSE(text_store.put(sized_entry(1), kNow).stored);
  EXPECT_EQ(read_bytes(text_path), "my only copy of something");

  const std::string other_path = directory.file("other.db");
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(other_path.c_str(), &other), SQLITE_OK);
  sqlite3_exec(other, "CREATE TABLE precious(x)", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  const std::string before = read_bytes(other_path);
  AnswerStore other_store({.path = other_path});
  const Status status = other_store.open(kNow);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("left alone"), std::string::npos) << status.message();
  EXPECT_EQ(read_bytes(other_path), before);
}

// A trigger or view in a file from elsewhere would run with our statements.
TEST(AnswerStoreFaults, AForeignTrigger_MakesTheFileDamaged) {
  TestDirectory directory;
  const std::string path = directory.file("a");
  fill(path);
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(
                other, "CREATE TRIGGER evil AFTER INSERT ON answers BEGIN DELETE FROM secret; END",
                nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(other);
  AnswerStore store({.path = path});
  EXPECT_TRUE(store.open(kNow).ok());
  EXPECT_TRUE(std::filesystem::exists(path + ".damaged"));
  EXPECT_EQ(store.stats()->num_answers, 0);
}

TEST(AnswerStoreFaults, SumsOfAHostileFile_DoNotEndlesslyEvict) {
  for (const char* change :
       {"UPDATE owners SET bytes = 9223372036854775807", "UPDATE owners SET bytes = -5000000000",
        "DELETE FROM owners", "UPDATE answers SET used = 9223372036854775807",
        "UPDATE answers SET created = 9223372036854775807", "DELETE FROM secret",
        "UPDATE secret SET value = x'00'", "UPDATE answers SET value = zeroblob(3000000)"}) {
    TestDirectory directory;
    const std::string path = directory.file("a");
    fill(path);
    sqlite3* other = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &other), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(other, change, nullptr, nullptr, nullptr), SQLITE_OK) << change;
    sqlite3_close(other);
    AnswerStore store({.path = path, .max_bytes = 64 << 10});
    EXPECT_TRUE(store.open(kNow).ok()) << change;
    count_right_answers(store);
    bool stored = false;
    for (int attempt = 0; attempt < 3 && !stored; ++attempt) {
      stored = store.put(sized_entry(1), kNow).stored;
    }
    EXPECT_TRUE(stored) << change;
    EXPECT_TRUE(store.find(test_key(1), kNow).has_value()) << change;
  }
}

}  // namespace
}  // namespace sparrow
