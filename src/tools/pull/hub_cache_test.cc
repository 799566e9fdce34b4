#include "tools/pull/hub_cache.h"

#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "tests/support/test_data.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'c');

HubFile file_named(const std::string& path, const std::string& content) {
  return {path, static_cast<int64_t>(content.size()), std::string(40, 'e'), false};
}

class HubCacheTest : public ::testing::Test {
 protected:
  void put(const std::string& path, const std::string& content) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << content;
  }
  TemporaryDirectory temporary_;
  HubCache cache_{temporary_.path("hub"), "Org/Name"};
};

TEST_F(HubCacheTest, NothingIsCreatedBeforePrepare) {
  EXPECT_FALSE(fs::exists(temporary_.path("hub")));
  ASSERT_TRUE(cache_.prepare().ok());
  EXPECT_TRUE(fs::exists(temporary_.path("hub/models--Org--Name/blobs")));
  EXPECT_TRUE(fs::exists(temporary_.path("hub/CACHEDIR.TAG")));
  ASSERT_TRUE(cache_.prepare().ok());
}

TEST_F(HubCacheTest, Links_AreRelativeAtAnyDepth) {
  ASSERT_TRUE(cache_.prepare().ok());
  for (const char* name : {"config.json", "sub/deep/a.gguf"}) {
    const HubFile file = file_named(name, "content");
    put(cache_.blob_path(file), "content");
    EXPECT_FALSE(cache_.is_linked(kCommit, file));
    ASSERT_TRUE(cache_.link(kCommit, file).ok());
    EXPECT_TRUE(cache_.is_linked(kCommit, file));
    const std::string path = cache_.snapshot_path(kCommit) + "/" + name;
    EXPECT_TRUE(fs::read_symlink(path).is_relative());
    EXPECT_EQ(*read_file(path, 100), "content");
  }
  fs::rename(temporary_.path("hub"), temporary_.path("moved"));
  EXPECT_EQ(*read_file(temporary_.path("moved/models--Org--Name/snapshots/" + kCommit +
                                       "/sub/deep/a.gguf"),
                       100),
            "content");
}

TEST_F(HubCacheTest, WrongLink_IsReplaced_AndAPlainFileOfTheRightSizeStays) {
  ASSERT_TRUE(cache_.prepare().ok());
  const HubFile file = file_named("config.json", "content");
  const std::string path = cache_.snapshot_path(kCommit) + "/config.json";
  fs::create_directories(cache_.snapshot_path(kCommit));
  fs::create_symlink("../../blobs/other", path);
  ASSERT_TRUE(cache_.link(kCommit, file).ok());
  EXPECT_TRUE(cache_.is_linked(kCommit, file));
  fs::remove(path);
  put(path, "content");
  ASSERT_TRUE(cache_.link(kCommit, file).ok());
  EXPECT_FALSE(fs::is_symlink(path));
}

TEST_F(HubCacheTest, ABlobCountsOnlyInItsFullSize) {
  ASSERT_TRUE(cache_.prepare().ok());
  const HubFile file = file_named("a", "content");
  put(cache_.blob_path(file), "cont");
  EXPECT_FALSE(cache_.has_blob(file));
  put(cache_.blob_path(file), "content");
  EXPECT_TRUE(cache_.has_blob(file));
  put(cache_.incomplete_path(file), "con");
  EXPECT_EQ(cache_.incomplete_bytes(file), 3);
}

TEST_F(HubCacheTest, Refs) {
  ASSERT_TRUE(cache_.prepare().ok());
  EXPECT_EQ(cache_.read_ref("main"), "");
  ASSERT_TRUE(cache_.write_ref("main", kCommit).ok());
  EXPECT_EQ(cache_.read_ref("main"), kCommit);
  ASSERT_TRUE(cache_.write_ref("refs/pr/1", kCommit).ok());
  EXPECT_EQ(*read_file(cache_.folder() + "/refs/refs/pr/1", 100), kCommit);
  ASSERT_TRUE(cache_.write_ref(kCommit, kCommit).ok());
  EXPECT_FALSE(fs::exists(cache_.folder() + "/refs/" + kCommit)) << "a commit needs no name";
  put(cache_.folder() + "/refs/odd", "../../..");
  EXPECT_EQ(cache_.read_ref("odd"), "");
}

TEST_F(HubCacheTest, ALockHeldElsewhere_IsWaitedFor_UntilStopped) {
  ASSERT_TRUE(cache_.prepare().ok());
  const std::string path = cache_.lock_path(file_named("a", "x"));
  std::atomic<bool> stop{false};
  int waits = 0;
  const auto waiting = [&] {
    ++waits;
    stop = true;
  };
  {
    auto lock = BlobLock::acquire(path, nullptr, {});
    ASSERT_TRUE(lock.ok()) << lock.message();
    const auto second = BlobLock::acquire(path, &stop, waiting);
    EXPECT_EQ(second.status().code(), StatusCode::kCancelled);
    EXPECT_EQ(waits, 1);
  }
  stop = false;
  EXPECT_TRUE(BlobLock::acquire(path, &stop, waiting).ok());
  EXPECT_EQ(waits, 1);
}

TEST_F(HubCacheTest, FreeSpace_IsCheckedWithAReserve) {
  constexpr int64_t kGb = 1'000'000'000;
  EXPECT_TRUE(check_free_space("/x", 3 * kGb, 4 * kGb).ok());
  EXPECT_TRUE(check_free_space("/x", 0, 0).ok()) << "nothing to write needs no space";
  const Status full = check_free_space("/x", 3 * kGb, 3 * kGb);
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(full.message().find("3.07 GB needed, 3.00 GB free"), std::string::npos)
      << full.message();
}

TEST(HubCacheError, SaysWhatToDo) {
  errno = EROFS;
  EXPECT_NE(cache_error("/x", "cannot create").message().find("--cache-dir"), std::string::npos);
  errno = ENOSPC;
  EXPECT_NE(cache_error("/x", "cannot write").message().find("goes on"), std::string::npos);
}

}  // namespace
}  // namespace sparrow
