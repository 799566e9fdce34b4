#include "kernels/cpu_features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/env.h"

namespace sparrow {
namespace {

TEST(SelectKernels, NoForce_ReturnsTheLastRunnableTable) {
  Result<const Kernels*> kernels = select_kernels("");
  ASSERT_TRUE(kernels.ok());
  EXPECT_EQ(*kernels, runnable_kernels().back());
}

TEST(SelectKernels, EveryRunnableName_ReturnsItsTable) {
  for (const Kernels* table : runnable_kernels()) {
    Result<const Kernels*> kernels = select_kernels(table->name);
    ASSERT_TRUE(kernels.ok());
    EXPECT_EQ(*kernels, table);
  }
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names(1);
  for (const char* c = kIsaNames; *c != '\0'; ++c) {
    if (*c == '|') {
      names.emplace_back();
    } else {
      names.back() += *c;
    }
  }
  return names;
}

// An emulated CPU is known (cmake/SparrowArmTests.cmake), and so is the table it must get.
TEST(SelectKernels, CpuOfTheTestRun_GetsTheTableThatTheRunNames) {
  const std::optional<std::string> expected = env_string("SPARROW_TEST_ISA");
  if (!expected) GTEST_SKIP() << "SPARROW_TEST_ISA is not set";
  EXPECT_EQ((*select_kernels(""))->name, *expected);
}

TEST(SelectKernels, RunnableTables_AreInTheOrderOfTheNames) {
  std::vector<std::string> names = isa_names();
  std::vector<std::string> runnable;
  for (const Kernels* table : runnable_kernels()) runnable.emplace_back(table->name);
  std::erase_if(names, [&](const std::string& name) {
    return std::find(runnable.begin(), runnable.end(), name) == runnable.end();
  });
  EXPECT_EQ(runnable, names);
}

TEST(SelectKernels, UnknownName_NamesTheChoices) {
  const Result<const Kernels*> kernels = select_kernels("AVX2");
  ASSERT_FALSE(kernels.ok());
  EXPECT_EQ(kernels.status().code(), StatusCode::kInvalidArgument);
  for (const std::string& name : isa_names()) {
    EXPECT_NE(kernels.message().find(name), std::string::npos) << kernels.message();
  }
}

TEST(SelectKernels, IsaTheMachineLacks_SaysWhetherCpuOrBuildLacksIt) {
  int num_lacking = 0;
  for (const std::string& name : isa_names()) {
    const std::vector<const Kernels*> tables = runnable_kernels();
    if (std::any_of(tables.begin(), tables.end(),
                    [&](const Kernels* table) { return table->name == name; })) {
      continue;
    }
    ++num_lacking;
    const Result<const Kernels*> kernels = select_kernels(name);
    ASSERT_FALSE(kernels.ok());
    EXPECT_EQ(kernels.status().code(), StatusCode::kFailedPrecondition);
    const bool names_cpu = kernels.message().find("this CPU") != std::string::npos;
    const bool names_build = kernels.message().find("this build") != std::string::npos;
    EXPECT_TRUE(names_cpu != names_build) << kernels.message();
  }
  if (num_lacking == 0) GTEST_SKIP() << "this machine has every instruction set we know";
}

TEST(SelectKernels, Tables_ComeFromTheSlowestToTheFastest) {
  std::vector<std::string> order = isa_names();
  std::vector<std::string> names;
  for (const Kernels* table : runnable_kernels()) names.emplace_back(table->name);
  std::erase_if(order, [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) == names.end();
  });
  EXPECT_EQ(names, order);
}

}  // namespace
}  // namespace sparrow
