// The reader against stand-ins for NVML (fake_nvml_test_support.cc), and against the card's own
// where there is one.
#include "kernels/cuda/gpu_health.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/gpu_memory_holders.h"
#include "kernels/cuda/nvml_abi.h"

namespace sparrow {
namespace {

constexpr const char* kBusId = "0000:3B:00.0";  // the only card of the stand-ins
constexpr int kGpuIsLost = 15, kNotSupported = 3, kDriverNotLoaded = 9;

// The stand-in, held open so that what is set in it stays set while the reader has it open, too.
class FakeNvml {
 public:
  explicit FakeNvml(const char* path = FAKE_NVML_new_PATH)
      : path_(path), handle_(::dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) ADD_FAILURE() << ::dlerror();
    call("fake_nvml_reset");
  }
  ~FakeNvml() {
    if (handle_ != nullptr) (void)::dlclose(handle_);
  }
  FakeNvml(const FakeNvml&) = delete;
  FakeNvml& operator=(const FakeNvml&) = delete;

  template <typename Return = void, typename... Arguments>
  Return call(const char* name, Arguments... arguments) {
    auto* function = reinterpret_cast<Return (*)(Arguments...)>(::dlsym(handle_, name));
    CHECK(function != nullptr);
    return function(arguments...);
  }
  void set_memory(uint64_t total, uint64_t free, uint64_t used) {
    call("fake_nvml_set_memory", static_cast<unsigned long long>(total),
         static_cast<unsigned long long>(free), static_cast<unsigned long long>(used));
  }
  void set_sensors(unsigned celsius, unsigned milliwatts, unsigned mhz,
                   unsigned long long reasons) {
    call("fake_nvml_set_sensors", celsius, milliwatts, mhz, reasons);
  }
  void set_processes(unsigned count, unsigned claimed, unsigned long long bytes) {
    call("fake_nvml_set_processes", count, claimed, bytes);
  }
  void set_codes(int init, int figures) { call("fake_nvml_set_codes", init, figures); }
  int num_open() { return call<int>("fake_nvml_num_open"); }
  const char* path() const { return path_; }

  Result<GpuHealth> read() {
    auto reader = GpuHealthReader::open(kBusId, path_);
    if (!reader.ok()) return reader.status();
    return (*reader)->read();
  }

 private:
  const char* path_;
  void* handle_;
};

TEST(GpuHealth, EveryFigureArrives) {
  FakeNvml nvml;
  nvml.set_memory(80'000, 50'000, 30'000);
  nvml.set_sensors(64, 312'500, 1980, 0);
  nvml.set_processes(2, 0, 7'000);
  const Result<GpuHealth> health = nvml.read();
  ASSERT_TRUE(health.ok()) << health.message();
  ASSERT_TRUE(health->memory.has_value());
  EXPECT_EQ(health->memory->total_bytes, 80'000);
  EXPECT_EQ(health->memory->free_bytes, 50'000);
  EXPECT_EQ(health->memory->used_bytes, 30'000);
  EXPECT_EQ(health->temperature_c, 64);
  EXPECT_EQ(health->power_w, 312.5);
  EXPECT_EQ(health->sm_clock_mhz, 1980);
  EXPECT_EQ(health->throttle, "");
  ASSERT_EQ(health->processes.size(), 2u);
  EXPECT_EQ(health->processes[0].pid, 1001);  // the larger one
  EXPECT_EQ(health->processes[0].bytes, 14'000);
  EXPECT_EQ(health->processes[1].pid, 1000);
  EXPECT_EQ(health->processes[1].bytes, 7'000);
}

TEST(GpuHealth, ThrottleReasonsAreWords_UnderBothNamesOfTheCall) {
  for (const char* path : {FAKE_NVML_new_PATH, FAKE_NVML_OLD_NAMES_PATH}) {
    FakeNvml nvml(path);
    // 0x4 the power cap, 0x8 hardware slowdown, 0x20 and 0x40 heat, 0x1 idle (no throttle).
    const std::pair<unsigned long long, const char*> cases[] = {
        {0x1, ""},
        {0x4, "power cap"},
        {0x8, "hardware slowdown"},
        {0x4 | 0x8 | 0x40, "power cap, heat"},
        {0x20, "heat"}};
    for (const auto& [reasons, text] : cases) {
      nvml.set_sensors(0, 0, 0, reasons);
      const Result<GpuHealth> health = nvml.read();
      ASSERT_TRUE(health.ok()) << health.message();
      EXPECT_EQ(health->throttle, text) << path << " " << reasons;
    }
  }
}

TEST(GpuHealth, MissingCallsLeaveTheirFiguresOut) {
  FakeNvml nvml(FAKE_NVML_BARE_PATH);
  const Result<GpuHealth> health = nvml.read();
  ASSERT_TRUE(health.ok()) << health.message();
  EXPECT_FALSE(health->memory || health->temperature_c || health->power_w || health->sm_clock_mhz ||
               health->throttle);
  EXPECT_TRUE(health->processes.empty());
}

TEST(GpuHealth, FiguresThatAreNotSupportedAreAbsent) {
  FakeNvml nvml;
  nvml.set_memory(80'000, 50'000, 30'000);
  nvml.set_processes(2, 0, 7'000);
  nvml.set_codes(0, kNotSupported);
  const Result<GpuHealth> health = nvml.read();
  ASSERT_TRUE(health.ok()) << health.message();
  EXPECT_FALSE(health->memory || health->temperature_c || health->power_w || health->sm_clock_mhz ||
               health->throttle);
  EXPECT_TRUE(health->processes.empty());
}

TEST(GpuHealth, LostCardIsUnavailable_AndNamed) {
  FakeNvml nvml;
  nvml.set_memory(80'000, 50'000, 30'000);
  auto reader = GpuHealthReader::open(kBusId, nvml.path());
  ASSERT_TRUE(reader.ok()) << reader.message();
  nvml.set_codes(0, kGpuIsLost);
  const Result<GpuHealth> lost = (*reader)->read();
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(lost.message(), "the GPU cannot be used any more: GPU is lost (NVML error 15)");
  nvml.set_codes(0, 0);  // came back: the next reading is as good as any
  EXPECT_TRUE((*reader)->read().ok());
}

TEST(GpuHealth, OpenSaysWhyNot_AndLeavesNothingOpen) {
  const auto none = GpuHealthReader::open(kBusId, "libsparrow-no-such-library.so.1");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(none.message().find("libsparrow-no-such-library.so.1"), std::string::npos);

  const auto other = GpuHealthReader::open(kBusId, "libc.so.6");  // a library, not this one
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.message().find("lacks nvmlInit_v2"), std::string::npos) << other.message();

  FakeNvml nvml;
  const auto no_card = GpuHealthReader::open("0000:01:00.0", nvml.path());
  ASSERT_FALSE(no_card.ok());
  EXPECT_NE(no_card.message().find("0000:01:00.0"), std::string::npos) << no_card.message();
  EXPECT_EQ(nvml.num_open(), 0);

  nvml.set_codes(kDriverNotLoaded, 0);
  const auto no_driver = GpuHealthReader::open(kBusId, nvml.path());
  ASSERT_FALSE(no_driver.ok());
  EXPECT_NE(no_driver.message().find("Driver Not Loaded"), std::string::npos);
  EXPECT_EQ(nvml.num_open(), 0);
}

TEST(GpuHealth, EndOfTheReaderClosesNvml) {
  FakeNvml nvml;
  {
    const auto reader = GpuHealthReader::open(kBusId, nvml.path());
    ASSERT_TRUE(reader.ok());
    EXPECT_EQ(nvml.num_open(), 1);
  }
  EXPECT_EQ(nvml.num_open(), 0);
}

TEST(GpuHealth, ProcessesAreBounded) {
  FakeNvml nvml;
  // Says it wrote four billion.
  nvml.set_processes(3, ~0u, 1);
  Result<GpuHealth> health = nvml.read();
  ASSERT_TRUE(health.ok()) << health.message();
  EXPECT_EQ(health->processes.size(), kMaxGpuProcesses);
  // More than fit: none, as if it were not told.
  nvml.set_processes(kMaxGpuProcesses + 1, 0, 1);
  health = nvml.read();
  ASSERT_TRUE(health.ok()) << health.message();
  EXPECT_TRUE(health->processes.empty());
}

TEST(GpuHealth, ImpossibleNumbersStayInRange) {
  FakeNvml nvml;
  nvml.set_memory(1'000, ~0ull, ~0ull);
  nvml.set_processes(1, 0, ~0ull);  // NVML's "not available"
  Result<GpuHealth> health = nvml.read();
  ASSERT_TRUE(health.ok()) << health.message();
  EXPECT_EQ(health->memory->free_bytes, 1'000);
  EXPECT_EQ(health->memory->used_bytes, 1'000);
  EXPECT_FALSE(health->processes.at(0).bytes.has_value());
  nvml.set_memory(0, 0, 0);  // a share of nothing
  health = nvml.read();
  ASSERT_TRUE(health.ok()) << health.message();
  EXPECT_FALSE(health->memory.has_value());
}

// Our structs are what the library writes: all of it, in the right fields, and nothing beyond.
TEST(NvmlAbi, StructsHoldExactlyWhatIsWritten) {
  FakeNvml nvml;
  void* device = nullptr;
  ASSERT_EQ(
      (nvml.call<int, const char*, void**>("nvmlDeviceGetHandleByPciBusId_v2", kBusId, &device)),
      0);
  constexpr unsigned char kGuard = 0xA5;
  struct {
    nvml::Memory memory;
    unsigned char guard[64];
  } one;
  std::memset(static_cast<void*>(&one), kGuard, sizeof(one));
  nvml.set_memory(3, 2, 1);
  ASSERT_EQ((nvml.call<int, void*, void*>("nvmlDeviceGetMemoryInfo", device, &one.memory)), 0);
  EXPECT_EQ(one.memory.total, 3u);
  EXPECT_EQ(one.memory.free, 2u);
  EXPECT_EQ(one.memory.used, 1u);
  for (const unsigned char byte : one.guard) ASSERT_EQ(byte, kGuard);

  struct {
    nvml::ProcessInfo processes[3];
    unsigned char guard[64];
  } list;
  std::memset(static_cast<void*>(&list), kGuard, sizeof(list));
  nvml.set_processes(3, 0, 10);
  unsigned count = 3;
  ASSERT_EQ((nvml.call<int, void*, unsigned*, void*>("nvmlDeviceGetComputeRunningProcesses_v3",
                                                     device, &count, list.processes)),
            0);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(list.processes[i].pid, 1000 + i);
    EXPECT_EQ(list.processes[i].used_gpu_memory, 10 * (i + 1));
    EXPECT_EQ(list.processes[i].gpu_instance_id, ~0u);
    EXPECT_EQ(list.processes[i].compute_instance_id, ~0u);
  }
  for (const unsigned char byte : list.guard) ASSERT_EQ(byte, kGuard);
}

TEST(MemoryHolders, NamesTheLargest) {
  GpuHealth health;
  EXPECT_EQ(memory_holders_text(health, 99), "");
  health.processes = {{1234, 3'100'000'000}, {99, 520'000'000}};
  EXPECT_EQ(memory_holders_text(health, 99),
            "PID 1234 holds 3.10 GB, PID 99 (this process) holds 0.52 GB");
  health.processes = {{1, 500'000'000}, {2, 400'000'000}, {3, 300'000'000},
                      {4, {}},          {5, 60'000'000},  {6, 40'000'000}};
  EXPECT_EQ(memory_holders_text(health, 99),
            "PID 1 holds 0.50 GB, PID 2 holds 0.40 GB, PID 3 holds 0.30 GB, PID 4 holds an unknown "
            "share and 2 more hold 0.10 GB");
}

TEST(MemoryHolders, AreAppendedToWhatDoesNotFit_AndToNothingElse) {
  FakeNvml nvml;
  nvml.set_processes(1, 0, 3'100'000'000);
  const Status full = resource_exhausted("the weights need 5.00 GB");
  const Status named = with_memory_holders(full, kBusId, nvml.path());
  EXPECT_EQ(named.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(named.message(), "the weights need 5.00 GB. On the card: PID 1000 holds 3.10 GB");
  const Status wrong = invalid_argument("--dtype q3");
  EXPECT_EQ(with_memory_holders(wrong, kBusId, nvml.path()).message(), wrong.message());
  EXPECT_EQ(with_memory_holders(full, "", nvml.path()).message(), full.message());
  EXPECT_EQ(with_memory_holders(full, kBusId, "libsparrow-no-such-library.so.1").message(),
            full.message());
  nvml.set_codes(0, kGpuIsLost);
  EXPECT_EQ(with_memory_holders(full, kBusId, nvml.path()).message(), full.message());
  EXPECT_TRUE(with_memory_holders(ok_status(), kBusId, nvml.path()).ok());
}

TEST(GpuHealth, OfTheCardOfThisMachine) {
  if (num_cuda_devices() == 0) GTEST_SKIP() << why_no_cuda_device();
  Result<std::unique_ptr<GpuDevice>> device = open_cuda_device(0);
  ASSERT_TRUE(device.ok()) << device.message();
  const auto reader = GpuHealthReader::open((*device)->info().pci_bus_id);
  if (!reader.ok()) GTEST_SKIP() << reader.message();
  constexpr size_t kBytes = 256u << 20;
  const Result<void*> memory = (*device)->allocate(kBytes);
  ASSERT_TRUE(memory.ok()) << memory.message();
  const Result<GpuHealth> health = (*reader)->read();
  (*device)->free(*memory);
  ASSERT_TRUE(health.ok()) << health.message();
  ASSERT_TRUE(health->memory.has_value());
  // CUDA leaves out what the driver keeps.
  EXPECT_GE(health->memory->total_bytes, (*device)->info().total_bytes);
  EXPECT_GE(health->memory->used_bytes, static_cast<int64_t>(kBytes));
  // A die that runs is neither frozen nor beyond every card's shutdown threshold.
  if (health->temperature_c) {
    EXPECT_GT(*health->temperature_c, 0);
    EXPECT_LT(*health->temperature_c, 120);
  }
}

}  // namespace
}  // namespace sparrow
