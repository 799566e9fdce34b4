// sparrow_sim: the simulation from the command line. Not part of the product.

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "sim_runner.h"

namespace sparrow {
namespace {

constexpr const char* kHelp = R"(Seeded simulation of the serving core with faults.

  --seed N       run this seed only
  --first N      first seed (1)
  --seeds N      number of seeds (1500)
  --faults N     run seeds until this many faults were injected
  --jobs N       processes (1)
  --requests N   only the first N requests of each seed
  --without KIND leave a kind of fault out; may be repeated
  --trace FILE   arrivals and lengths of half the seeds from an Azure trace CSV
  --no-shrink    report a failure as it was found
  --json         counts as one JSON object

  sparrow_sim --faults 1000000 --jobs 2
  sparrow_sim --seed 17 --requests 3 --without long_step
)";

struct CommandLine {
  SimRunnerOptions runner;
  std::string trace_path;
  bool has_json = false;
  bool has_help = false;
};

bool parse_number(const char* text, uint64_t& value) {
  const char* end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, value);
  return error == std::errc() && at == end;
}

// Empty, or what is wrong.
std::string parse(const std::vector<const char*>& args, CommandLine& line) {
  line.runner.num_seeds = 1500;
  SimulationOptions& simulation = line.runner.simulation;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string name = args[i];
    if (name == "--json" || name == "--no-shrink" || name == "--help") {
      line.has_json |= name == "--json";
      line.has_help |= name == "--help";
      if (name == "--no-shrink") line.runner.shrinks = false;
      continue;
    }
    if (i + 1 == args.size()) return name + " is unknown or needs a value; see --help";
    const char* const text = args[++i];
    uint64_t value = 0;
    if (name == "--trace") {
      line.trace_path = text;
    } else if (name == "--without") {
      const auto kind = fault_of_name(text);
      if (!kind) return fmt::format("--without {}: no such kind of fault", text);
      simulation.disabled.set(static_cast<size_t>(*kind));
    } else if (!parse_number(text, value) || value == 0) {
      return fmt::format("{} {}: must be a number above 0", name, text);
    } else if (name == "--seed" || name == "--first") {
      simulation.seed = value;
      if (name == "--seed") line.runner.num_seeds = 1;
    } else if (name == "--seeds") {
      line.runner.num_seeds = value;
    } else if (name == "--faults") {
      line.runner.num_faults = value;
      line.runner.num_seeds = 0;
    } else if (name == "--jobs" && value <= 256) {
      line.runner.num_jobs = static_cast<int>(value);
    } else if (name == "--requests" && value <= 1'000'000) {
      simulation.max_requests = static_cast<int>(value);
    } else {
      return fmt::format("{} {} is not understood; see --help", name, text);
    }
  }
  return "";
}

using Row = std::pair<std::string, double>;

std::vector<Row> summary(const SimRunnerReport& report) {
  const SimulationCounts& counts = report.counts;
  return {{"runs", static_cast<double>(counts.num_runs)},
          {"simulated_hours", static_cast<double>(counts.simulated_ms) / 3.6e6},
          {"steps", static_cast<double>(counts.num_steps)},
          {"steps_ahead", static_cast<double>(counts.num_steps_ahead)},
          {"steps_worthless", static_cast<double>(counts.num_steps_worthless)},
          {"requests", static_cast<double>(counts.num_requests)},
          {"choices", static_cast<double>(counts.num_choices)},
          {"ordinary_ends", static_cast<double>(counts.num_ordinary_ends)},
          {"tokens", static_cast<double>(counts.num_tokens)},
          {"prompt_tokens", static_cast<double>(counts.num_prompt_tokens)},
          {"cached_tokens", static_cast<double>(counts.num_cached_tokens)},
          {"preemptions", static_cast<double>(counts.num_preemptions)},
          {"drafted_tokens", static_cast<double>(counts.num_drafted)},
          {"accepted_tokens", static_cast<double>(counts.num_accepted)},
          {"refused_at_door", static_cast<double>(counts.num_refused_at_door)},
          {"shortened", static_cast<double>(counts.num_shortened)},
          {"messages", static_cast<double>(counts.num_messages)},
          {"faults", static_cast<double>(total(counts.faults))},
          {"seconds", report.seconds},
          {"steps_per_second", static_cast<double>(counts.num_steps) / report.seconds}};
}

void print_table(const SimRunnerReport& report) {
  for (const auto& [name, value] : summary(report)) fmt::print("{:20} {:14.0f}\n", name, value);
  fmt::print("faults by kind\n");
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) {
    fmt::print("  {:18} {:14}\n", fault_name(static_cast<FaultKind>(kind)),
               report.counts.faults[kind]);
  }
  fmt::print("violations           {:14}\n", report.failure.empty() ? 0 : 1);
}

void print_json(const SimRunnerReport& report) {
  std::string out = "{";
  for (const auto& [name, value] : summary(report))
    out += fmt::format("\"{}\": {:.3f}, ", name, value);
  out += "\"faults_by_kind\": {";
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) {
    out += fmt::format("{}\"{}\": {}", kind == 0 ? "" : ", ",
                       fault_name(static_cast<FaultKind>(kind)), report.counts.faults[kind]);
  }
  fmt::print("{}}}, \"violations\": {}}}\n", out, report.failure.empty() ? 0 : 1);
}

int run(const std::vector<const char*>& args) {
  CommandLine line;
  const std::string wrong = parse(args, line);
  if (!wrong.empty() || line.has_help) {
    fmt::print(wrong.empty() ? stdout : stderr, "{}\n", wrong.empty() ? kHelp : wrong);
    return wrong.empty() ? 0 : 2;
  }
  std::vector<TraceRow> trace;
  if (!line.trace_path.empty()) {
    Result<std::vector<TraceRow>> rows = read_trace(line.trace_path);
    if (!rows.ok()) {
      fmt::print(stderr, "{}\n", rows.message());
      return 2;
    }
    trace = std::move(*rows);
    line.runner.simulation.trace = &trace;
  }
  // A failed step is an event of the run here, and not news.
  CHECK(configure_log({.level = LogLevel::kOff}).ok());
  const SimRunnerReport report = run_simulations(line.runner);
  if (line.has_json) {
    print_json(report);
  } else {
    print_table(report);
  }
  if (!report.failure.empty())
    fmt::print(stderr, "{}commit: {}\n", report.failure, SPARROW_SIM_COMMIT);
  return report.failure.empty() ? 0 : 1;
}

}  // namespace
}  // namespace sparrow

int main(int argc, char** argv) { return sparrow::run({argv + 1, argv + argc}); }
