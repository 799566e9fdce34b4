#include "tools/pull/hub_id.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

constexpr const char* kR1 = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B";

TEST(HubId, KnownModel_IsFoundInAnyCaseByNameAndByAddress) {
  for (const char* typed :
       {kR1, "deepseek-ai/deepseek-r1-distill-qwen-1.5b",
        "DEEPSEEK-AI/DEEPSEEK-R1-DISTILL-QWEN-1.5B", "deepseek-r1-distill-qwen-1.5b",
        "https://huggingface.co/deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B/"}) {
    const auto id = parse_hub_id(typed);
    ASSERT_TRUE(id.ok()) << typed << ": " << id.message();
    EXPECT_EQ(*id, kR1) << typed;
  }
}

TEST(HubId, AnotherId_StaysAsTyped) {
  EXPECT_EQ(*parse_hub_id("Org_1/Name.v2-x"), "Org_1/Name.v2-x");
  EXPECT_EQ(*parse_hub_id("qwen/DeepSeek-R1-Distill-Qwen-1.5B"),
            "qwen/DeepSeek-R1-Distill-Qwen-1.5B");
}

TEST(HubId, WhatCouldLeaveTheCacheOrTheAddress_IsRefused) {
  for (const std::string typed :
       {"",       "/",     "a/",     "/a",    "..",     "../..",  "a/..",
        "a/../b", "a/b/c", "a b/c",  "a/b?x", "a/b#c",  "a/b%2f", "a/.b",
        "a/b.",   "-a/b",  "a--b/c", "a/b\n", "a/b\\c", "gpt2",   "a/\xC3\xA9"}) {
    const auto id = parse_hub_id(typed);
    EXPECT_FALSE(id.ok()) << typed;
    EXPECT_NE(id.message().find("OWNER/NAME"), std::string::npos);
  }
  EXPECT_FALSE(is_hub_id("a/" + std::string(97, 'b')));
  EXPECT_TRUE(is_hub_id("a/" + std::string(96, 'b')));
}

TEST(HubId, WrongOwner_IsAnsweredWithTheRightId) {
  EXPECT_EQ(suggest_hub_id("qwen/DeepSeek-R1-Distill-Qwen-1.5B"), kR1);
  EXPECT_EQ(suggest_hub_id("qwen/deepseek-r1-distill-qwen-1.5b"), kR1);
  EXPECT_EQ(suggest_hub_id(kR1), std::nullopt);
  EXPECT_EQ(suggest_hub_id("qwen/other"), std::nullopt);
}

TEST(HubId, Revisions) {
  for (const char* good :
       {"main", "v1.0", "refs/pr/3", "feature_x", "ad9f0ae0864d7fbcd1cd905e3c6c5b069cc8b562"}) {
    EXPECT_TRUE(is_hub_revision(good)) << good;
  }
  for (const char* bad : {"", "..", "a/../b", "/a", "a/", "a//b", "a b", ".hidden", "a/.b", "-x"}) {
    EXPECT_FALSE(is_hub_revision(bad)) << bad;
  }
  EXPECT_TRUE(is_commit("ad9f0ae0864d7fbcd1cd905e3c6c5b069cc8b562"));
  EXPECT_FALSE(is_commit("AD9F0AE0864D7FBCD1CD905E3C6C5B069CC8B562"));
  EXPECT_FALSE(is_commit("main"));
}

TEST(HubId, CacheFolder) {
  EXPECT_EQ(hub_cache_folder(kR1), "models--deepseek-ai--DeepSeek-R1-Distill-Qwen-1.5B");
}

}  // namespace
}  // namespace sparrow
