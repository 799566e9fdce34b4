// The executor with a library of products: on the twin a stand-in that computes what cuBLASLt is
// documented to compute; on a card the real one, where it is found. Trials at start, padded rows,
// graphs, expanded integers, and libraries that refuse, err or are not there.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "kernels/cuda/gpu_test_support.h"
#include "kernels/cuda/twin/twin_device.h"
#include "model/cuda/gpu_executor.h"
#include "model/cuda/gpu_products.h"
#include "model/executor_driver.h"
#include "model/generated_weights.h"
#include "model/golden_file.h"
#include "model/reference_forward.h"

namespace sparrow {
namespace {

// As in gpu_executor_test.cc.
constexpr double kBF16Error = 1e-2;
// Expanded integers are rounded to 2^-9 as the activations are: two equal and independent errors
// add up to the square root of 2.
constexpr double kExpandedError = 1.42e-2;

GpuExecutorOptions small_options(const std::string& library) {
  GpuExecutorOptions options;
  options.num_slots = 12;
  options.max_batch_tokens = 24;
  options.max_context = 128;
  options.max_logit_rows = 16;
  options.tries_products = true;
  options.product_library = library;
  options.product_library_margin = 1e9;  // whatever the clock says
  return options;
}

ModelConfig model_for(TensorType type) {
  ModelConfig config = small_model_config();
  if (type == TensorType::kBF16 || type == TensorType::kF16) return config;
  config.hidden_size = 128;  // groups of 32 in every matrix
  config.intermediate_size = 128;
  config.num_heads = 4;
  config.head_dim = 32;
  return config;
}

// How many products the stand-in has computed since it was loaded.
int num_products(const char* path) {
  void* const library = ::dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return 0;
  const auto count = reinterpret_cast<int (*)()>(::dlsym(library, "fake_cublas_lt_num_products"));
  return count();
}

Result<std::unique_ptr<GpuExecutor>> make_loaded(std::unique_ptr<GpuDevice> device,
                                                 GeneratedWeights& weights,
                                                 const GpuExecutorOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<GpuExecutor> executor,
                   make_gpu_executor(std::move(device), weights, options));
  RETURN_IF_ERROR(executor->load(weights));
  return executor;
}

// A prompt of 21 rows, which 24 stand for, then eleven sequences at once, which are 16.
double error_against_oracle(GpuExecutor& executor, GeneratedWeights& weights) {
  const Result<ReferenceModel> model = load_reference_model(weights);
  EXPECT_TRUE(model.ok()) << model.message();
  ExecutorDriver driver(executor);
  std::vector<int> sequences;
  std::vector<ExecutorDriver::Part> parts;
  for (int i = 0; i < 11; ++i) {
    const std::vector<TokenId> all = weights.token_ids(21 + i);
    sequences.push_back(driver.add({all.begin() + i, all.end()}));
    driver.step({{sequences.back(), 21, 1}});
    parts.push_back({sequences.back(), 1, 1});
  }
  driver.step(parts);
  std::vector<float> found, expected;
  for (const int sequence : {sequences.front(), sequences.back()}) {
    for (const int row : {20, 21}) {
      const std::vector<float>& logits = driver.logits(sequence, row);
      found.insert(found.end(), logits.begin(), logits.end());
    }
    const std::vector<float> exact =
        reference_forward(*model, driver.tokens(sequence), std::vector<int32_t>{20, 21});
    expected.insert(expected.end(), exact.begin(), exact.end());
  }
  return relative_l2(found, expected);
}

TEST(ProductRows, CoverEveryStepAndEndWithTheLargest) {
  EXPECT_TRUE(product_rows(8).empty());
  EXPECT_EQ(product_rows(9), std::vector<int32_t>{9});
  EXPECT_EQ(product_rows(24), (std::vector<int32_t>{16, 24}));
  for (const int32_t most : {17, 256, 300, 2048, 65536}) {
    const std::vector<int32_t> rows = product_rows(most);
    EXPECT_EQ(rows.back(), most);
    EXPECT_LT(rows.size(), 80u);  // each costs a trial per kind of product
    for (size_t i = 1; i < rows.size(); ++i) {
      EXPECT_GT(rows[i], rows[i - 1]);
      // What is padded: at most half above 16 rows, a quarter above 64 and above 512 an eighth.
      const double padded = static_cast<double>(rows[i]) / (rows[i - 1] + 1);
      EXPECT_LT(padded, rows[i - 1] < 64 ? 1.5 : (rows[i - 1] < 512 ? 1.5 : 1.25)) << rows[i];
    }
  }
}

class ProductLibrary : public testing::TestWithParam<TensorType> {};

TEST_P(ProductLibrary, StandIn_ComputesAndLogitsStayNearTheOracle) {
  for (const bool eager : {true, false}) {
    if (eager && GetParam() != TensorType::kBF16) continue;
    GeneratedWeights weights(model_for(GetParam()), 21, GetParam());
    GpuExecutorOptions options = small_options(FAKE_CUBLAS_LT_RIGHT_PATH);
    options.enforce_eager = eager;
    const auto executor = make_loaded(make_twin_device(), weights, options);
    ASSERT_TRUE(executor.ok()) << executor.message();
    const int before = num_products(FAKE_CUBLAS_LT_RIGHT_PATH);
    EXPECT_GT(before, 0) << "no trial used the library";
    const bool is_plain = GetParam() == TensorType::kBF16 || GetParam() == TensorType::kF16;
    EXPECT_LT(error_against_oracle(**executor, weights), is_plain ? kBF16Error : kExpandedError);
    // Every product goes to the stand-in: of 11 prompts and one batch, 2 layers of 4 products each.
    // Graphs call it when they are captured.
    const int in_steps = num_products(FAKE_CUBLAS_LT_RIGHT_PATH) - before;
    EXPECT_GE(in_steps, (eager ? 12 : 11) * 2 * 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ProductLibrary,
                         testing::Values(TensorType::kBF16, TensorType::kF16, TensorType::kQ8_0,
                                         TensorType::kQ4_0, TensorType::kI4G32),
                         [](const auto& test) {
                           return std::string(tensor_type_info(test.param).name);
                         });

// Which tiles were fastest is a matter of the clock, and changes no bit.
TEST(ProductTrials, TriedTiles_GiveTheSameLogits) {
  std::vector<std::vector<float>> logits;
  for (const bool tries : {false, true}) {
    GeneratedWeights weights(model_for(TensorType::kBF16), 21, TensorType::kBF16);
    GpuExecutorOptions options = small_options("off");
    options.tries_products = tries;
    const auto executor = make_loaded(make_twin_device(), weights, options);
    ASSERT_TRUE(executor.ok()) << executor.message();
    ExecutorDriver driver(**executor);
    const int sequence = driver.add(weights.token_ids(21));
    driver.step({{sequence, 21, 1}});
    logits.push_back(driver.logits(sequence, 20));
  }
  EXPECT_EQ(logits[0], logits[1]);
}

// A way that fails is no way; one whose results differ is never used.
TEST(ProductLibraryFaults, RefusingAndWrongLibraries_AreNotUsed) {
  for (const char* path : {FAKE_CUBLAS_LT_FAILS_PATH, FAKE_CUBLAS_LT_WRONG_PATH}) {
    GeneratedWeights weights(model_for(TensorType::kBF16), 21, TensorType::kBF16);
    const auto executor = make_loaded(make_twin_device(), weights, small_options(path));
    ASSERT_TRUE(executor.ok()) << executor.message();
    const int before = num_products(path);
    EXPECT_LT(error_against_oracle(**executor, weights), kBF16Error) << path;
    EXPECT_EQ(num_products(path), before) << path;
  }
}

TEST(ProductLibraryFaults, NotThere_AutoGoesOnAndAPathIsAnError) {
  GeneratedWeights weights(model_for(TensorType::kBF16), 21, TensorType::kBF16);
  const auto by_auto = make_loaded(make_twin_device(), weights, small_options("auto"));
  ASSERT_TRUE(by_auto.ok()) << by_auto.message();
  EXPECT_LT(error_against_oracle(**by_auto, weights), kBF16Error);
  const auto by_path = make_loaded(make_twin_device(), weights, small_options("/nowhere/lib.so"));
  ASSERT_FALSE(by_path.ok());
  EXPECT_NE(by_path.message().find("/nowhere/lib.so"), std::string::npos) << by_path.message();
}

// Workspace, scratch and the library's code are in the plan before anything is taken.
TEST(ProductLibraryMemory, Plan_CountsWhatTheLibraryNeeds) {
  GeneratedWeights weights(model_for(TensorType::kQ4_0), 21, TensorType::kQ4_0);
  const auto with =
      make_gpu_executor(make_twin_device(), weights, small_options(FAKE_CUBLAS_LT_RIGHT_PATH));
  const auto without = make_gpu_executor(make_twin_device(), weights, small_options("off"));
  ASSERT_TRUE(with.ok() && without.ok());
  const GpuWorkspaceLayout& layout = (*with)->memory_plan().workspace;
  EXPECT_EQ(layout.gate_up.bytes, 24 * 2 * 128 * 2);
  EXPECT_EQ(layout.expanded.bytes, 2 * 128 * 128 * 2);  // gate and up: as large as QKV here
  EXPECT_EQ(layout.product_workspace.bytes, int64_t{32} << 20);
  EXPECT_EQ((*with)->memory_plan().reserve_bytes,
            (*without)->memory_plan().reserve_bytes + kGpuLibraryBytes);
  EXPECT_EQ((*without)->memory_plan().workspace.gate_up.bytes, 0);
}

// On a card: the real library, if it is found.
TEST(ProductLibraryOnACard, RealLibrary_LogitsStayNearTheOracle) {
  for (const TensorType type : {TensorType::kBF16, TensorType::kF16, TensorType::kQ4_0}) {
    std::unique_ptr<GpuDevice> device = open_test_device("cuda");
    if (device == nullptr) GTEST_SKIP() << "no GPU: " << why_no_cuda_device();
    const auto library = device->open_product_library("");
    if (!library.ok()) GTEST_SKIP() << "no product library: " << library.message();
    ModelConfig config = model_for(TensorType::kQ4_0);
    config.hidden_size = 1024;  // large enough for the library to win
    config.intermediate_size = 2048;
    GeneratedWeights weights(config, 21, type);
    const auto executor = make_loaded(std::move(device), weights, small_options("auto"));
    ASSERT_TRUE(executor.ok()) << executor.message();
    EXPECT_LT(error_against_oracle(**executor, weights), kBF16Error);
  }
}

}  // namespace
}  // namespace sparrow
