#include "tools/pull/file_list.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace sparrow {
namespace {

const std::string kSha1(40, 'a');
const std::string kSha256(64, 'b');

std::string plain(const std::string& path, int64_t size = 10) {
  return fmt::format(R"({{"type":"file","path":"{}","size":{},"oid":"{}"}})", path, size, kSha1);
}

std::string lfs(const std::string& path, int64_t size) {
  return fmt::format(
      R"({{"type":"file","path":"{}","size":{},"oid":"{}","lfs":{{"oid":"{}","size":{},"pointerSize":134}}}})",
      path, size, kSha1, kSha256, size);
}

Result<std::vector<HubFile>> list(const std::vector<std::string>& entries) {
  std::vector<HubFile> files;
  const auto json = parse_json(fmt::format("[{}]", fmt::join(entries, ",")), "test");
  EXPECT_TRUE(json.ok()) << json.message();
  const Status status = append_file_list(*json, files);
  if (!status.ok()) return status;
  return files;
}

std::vector<std::string> selected(const std::vector<std::string>& entries,
                                  const std::string& gguf = "") {
  const auto files = list(entries);
  EXPECT_TRUE(files.ok()) << files.message();
  const auto chosen = select_files(*files, gguf);
  EXPECT_TRUE(chosen.ok()) << chosen.message();
  std::vector<std::string> names;
  if (!chosen.ok()) return names;
  for (const HubFile& file : *chosen) names.push_back(file.path);
  return names;
}

std::string refusal(const std::vector<std::string>& entries, const std::string& gguf = "") {
  const auto files = list(entries);
  if (!files.ok()) return files.message();
  const auto chosen = select_files(*files, gguf);
  EXPECT_FALSE(chosen.ok());
  return chosen.ok() ? "" : chosen.message();
}

TEST(FileList, HashAndSize_AreThoseOfTheContent) {
  const auto files = list({plain("config.json", 679), lfs("model.safetensors", 3554214621),
                           R"({"type":"directory","path":"figures","oid":"x","size":0})"});
  ASSERT_TRUE(files.ok()) << files.message();
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ((*files)[0].etag, kSha1);
  EXPECT_FALSE((*files)[0].lfs);
  EXPECT_EQ((*files)[1].etag, kSha256);
  EXPECT_EQ((*files)[1].size, 3554214621);
  EXPECT_TRUE((*files)[1].lfs);
}

TEST(FileList, OnlyWhatTheModelNeeds_SmallestFirst) {
  EXPECT_EQ(
      selected({lfs("model.safetensors", 3000), plain("README.md", 5), plain("config.json", 7),
                plain("tokenizer.json", 900), plain("tokenizer_config.json", 30),
                plain("generation_config.json", 9), plain("chat_template.jinja", 20),
                lfs("onnx/model.safetensors", 1), lfs("pytorch_model.bin", 4000),
                plain("figures/a.png")}),
      (std::vector<std::string>{"config.json", "generation_config.json", "chat_template.jinja",
                                "tokenizer_config.json", "tokenizer.json", "model.safetensors"}));
}

TEST(FileList, Shards_ComeWithTheirIndexAndNothingElse) {
  EXPECT_EQ(
      selected({plain("config.json", 1), plain("model.safetensors.index.json", 2),
                lfs("model-00001-of-00002.safetensors", 30),
                lfs("model-00002-of-00002.safetensors", 20), lfs("consolidated.safetensors", 50)}),
      (std::vector<std::string>{"config.json", "model.safetensors.index.json",
                                "model-00002-of-00002.safetensors",
                                "model-00001-of-00002.safetensors"}));
  EXPECT_EQ(selected({plain("config.json", 1), plain("model.safetensors.index.json", 2),
                      lfs("part-a.safetensors", 3), lfs("sub/part-b.safetensors", 3)}),
            (std::vector<std::string>{"config.json", "model.safetensors.index.json",
                                      "part-a.safetensors"}));
}

TEST(FileList, OneGguf_ByItsName) {
  const std::vector<std::string> repository = {plain("config.json"), lfs("a-Q4_0.gguf", 1100000000),
                                               lfs("sub/a-Q8_0.gguf", 1900000000)};
  EXPECT_EQ(selected(repository, "sub/a-Q8_0.gguf"), (std::vector<std::string>{"sub/a-Q8_0.gguf"}));
  const std::string wrong = refusal(repository, "b.gguf");
  EXPECT_NE(wrong.find("a-Q4_0.gguf (1.10 GB)"), std::string::npos) << wrong;
  EXPECT_NE(refusal(repository, "config.json").find(".gguf"), std::string::npos);
  const std::string none = refusal(repository);
  EXPECT_NE(none.find("--file"), std::string::npos) << none;
}

TEST(FileList, NoUsableWeights_SaysWhatIsThere) {
  const std::string message = refusal({plain("config.json"), lfs("pytorch_model.bin", 5000000)});
  EXPECT_NE(message.find("pytorch_model.bin (5.0 MB)"), std::string::npos) << message;
}

TEST(FileList, HostileEntries_AreRefused) {
  for (const char* name : {"../config.json", "/etc/passwd", "a/../../b", "a//b", "a/./b", "",
                           R"(a\\b)", R"(a\u0000b)", R"(a\u001b[2Jb)", R"(a\nb)", ".."}) {
    EXPECT_NE(refusal({plain(name)}), "") << name;
  }
  EXPECT_NE(refusal({plain(std::string(513, 'a'))}), "");
  EXPECT_NE(refusal({plain(std::string(256, 'a'))}), "");
  EXPECT_NE(refusal({R"({"type":"file","path":"a","size":-1,"oid":"x"})"}), "");
  EXPECT_NE(refusal({R"({"type":"file","path":"a","size":1e30,"oid":"x"})"}), "");
  EXPECT_NE(refusal({R"({"type":"file","path":"a","size":5,"oid":"../../../../etc/passwd"})"}), "");
  EXPECT_NE(refusal({R"({"type":"file","path":"a","size":5})"}), "");
  EXPECT_NE(refusal({R"({"type":"file","path":"a"})"}), "");
  EXPECT_NE(refusal({R"({"type":"file","path":"a","lfs":{"oid":"aa","size":5}})"}), "");
  EXPECT_NE(refusal({"5"}), "");
  EXPECT_NE(
      refusal({plain("config.json", 1), plain("config.json", 2), lfs("model.safetensors", 9)}), "");
  const std::string escape = refusal({plain(R"(x\u001b[31m)")});
  EXPECT_EQ(escape.find('\x1b'), std::string::npos) << "no control character reaches the terminal";
}

TEST(FileList, MoreThanTenThousandFiles_AreRefused) {
  std::vector<std::string> entries;
  for (int i = 0; i < 10000; ++i) entries.push_back(plain(fmt::format("f{}", i)));
  EXPECT_TRUE(list(entries).ok());
  entries.push_back(plain("one-more"));
  EXPECT_FALSE(list(entries).ok());
}

}  // namespace
}  // namespace sparrow
