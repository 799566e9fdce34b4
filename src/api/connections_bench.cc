// How many connections two cores hold: idle ones, then streams beside them, and what /health takes
// meanwhile. The server (the API and the engine on the fake executor) is a process of its own, so
// that its memory is told from the clients'.
//
//   api_connections_bench [--idle 10000] [--streams 2000] [--seconds 10] [--json]

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "api/engine_test_support.h"
#include "base/check.h"
#include "base/open_file_limit.h"
#include "http/crowd_test_support.h"
#include "http/process_test_support.h"

namespace sparrow::api {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

const std::string kHealth = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr int kStepMs = 200;  // of the fake executor, really waited: five tokens a second each

struct Settings {
  int num_idle = 10'000;
  int num_streams = 2'000;
  int seconds = 10;
  bool json = false;
};

struct Phase {
  const char* name;
  size_t num_idle = 0, num_streams = 0;
  std::vector<double> health_ms;  // sorted
  double stream_bytes_per_second = 0;
  size_t server_bytes = 0;

  double quantile(double share) const {
    const auto last = static_cast<double>(health_ms.size() - 1);
    return health_ms[static_cast<size_t>(share * last + 0.5)];
  }
};

FakeServerOptions server_options(const Settings& settings) {
  FakeServerOptions options;
  ExecutorLimits& limits = options.fake.limits;
  limits.block_tokens = 16;
  limits.num_slots = std::max(settings.num_streams, 1);
  limits.num_blocks = limits.num_slots * 64;
  limits.max_batch_tokens = limits.num_slots + 1024;
  options.fake.row_ms = 0.001;
  options.fake.extra_ms = [](uint64_t) {
    std::this_thread::sleep_for(milliseconds(kStepMs));
    return 1.0 * kStepMs;
  };
  options.engine.max_num_seqs = limits.num_slots;
  options.engine.max_num_batched_tokens = limits.max_batch_tokens;
  options.engine.max_step_ms = 10'000;
  options.engine.max_num_queued_reqs = limits.num_slots;
  options.api.prep_queue_capacity = static_cast<size_t>(limits.num_slots);
  options.http.max_connections = static_cast<size_t>(settings.num_idle + settings.num_streams + 64);
  options.http.keep_alive_timeout = milliseconds(3'600'000);
  return options;
}

// The child's whole life. Tells its port and serves until the parent closes its end.
[[noreturn]] void serve(const Settings& settings, int port_pipe, int end_pipe) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  {
    FakeServer server(server_options(settings));
    const uint16_t port = server.port();
    CHECK(::write(port_pipe, &port, sizeof port) == sizeof port);
    char byte = 0;
    while (::read(end_pipe, &byte, 1) > 0) {
    }
  }
  ::_exit(0);
}

// Asks every few milliseconds on a connection of its own while the crowds are read.
void measure(Phase& phase, uint16_t port, int seconds, http::Crowd& idle, http::Crowd& streams) {
  std::atomic<bool> stop{false};
  std::thread probe([&] {
    http::TestClient client(port);
    while (!stop) {
      const auto begin = Clock::now();
      CHECK(client.send(kHealth) && client.read_reply().status == 200);
      phase.health_ms.push_back(
          std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  const uint64_t bytes_before = streams.num_bytes_read();
  streams.read_for(milliseconds(seconds * 1000));
  stop = true;
  probe.join();
  idle.read_for(milliseconds(1));
  CHECK(idle.num_ended() == 0 && streams.num_ended() == 0);
  std::sort(phase.health_ms.begin(), phase.health_ms.end());
  phase.num_idle = idle.size();
  phase.num_streams = streams.size();
  phase.stream_bytes_per_second =
      static_cast<double>(streams.num_bytes_read() - bytes_before) / seconds;
}

void add_streams(http::Crowd& streams, int count) {
  const std::string body =
      R"({"max_tokens":900,"ignore_eos":true,"stream":true,"messages":[{"role":"user","content":"hi"}]})";
  constexpr int kAtOnce = 200;
  for (int added = 0; added < count; added += kAtOnce) {
    const size_t first = streams.size();
    for (int i = added; i < std::min(count, added + kAtOnce); ++i) {
      CHECK(streams.add(FakeServer::post_text("/v1/chat/completions", body)));
    }
    CHECK(streams.read_until_all(first, "", std::chrono::seconds(60)));
  }
}

void print(const std::vector<Phase>& phases, bool json) {
  if (!json) {
    std::printf("%-12s %8s %8s %8s %10s %10s %10s %12s %10s\n", "phase", "idle", "streams",
                "probes", "P50 ms", "P99 ms", "max ms", "stream kB/s", "server MB");
  }
  for (const Phase& phase : phases) {
    std::printf(json ? "{\"phase\":\"%s\",\"idle\":%zu,\"streams\":%zu,\"probes\":%zu,\"health_p50_"
                       "ms\":%.3f,"
                       "\"health_p99_ms\":%.3f,\"health_max_ms\":%.3f,\"stream_kb_per_s\":%.1f,"
                       "\"server_mb\":%.1f}\n"
                     : "%-12s %8zu %8zu %8zu %10.3f %10.3f %10.3f %12.1f %10.1f\n",
                phase.name, phase.num_idle, phase.num_streams, phase.health_ms.size(),
                phase.quantile(0.5), phase.quantile(0.99), phase.quantile(1),
                phase.stream_bytes_per_second / 1e3, static_cast<double>(phase.server_bytes) / 1e6);
  }
  const auto grown = [&](size_t from, size_t to, size_t count) {
    const auto bytes = static_cast<double>(phases[to].server_bytes) -
                       static_cast<double>(phases[from].server_bytes);
    return count == 0 ? 0.0 : bytes / static_cast<double>(count) / 1e3;
  };
  std::printf(
      json ? "{\"idle_connection_kb\":%.2f,\"stream_kb\":%.2f}\n"
           : "one idle connection: %.2f kB; one stream: %.2f kB (resident memory of the server)\n",
      grown(0, 1, phases[1].num_idle), grown(1, 2, phases[2].num_streams));
}

int run(const Settings& settings) {
  const int wanted = settings.num_idle + settings.num_streams + 256;
  const int64_t allowed = raise_open_file_limit(wanted);
  if (allowed < wanted) {
    std::fprintf(stderr, "needs ulimit -n %d, %lld is allowed\n", wanted,
                 static_cast<long long>(allowed));
    return 1;
  }
  int port_pipe[2], end_pipe[2];
  CHECK(::pipe(port_pipe) == 0 && ::pipe(end_pipe) == 0);
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    ::close(end_pipe[1]);
    serve(settings, port_pipe[1], end_pipe[0]);
  }
  uint16_t port = 0;
  CHECK(::read(port_pipe[0], &port, sizeof port) == sizeof port);
  const std::string process = std::to_string(child);

  std::vector<Phase> phases(3);
  phases[0].name = "alone";
  phases[1].name = "idle";
  phases[2].name = "idle+streams";
  http::Crowd idle(port), streams(port);
  measure(phases[0], port, settings.seconds, idle, streams);
  phases[0].server_bytes = resident_bytes(process.c_str());
  for (int i = 0; i < settings.num_idle; ++i) CHECK(idle.add(kHealth));
  CHECK(idle.read_until_all(0, "\"ready\"}", std::chrono::seconds(60)));
  measure(phases[1], port, settings.seconds, idle, streams);
  phases[1].server_bytes = resident_bytes(process.c_str());
  add_streams(streams, settings.num_streams);
  measure(phases[2], port, settings.seconds, idle, streams);
  phases[2].server_bytes = resident_bytes(process.c_str());
  // Every idle connection is still answered.
  for (size_t i = 0; i < idle.size(); ++i) CHECK(idle.ask(i, kHealth));
  CHECK(idle.read_until_all(0, "\"ready\"}", std::chrono::seconds(60)));
  print(phases, settings.json);
  ::close(end_pipe[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace
}  // namespace sparrow::api

int main(int argc, char** argv) {
  sparrow::api::Settings settings;
  for (int i = 1; i < argc; ++i) {
    const auto number = [&](const char* name, int& value) {
      if (std::strcmp(argv[i], name) != 0 || i + 1 == argc) return false;
      value = std::atoi(argv[++i]);
      return true;
    };
    if (number("--idle", settings.num_idle) || number("--streams", settings.num_streams) ||
        number("--seconds", settings.seconds)) {
      continue;
    }
    if (std::strcmp(argv[i], "--json") != 0) {
      std::fprintf(stderr, "usage: %s [--idle N] [--streams N] [--seconds N] [--json]\n", argv[0]);
      return 2;
    }
    settings.json = true;
  }
  return sparrow::api::run(settings);
}
