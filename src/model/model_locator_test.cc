#include "model/model_locator.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace sparrow {
namespace {

namespace fs = std::filesystem;

class ModelLocatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("sparrow-locator-" + std::to_string(::getpid()));
    fs::create_directories(root_);
    for (const char* name : {"HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) unsetenv(name);
    setenv("HF_HUB_CACHE", root_.c_str(), 1);
  }
  void TearDown() override { fs::remove_all(root_); }

  void add_snapshot(const std::string& folder, const std::string& commit) {
    const fs::path snapshot = root_ / folder / "snapshots" / commit;
    fs::create_directories(snapshot);
    std::ofstream(snapshot / "config.json") << "{}";
  }

  fs::path root_;
};

TEST_F(ModelLocatorTest, HubIdInAnyCase_IsFoundInTheCache) {
  add_snapshot("models--Org--Name", "aaaa");
  add_snapshot("models--Org--Name", "bbbb");
  fs::create_directories(root_ / "models--Org--Name" / "refs");
  std::ofstream(root_ / "models--Org--Name" / "refs" / "main") << "bbbb\n";
  const auto location = locate_model("org/NAME");
  ASSERT_TRUE(location.ok()) << location.message();
  EXPECT_EQ(fs::path(location->path).filename(), "bbbb");
  EXPECT_EQ(location->names, (std::vector<std::string>{"Org/Name", "Name", "org/NAME"}));
}

TEST_F(ModelLocatorTest, RefsThatEscape_AreIgnored) {
  add_snapshot("models--o--n", "good");
  fs::create_directories(root_ / "models--o--n" / "refs");
  std::ofstream(root_ / "models--o--n" / "refs" / "main") << "../../..";
  const auto location = locate_model("o/n");
  ASSERT_TRUE(location.ok());
  EXPECT_EQ(fs::path(location->path).filename(), "good");
}

TEST_F(ModelLocatorTest, GgufRepository_IsItsOnlyFile_OrTheOneNamed) {
  const fs::path snapshot = root_ / "models--Org--Files" / "snapshots" / "aaaa";
  fs::create_directories(snapshot / "sub");
  std::ofstream(snapshot / "a.gguf") << "x";
  const auto only = locate_model("org/files");
  ASSERT_TRUE(only.ok()) << only.message();
  EXPECT_EQ(only->path, (snapshot / "a.gguf").string());
  EXPECT_EQ(only->names[0], "Org/Files");

  std::ofstream(snapshot / "sub" / "b.gguf") << "x";
  const auto several = locate_model("Org/Files");
  ASSERT_FALSE(several.ok());
  EXPECT_NE(several.message().find("Org/Files/sub/b.gguf"), std::string::npos) << several.message();
  const auto named = locate_model("Org/Files/sub/b.gguf");
  ASSERT_TRUE(named.ok()) << named.message();
  EXPECT_EQ(named->path, (snapshot / "sub" / "b.gguf").string());
  const auto missing = locate_model("Org/Files/c.gguf");
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.message().find("sparrow pull Org/Files --file c.gguf"), std::string::npos);
  EXPECT_FALSE(locate_model("Org/Files/../../../x.gguf").ok());
}

TEST_F(ModelLocatorTest, Path_AnswersToItselfAndItsLastPart) {
  const fs::path model = root_ / "DeepSeek-R1-Distill-Qwen-1.5B";
  fs::create_directories(model);
  const auto location = locate_model(model.string() + "/");
  ASSERT_TRUE(location.ok());
  EXPECT_EQ(location->names[1], "DeepSeek-R1-Distill-Qwen-1.5B");
  EXPECT_EQ(location->names[2], "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B");
}

TEST_F(ModelLocatorTest, Missing_SaysWhereItLookedAndWhatToDo) {
  const auto by_id = locate_model("nobody/nothing");
  ASSERT_FALSE(by_id.ok());
  EXPECT_NE(by_id.message().find(root_.string()), std::string::npos);
  const auto by_path = locate_model("./no/such/dir");
  ASSERT_FALSE(by_path.ok());
  EXPECT_NE(by_path.message().find("no such file"), std::string::npos);
}

}  // namespace
}  // namespace sparrow
