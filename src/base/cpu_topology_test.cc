#include "base/cpu_topology.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace sparrow {
namespace {

namespace fs = std::filesystem;

// A machine described by files, as the kernel shows it.
class Machine {
 public:
  Machine() {
    std::string pattern = (fs::temp_directory_path() / "sparrow_topology_XXXXXX").string();
    root_ = mkdtemp(pattern.data());
  }
  ~Machine() { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text << "\n";
  }
  void cpu(int id, int core, int package = 0) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(id) + "/topology/";
    write(folder + "core_id", std::to_string(core));
    write(folder + "physical_package_id", std::to_string(package));
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

TEST(CpuTopology, HyperThreads_OneThreadPerCore) {
  Machine machine;
  for (int id = 0; id < 8; ++id) machine.cpu(id, id % 4);
  const CpuTopology topology = read_cpu_topology(machine.root(), {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(topology.num_cores(), 4);
  EXPECT_EQ(topology.default_threads(), 4);
  EXPECT_EQ(choose_cpus(topology, 4), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(choose_cpus(topology, 6), (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(CpuTopology, AffinityMask_IsRespected) {
  Machine machine;
  for (int id = 0; id < 8; ++id) machine.cpu(id, id % 4);
  const CpuTopology topology = read_cpu_topology(machine.root(), {2, 6, 7});
  EXPECT_EQ(topology.default_threads(), 2);
  EXPECT_EQ(choose_cpus(topology, 2), (std::vector<int>{2, 7}));
}

TEST(CpuTopology, HybridX86_BigCoresFirst) {
  Machine machine;
  for (int id = 0; id < 4; ++id) machine.cpu(id, id);
  machine.write("/sys/devices/cpu_atom/cpus", "0-1");
  const CpuTopology topology = read_cpu_topology(machine.root(), {0, 1, 2, 3});
  EXPECT_TRUE(topology.hybrid());
  EXPECT_EQ(choose_cpus(topology, 2), (std::vector<int>{2, 3}));
  EXPECT_EQ(topology.default_threads(), 4);
}

TEST(CpuTopology, BigLittle_ByCapacity) {
  Machine machine;
  for (int id = 0; id < 4; ++id) {
    machine.cpu(id, id);
    machine.write("/sys/devices/system/cpu/cpu" + std::to_string(id) + "/cpu_capacity",
                  id < 2 ? "414" : "1024");
  }
  const CpuTopology topology = read_cpu_topology(machine.root(), {0, 1, 2, 3});
  EXPECT_EQ(choose_cpus(topology, 3), (std::vector<int>{2, 3, 0}));
}

TEST(CpuTopology, TwoNodes_NeighboursInTheListShareANode) {
  Machine machine;
  for (int id = 0; id < 8; ++id) machine.cpu(id, id / 2, id % 2);
  machine.write("/sys/devices/system/node/online", "0-1");
  machine.write("/sys/devices/system/node/node0/cpulist", "0,2,4,6");
  machine.write("/sys/devices/system/node/node1/cpulist", "1,3,5,7");
  const CpuTopology topology = read_cpu_topology(machine.root(), {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(topology.num_nodes(), 2);
  EXPECT_EQ(choose_cpus(topology, 8), (std::vector<int>{0, 2, 4, 6, 1, 3, 5, 7}));
}

TEST(CpuTopology, MoreThreadsThanCpus_TheListStartsOver) {
  Machine machine;
  machine.cpu(0, 0);
  machine.cpu(1, 1);
  const CpuTopology topology = read_cpu_topology(machine.root(), {0, 1});
  EXPECT_EQ(choose_cpus(topology, 5), (std::vector<int>{0, 1, 0, 1, 0}));
}

TEST(CpuTopology, CgroupQuota_TheTightestOfAllLevelsCounts) {
  Machine machine;
  for (int id = 0; id < 8; ++id) machine.cpu(id, id);
  machine.write("/proc/self/cgroup", "0::/system.slice/sparrow.service");
  machine.write("/sys/fs/cgroup/cpu.max", "max 100000");
  machine.write("/sys/fs/cgroup/system.slice/cpu.max", "250000 100000");
  machine.write("/sys/fs/cgroup/system.slice/sparrow.service/cpu.max", "400000 100000");
  const CpuTopology topology = read_cpu_topology(machine.root(), {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_DOUBLE_EQ(topology.quota_cpus, 2.5);
  EXPECT_EQ(topology.default_threads(), 2);
}

TEST(CpuTopology, CgroupV1AndTinyQuota_AtLeastOneThread) {
  Machine machine;
  machine.cpu(0, 0);
  machine.cpu(1, 1);
  machine.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000");
  machine.write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(read_cpu_topology(machine.root(), {0, 1}).default_threads(), 1);
}

TEST(CpuTopology, NothingToRead_EveryAllowedCpuIsACore) {
  const CpuTopology topology = read_cpu_topology("/nonexistent", {3, 5});
  EXPECT_EQ(topology.default_threads(), 2);
  EXPECT_EQ(topology.num_nodes(), 1);
  EXPECT_FALSE(topology.hybrid());
}

TEST(CpuTopology, GarbageInFiles_IsAbsence) {
  Machine machine;
  machine.cpu(0, 0);
  machine.write("/sys/fs/cgroup/cpu.max", "-5 0");
  machine.write("/sys/devices/system/node/online", "0-99999999999");
  machine.write("/sys/devices/cpu_atom/cpus", "x");
  const CpuTopology topology = read_cpu_topology(machine.root(), {0});
  EXPECT_EQ(topology.default_threads(), 1);
  EXPECT_EQ(topology.quota_cpus, 0);
}

TEST(CpuTopology, ThisMachine_HasACpu) {
  const CpuTopology topology = read_cpu_topology();
  ASSERT_FALSE(topology.cpus.empty());
  EXPECT_GE(topology.default_threads(), 1);
}

TEST(ParseCpuList, Good) {
  EXPECT_EQ(*parse_cpu_list("0"), (std::vector<int>{0}));
  EXPECT_EQ(*parse_cpu_list("0-3,8,10-11"), (std::vector<int>{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(*parse_cpu_list("3,1,3"), (std::vector<int>{3, 1}));
}

TEST(ParseCpuList, Wrong_NamesThePart) {
  for (const char* text :
       {"", ",", "1,", "a", "-1", "3-1", "1-", "1-2-3", "0-9000", "1 2", "0x3"}) {
    const auto ids = parse_cpu_list(text);
    ASSERT_FALSE(ids.ok()) << text;
    EXPECT_NE(ids.message().find("0-3,8"), std::string::npos);
  }
}

}  // namespace
}  // namespace sparrow
