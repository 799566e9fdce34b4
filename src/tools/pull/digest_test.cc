#include "tools/pull/digest.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/test_data.h"

namespace sparrow {
namespace {

std::string digest_of(bool sha256, const std::string& content, size_t piece) {
  BlobDigest digest(sha256, static_cast<int64_t>(content.size()));
  for (size_t at = 0; at < content.size(); at += piece) {
    digest.update(std::string_view(content).substr(at, piece));
  }
  return *digest.finish();
}

TEST(Digest, KnownValues_ForAnySplit) {
  // FIPS 180-2 appendix B.1; git hash-object of "hello\n" and of the empty file.
  for (const size_t piece : {1u, 2u, 100u}) {
    EXPECT_EQ(digest_of(true, "abc", piece),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(digest_of(false, "hello\n", piece), "ce013625030ba8dba906f756967f9e9ca394464a");
  }
  EXPECT_EQ(digest_of(false, "", 1), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

TEST(Digest, Restart_ForgetsWhatCame) {
  BlobDigest digest(false, 6);
  digest.update("xxxxxx");
  digest.restart();
  digest.update("hello\n");
  EXPECT_EQ(*digest.finish(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

TEST(Digest, PublishedFiles_HaveTheIdsTheHubLists) {
  const struct {
    const char* name;
    const char* git;
  } kFiles[] = {{"tokenizer_config.json", "9967ff32d94b21c94dc7e2b3bcbea295a46cde50"},
                {"config.json", "68c044b63c894bc0c3d334a44bed2856d6d6815d"},
                {"generation_config.json", "052ab54633116a634da950ab483233c4ace0aa82"}};
  for (const auto& file : kFiles) {
    const auto content = read_file(
        test_data_path(std::string("deepseek-r1-distill-qwen-1.5b/") + file.name), 1 << 20);
    if (!content.ok()) GTEST_SKIP() << content.message();
    EXPECT_EQ(digest_of(false, *content, 1000), file.git) << file.name;
  }
}

}  // namespace
}  // namespace sparrow
