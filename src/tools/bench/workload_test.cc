#include "tools/bench/workload.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "tools/bench/workload_file.h"

namespace sparrow {
namespace {

// A sum in which each length has another weight: no two may change places.
int64_t weighted_sum(const Workload& workload, int WorkloadItem::*length) {
  int64_t sum = 0, weight = 0;
  for (const WorkloadItem& item : workload.items) sum += ++weight * (item.*length);
  return sum;
}

// All figures are of CPython 3.11 running the lines of nano-vllm's bench.py that draw the lengths.
TEST(NanoVllmWorkload, HasTheLengthsOfItsScript) {
  const Workload workload = nano_vllm_workload();
  ASSERT_EQ(workload.items.size(), 256u);
  EXPECT_EQ(workload.prompt_tokens(), 142827);
  EXPECT_EQ(workload.output_tokens(), 133966);
  EXPECT_EQ(workload.longest(), 2011);
  EXPECT_EQ(weighted_sum(workload, &WorkloadItem::prompt_tokens), 18617037);
  EXPECT_EQ(weighted_sum(workload, &WorkloadItem::output_tokens), 17171475);
  EXPECT_EQ(workload.items.front().prompt_tokens, 964);
  EXPECT_EQ(workload.items.front().output_tokens, 845);
  EXPECT_EQ(workload.items.back().prompt_tokens, 251);
  EXPECT_EQ(workload.items.back().output_tokens, 312);
}

TEST(Workload, FirstItems_RemembersHowManyThereWere) {
  const Workload part = first_items(nano_vllm_workload(), 3);
  ASSERT_EQ(part.items.size(), 3u);
  EXPECT_EQ(part.num_in_full, 256);
  EXPECT_EQ(part.prompt_tokens(), 964 + 724 + 484);
  EXPECT_EQ(part.output_tokens(), 845 + 312 + 607);
  EXPECT_EQ(first_items(nano_vllm_workload(), 1000).items.size(), 256u);
}

class WorkloadFile : public testing::Test {
 protected:
  Result<Workload> read(const std::string& content) {
    EXPECT_TRUE(write_file_atomically(path_, content).ok());
    return read_workload_file(path_);
  }
  ~WorkloadFile() override { ::unlink(path_.c_str()); }

  const std::string path_ = testing::TempDir() + "workload_test." + std::to_string(::getpid());
};

TEST_F(WorkloadFile, EveryLine_IsARequest) {
  const auto workload = read(
      "{\"prompt_tokens\": 256, \"output_tokens\": 512}\n\n"
      "{\"output_tokens\":1,\"prompt_tokens\":1048576,\"note\":[1]}\r\n");
  ASSERT_TRUE(workload.ok()) << workload.message();
  EXPECT_EQ(workload->name, path_);
  ASSERT_EQ(workload->items.size(), 2u);
  EXPECT_EQ(workload->num_in_full, 2);
  EXPECT_EQ(workload->items[0].prompt_tokens, 256);
  EXPECT_EQ(workload->items[0].output_tokens, 512);
  EXPECT_EQ(workload->items[1].prompt_tokens, 1048576);
  EXPECT_EQ(workload->items[1].output_tokens, 1);
}

TEST_F(WorkloadFile, WhatIsNoRequest_IsRefusedWithItsLine) {
  const std::string good = "{\"prompt_tokens\": 1, \"output_tokens\": 1}\n";
  for (const char* bad :
       {"{\"prompt_tokens\": 0, \"output_tokens\": 1}", "{\"prompt_tokens\": 1}",
        "{\"prompt_tokens\": -5, \"output_tokens\": 1}",
        "{\"prompt_tokens\": 1048577, \"output_tokens\": 1}",
        "{\"prompt_tokens\": 1.5, \"output_tokens\": 1}",
        "{\"prompt_tokens\": \"7\", \"output_tokens\": 1}",
        "{\"prompt_tokens\": 1, \"output_tokens\": 18446744073709551615}", "[1, 2]", "{", "7"}) {
    const auto workload = read(good + bad);
    ASSERT_FALSE(workload.ok()) << bad;
    EXPECT_NE(workload.message().find(path_ + ", line 2"), std::string::npos) << workload.message();
  }
  EXPECT_FALSE(read("\n \n").ok()) << "no request at all";
  EXPECT_FALSE(read_workload_file(path_ + ".missing").ok());
}

TEST_F(WorkloadFile, MoreRequestsThanAnyoneMeasures_AreRefused) {
  std::string content;
  for (int i = 0; i < kMaxWorkloadItems; ++i) {
    content += "{\"prompt_tokens\":1,\"output_tokens\":1}\n";
  }
  EXPECT_TRUE(read(content).ok());
  EXPECT_FALSE(read(content + "{\"prompt_tokens\":1,\"output_tokens\":1}\n").ok());
}

}  // namespace
}  // namespace sparrow
