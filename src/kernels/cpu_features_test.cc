#include "kernels/cpu_features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

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

TEST(SelectKernels, UnknownName_NamesTheChoices) {
  const Result<const Kernels*> kernels = select_kernels("AVX2");
  ASSERT_FALSE(kernels.ok());
  EXPECT_EQ(kernels.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(kernels.message().find("scalar, avx2, avxvnni or avx512"), std::string::npos);
}

TEST(SelectKernels, IsaTheMachineLacks_SaysWhetherCpuOrBuildLacksIt) {
  int num_lacking = 0;
  for (const char* name : {"avx2", "avxvnni", "avx512"}) {
    const auto tables = runnable_kernels();
    const bool runs = std::any_of(tables.begin(), tables.end(), [&](const Kernels* table) {
      return std::string_view(table->name) == name;
    });
    if (runs) continue;
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
  std::vector<std::string> order = {"scalar", "avx2", "avxvnni", "avx512"};
  std::vector<std::string> names;
  for (const Kernels* table : runnable_kernels()) names.emplace_back(table->name);
  std::erase_if(order, [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) == names.end();
  });
  EXPECT_EQ(names, order);
}

}  // namespace
}  // namespace sparrow
