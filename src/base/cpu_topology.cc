#include "base/cpu_topology.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <set>
#include <thread>
#include <tuple>

#include "base/file.h"

namespace sparrow {
namespace {

constexpr size_t kMaxFileBytes = 64 * 1024;
constexpr int kMaxCpuId = 8191;  // the kernel's own limit
constexpr int kMaxNodes = 1024;
constexpr int kFullCapacity = 1024;
constexpr int kSmallCoreCapacity = 512;  // of a hybrid x86: about half a big core in our kernels
constexpr int kMaxCgroupDepth = 64;

std::optional<std::string> text_of(const std::string& path) {
  Result<std::string> text = read_file(path, kMaxFileBytes);
  if (!text.ok()) return std::nullopt;
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  return std::move(text).value();
}

std::optional<int> number_of(const std::string& path) {
  const auto text = text_of(path);
  int value = 0;
  if (!text) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end == text->data()) return std::nullopt;
  return value;
}

std::vector<int> list_of(const std::string& path) {
  const auto text = text_of(path);
  if (!text || text->empty()) return {};
  Result<std::vector<int>> ids = parse_cpu_list(*text);
  return ids.ok() ? std::move(ids).value() : std::vector<int>();
}

std::vector<int> own_affinity() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  std::vector<int> ids;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    for (int id = 0; id < CPU_SETSIZE; ++id) {
      if (CPU_ISSET(static_cast<size_t>(id), &mask)) ids.push_back(id);
    }
  }
  if (ids.empty()) {  // more CPUs than the mask holds
    const int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    for (int id = 0; id < count; ++id) ids.push_back(id);
  }
  return ids;
}

// "quota period" or "max period" of cgroup v2; nothing when unlimited.
std::optional<double> quota_v2(const std::string& path) {
  const auto text = text_of(path);
  if (!text) return std::nullopt;
  char* end = nullptr;
  const double quota = std::strtod(text->c_str(), &end);
  if (end == text->c_str()) return std::nullopt;
  const double period = std::strtod(end, nullptr);
  if (!(quota > 0) || !(period > 0)) return std::nullopt;
  return quota / period;
}

std::optional<double> quota_v1(const std::string& folder) {
  const auto quota = number_of(folder + "/cpu.cfs_quota_us");
  const auto period = number_of(folder + "/cpu.cfs_period_us");
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return static_cast<double>(*quota) / *period;
}

// The tightest limit between this process's group and the root.
double cgroup_quota(const std::string& root) {
  std::string path = "/";
  if (const auto own = text_of(root + "/proc/self/cgroup")) {
    const size_t at = own->find("0::/");
    if (at != std::string::npos) {
      path = own->substr(at + 3, own->find('\n', at) - at - 3);
    }
  }
  std::optional<double> tightest;
  auto consider = [&](std::optional<double> quota) {
    if (quota) tightest = std::min(tightest.value_or(*quota), *quota);
  };
  for (int depth = 0; depth < kMaxCgroupDepth; ++depth) {
    consider(quota_v2(root + "/sys/fs/cgroup" + path + "/cpu.max"));
    const size_t slash = path.find_last_of('/');
    if (path == "/" || slash == std::string::npos) break;
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  consider(quota_v1(root + "/sys/fs/cgroup/cpu"));
  consider(quota_v1(root + "/sys/fs/cgroup/cpu,cpuacct"));
  return tightest.value_or(0);
}

using CoreKey = std::pair<int, int>;  // package, core

CoreKey core_of(const LogicalCpu& cpu) { return {cpu.package, cpu.core}; }

}  // namespace

int CpuTopology::num_cores() const {
  std::set<CoreKey> cores;
  for (const LogicalCpu& cpu : cpus) cores.insert(core_of(cpu));
  return static_cast<int>(cores.size());
}

int CpuTopology::num_nodes() const {
  std::set<int> nodes;
  for (const LogicalCpu& cpu : cpus) nodes.insert(cpu.node);
  return static_cast<int>(nodes.size());
}

bool CpuTopology::hybrid() const {
  return std::any_of(cpus.begin(), cpus.end(),
                     [&](const LogicalCpu& cpu) { return cpu.capacity != cpus.front().capacity; });
}

int CpuTopology::default_threads() const {
  int count = num_cores();
  if (quota_cpus > 0) count = std::min(count, static_cast<int>(std::floor(quota_cpus)));
  return std::max(count, 1);
}

CpuTopology read_cpu_topology(const std::string& root, std::vector<int> affinity) {
  CpuTopology topology;
  if (affinity.empty()) affinity = own_affinity();
  std::sort(affinity.begin(), affinity.end());
  const std::string cpus = root + "/sys/devices/system/cpu/cpu";
  const std::vector<int> small = list_of(root + "/sys/devices/cpu_atom/cpus");
  for (const int id : affinity) {
    const std::string folder = cpus + std::to_string(id);
    LogicalCpu cpu;
    cpu.id = id;
    cpu.package = number_of(folder + "/topology/physical_package_id").value_or(0);
    cpu.core = number_of(folder + "/topology/core_id").value_or(id);
    const bool is_small = std::find(small.begin(), small.end(), id) != small.end();
    cpu.capacity =
        number_of(folder + "/cpu_capacity").value_or(is_small ? kSmallCoreCapacity : kFullCapacity);
    topology.cpus.push_back(cpu);
  }
  for (const int node : list_of(root + "/sys/devices/system/node/online")) {
    if (node >= kMaxNodes) break;
    const std::vector<int> members =
        list_of(root + "/sys/devices/system/node/node" + std::to_string(node) + "/cpulist");
    for (LogicalCpu& cpu : topology.cpus) {
      if (std::find(members.begin(), members.end(), cpu.id) != members.end()) cpu.node = node;
    }
  }
  topology.quota_cpus = cgroup_quota(root);
  return topology;
}

std::vector<int> choose_cpus(const CpuTopology& topology, int num_threads) {
  // Rank of a CPU among the hyper-threads of its core.
  std::vector<std::tuple<int, int, int, int>> order;  // rank, -capacity, node, id
  for (const LogicalCpu& cpu : topology.cpus) {
    const auto rank = static_cast<int>(
        std::count_if(topology.cpus.begin(), topology.cpus.end(), [&](const LogicalCpu& other) {
          return core_of(other) == core_of(cpu) && other.id < cpu.id;
        }));
    order.emplace_back(rank, -cpu.capacity, cpu.node, cpu.id);
  }
  std::sort(order.begin(), order.end());
  const size_t wanted = static_cast<size_t>(std::max(num_threads, 1));
  order.resize(std::min(order.size(), wanted));
  // Workers own neighbouring shares of every matrix: those of one node stand together.
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return std::get<2>(a) < std::get<2>(b); });
  std::vector<int> ids;
  for (size_t worker = 0; worker < wanted; ++worker) {
    ids.push_back(std::get<3>(order[worker % order.size()]));
  }
  return ids;
}

Result<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::vector<int> ids;
  auto wrong = [&](std::string_view part) {
    return invalid_argument(fmt::format(
        "CPU list \"{}\": \"{}\" is not a CPU number or range from 0 to {} (example: 0-3,8)",
        text.substr(0, 80), part.substr(0, 40), kMaxCpuId));
  };
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const char* const end = part.data() + part.size();
    int first = -1;
    auto [at, error] = std::from_chars(part.data(), end, first);
    if (error != std::errc() || first < 0 || first > kMaxCpuId) return wrong(part);
    int last = first;
    if (at != end) {
      if (*at != '-') return wrong(part);
      const auto [after, range_error] = std::from_chars(at + 1, end, last);
      if (range_error != std::errc() || after != end || last < first || last > kMaxCpuId) {
        return wrong(part);
      }
    }
    for (int id = first; id <= last; ++id) {
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
    if (comma == std::string_view::npos) return ids;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace sparrow
