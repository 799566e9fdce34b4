#include "sim_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <limits>
#include <vector>

#include "base/check.h"

namespace sparrow {
namespace {

constexpr uint64_t kRunTwiceEvery = 100;
// A run takes milliseconds.
constexpr unsigned kHangSeconds = 60;

// What a worker sends when it ends, followed by the text of a failure.
struct WorkerResult {
  SimulationCounts counts;
  uint64_t failed_seed = 0;  // 0: none
};

// Of this process, for the signal handler.
WorkerResult g_result;
const Simulation* g_running = nullptr;
uint64_t g_seed = 0;
int g_output = -1;

void write_all(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(fd, at, size);
    if (written <= 0) return;
    at += written;
    size -= static_cast<size_t>(written);
  }
}

[[noreturn]] void finish_worker(const std::string& failure) {
  if (!failure.empty()) g_result.failed_seed = g_seed;
  write_all(g_output, &g_result, sizeof g_result);
  write_all(g_output, failure.data(), failure.size());
  ::_exit(failure.empty() ? 0 : 1);
}

// The process is lost anyway, so that the handler may allocate; a second signal ends it.
void on_signal(int signal) {
  std::signal(signal, SIG_DFL);
  const char* what = signal == SIGALRM   ? "it hangs"
                     : signal == SIGABRT ? "a CHECK failed (see above)"
                                         : "it crashed";
  finish_worker(g_running != nullptr ? g_running->report(what) : what);
}

void catch_signals() {
  for (const int signal : {SIGABRT, SIGSEGV, SIGALRM, SIGFPE, SIGBUS}) {
    std::signal(signal, on_signal);
  }
}

std::string run_seed(const SimulationOptions& options, SimulationResult& result) {
  g_seed = options.seed;
  ::alarm(kHangSeconds);
  Simulation simulation(options);
  g_running = &simulation;
  result = simulation.run();
  g_running = nullptr;
  return result.violation.empty() ? "" : simulation.report(result.violation);
}

void work(const SimRunnerOptions& options, int worker) {
  const auto jobs = static_cast<uint64_t>(options.num_jobs);
  const uint64_t faults_wanted = options.num_faults / jobs + 1;
  SimulationOptions run = options.simulation;
  for (uint64_t index = static_cast<uint64_t>(worker);; index += jobs) {
    const bool is_enough = options.num_seeds > 0 ? index >= options.num_seeds
                                                 : total(g_result.counts.faults) >= faults_wanted;
    if (is_enough) return;
    run.seed = options.simulation.seed + index;
    SimulationResult result;
    const std::string failure = run_seed(run, result);
    g_result.counts.add(result.counts);
    if (!failure.empty()) finish_worker(failure);
    if (run.seed % kRunTwiceEvery != 0) continue;
    SimulationResult again;
    run_seed(run, again);
    if (again.trace_hash != result.trace_hash) {
      finish_worker(fmt::format("VIOLATION seed {}: two runs of it differ\n", run.seed));
    }
  }
}

struct Child {
  pid_t pid = -1;
  int output = -1;
};

Child start(bool is_quiet, const std::function<void()>& body) {
  int ends[2];
  CHECK(::pipe(ends) == 0);
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    ::close(ends[0]);
    if (is_quiet) {
      const int nowhere = ::open("/dev/null", O_WRONLY);
      ::dup2(nowhere, STDERR_FILENO);
    }
    g_output = ends[1];
    g_result = {};
    catch_signals();
    body();
    finish_worker("");
  }
  ::close(ends[1]);
  return {pid, ends[0]};
}

// Adds what the child counted; returns its failure.
std::string collect(const Child& child, WorkerResult& sum) {
  std::string bytes;
  char buffer[4096];
  for (ssize_t count; (count = ::read(child.output, buffer, sizeof buffer)) > 0;) {
    bytes.append(buffer, static_cast<size_t>(count));
  }
  ::close(child.output);
  int status = 0;
  ::waitpid(child.pid, &status, 0);
  if (bytes.size() < sizeof(WorkerResult)) return "a worker died without a word\n";
  WorkerResult result;
  std::copy_n(bytes.data(), sizeof result, reinterpret_cast<char*>(&result));
  sum.counts.add(result.counts);
  if (result.failed_seed != 0) sum.failed_seed = result.failed_seed;
  return bytes.substr(sizeof result);
}

std::string failure_of(const SimulationOptions& options, bool is_quiet) {
  const Child child = start(is_quiet, [&] {
    SimulationResult result;
    const std::string failure = run_seed(options, result);
    if (!failure.empty()) finish_worker(failure);
  });
  WorkerResult ignored;
  return collect(child, ignored);
}

// Takes away what the failure does not need: requests from the end, then kinds of faults.
SimulationOptions shrink(SimulationOptions options) {
  const std::vector<TraceRow> none;
  const auto& trace = options.trace != nullptr ? *options.trace : none;
  const auto fails_with = [](const SimulationOptions& smaller) {
    return !failure_of(smaller, true).empty();
  };
  const auto fewer_requests = [&] {
    const FaultPlan faults(options.seed, options.disabled);
    const auto all =
        make_workload(options.seed, faults, options.max_requests, trace).arrivals.size();
    int count = static_cast<int>(all);
    for (int cut = count / 2; cut >= 1; cut /= 2) {
      while (count > cut) {
        SimulationOptions smaller = options;
        smaller.max_requests = count - cut;
        if (!fails_with(smaller)) break;
        options = smaller;
        count -= cut;
      }
    }
  };
  fewer_requests();
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) {
    const FaultPlan faults(options.seed, options.disabled);
    if (!faults.is_active(static_cast<FaultKind>(kind))) continue;
    SimulationOptions smaller = options;
    smaller.disabled.set(kind);
    if (fails_with(smaller)) options = smaller;
  }
  fewer_requests();
  return options;
}

}  // namespace

SimRunnerReport run_simulations(const SimRunnerOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Child> children;
  for (int worker = 0; worker < options.num_jobs; ++worker) {
    children.push_back(start(false, [&options, worker] { work(options, worker); }));
  }
  SimRunnerReport report;
  WorkerResult sum;
  for (const Child& child : children) {
    const std::string failure = collect(child, sum);
    if (report.failure.empty()) report.failure = failure;
  }
  report.counts = sum.counts;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  report.seconds = elapsed.count();
  if (report.failure.empty() || !options.shrinks || sum.failed_seed == 0) return report;
  SimulationOptions failing = options.simulation;
  failing.seed = sum.failed_seed;
  const std::string smaller = failure_of(shrink(failing), false);
  if (!smaller.empty()) report.failure = smaller;
  return report;
}

}  // namespace sparrow
