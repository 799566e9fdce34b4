// What /metrics is told of a card, from a stand-in for NVML
// (kernels/cuda/fake_nvml_test_support.cc).
#include "cmd/device_health.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

namespace sparrow {
namespace {

constexpr const char* kBusId = "0000:3B:00.0";

TEST(DeviceHealthReader, TellsShareTemperatureAndPower_AndNothingOfALostCard) {
  void* const nvml = ::dlopen(FAKE_NVML_PATH, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(nvml, nullptr) << ::dlerror();
  const auto set_memory =
      reinterpret_cast<void (*)(unsigned long long, unsigned long long, unsigned long long)>(
          ::dlsym(nvml, "fake_nvml_set_memory"));
  const auto set_sensors =
      reinterpret_cast<void (*)(unsigned, unsigned, unsigned, unsigned long long)>(
          ::dlsym(nvml, "fake_nvml_set_sensors"));
  const auto set_codes = reinterpret_cast<void (*)(int, int)>(::dlsym(nvml, "fake_nvml_set_codes"));
  set_memory(80'000, 60'000, 20'000);
  set_sensors(64, 312'500, 1980, 0);
  {
    const api::ReadDeviceHealth read = device_health_reader(kBusId, FAKE_NVML_PATH);
    ASSERT_TRUE(read);
    const std::optional<api::DeviceHealth> health = read();
    ASSERT_TRUE(health.has_value());
    EXPECT_EQ(health->memory_share, 0.25);
    EXPECT_EQ(health->temperature_c, 64);
    EXPECT_EQ(health->power_w, 312.5);
    set_codes(0, 15);  // NVML_ERROR_GPU_IS_LOST
    EXPECT_FALSE(read().has_value());
    EXPECT_FALSE(read().has_value());
    set_codes(0, 0);
    EXPECT_TRUE(read().has_value());
  }
  (void)::dlclose(nvml);
}

TEST(DeviceHealthReader, WithoutACardThereIsNone_WithoutTheLibraryNoFigure) {
  EXPECT_FALSE(device_health_reader(""));
  const api::ReadDeviceHealth read =
      device_health_reader(kBusId, "libsparrow-no-such-library.so.1");
  ASSERT_TRUE(read);
  EXPECT_FALSE(read().has_value());
}

TEST(WorstDeviceHealth, OfSeveralCards) {
  using Health = std::optional<api::DeviceHealth>;
  const auto card = [](Health health) { return [health] { return health; }; };
  EXPECT_FALSE(worst_device_health({{}, {}}));
  const Health all = worst_device_health(
      {card(api::DeviceHealth{.memory_share = 0.5, .temperature_c = 70, .power_w = 300}),
       card(std::nullopt), card(api::DeviceHealth{.memory_share = 0.9, .temperature_c = 60}),
       card(api::DeviceHealth{.power_w = 100})})();
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(all->memory_share, 0.9);
  EXPECT_EQ(all->temperature_c, 70);
  EXPECT_EQ(all->power_w, 400);
  EXPECT_FALSE(worst_device_health({card(std::nullopt), card(std::nullopt)})().has_value());
}

}  // namespace
}  // namespace sparrow
