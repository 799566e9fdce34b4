#include "base/log.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(Log, FullDisk_LosesTheFileAndNothingElse) {
  ASSERT_TRUE(configure_log({.level = LogLevel::kInfo, .file = "/dev/full"}).ok());
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 2000; ++i) log_info("line {} of a log that does not fit", i);
  log_error("the last line");
  const std::string seen = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(seen.find("line 0 of a log"), std::string::npos);
  EXPECT_NE(seen.find("line 1999 of a log"), std::string::npos);
  EXPECT_NE(seen.find("the last line"), std::string::npos);
}

TEST(Log, UnwritableFile_IsRefusedByName) {
  const Status status = configure_log({.file = "/proc/no/such/file"});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message().rfind("--log-file: ", 0), 0u) << status.message();
}

}  // namespace
}  // namespace sparrow
