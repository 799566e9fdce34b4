#include "kernels/cpu_features.h"

#include <gtest/gtest.h>

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
  EXPECT_NE(kernels.message().find("scalar, avx2 or avx512"), std::string::npos);
}

TEST(SelectKernels, IsaTheMachineLacks_SaysWhetherCpuOrBuildLacksIt) {
  bool has_avx512 = false;
  for (const Kernels* table : runnable_kernels()) {
    has_avx512 = has_avx512 || std::string_view(table->name) == "avx512";
  }
  if (has_avx512) GTEST_SKIP() << "this machine has every instruction set we know";
  const Result<const Kernels*> kernels = select_kernels("avx512");
  ASSERT_FALSE(kernels.ok());
  EXPECT_EQ(kernels.status().code(), StatusCode::kFailedPrecondition);
  const bool names_cpu = kernels.message().find("this CPU") != std::string::npos;
  const bool names_build = kernels.message().find("this build") != std::string::npos;
  EXPECT_TRUE(names_cpu != names_build) << kernels.message();
}

}  // namespace
}  // namespace sparrow
