// sparrow cache: the answer cache from outside the server: answers generated beforehand, what is in
// it, and how to empty it.

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "api/api_server.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cmd/command.h"
#include "cmd/model_session.h"
#include "cmd/options/answer_cache_options.h"
#include "cmd/options/model_options.h"
#include "cmd/options/speculation_options.h"
#include "cmd/progress.h"
#include "cmd/served_model_info.h"
#include "cmd/stop_signal.h"
#include "cmd/warm/answer_warmer.h"
#include "engine/engine_thread.h"

namespace sparrow {
namespace {

constexpr const char* kWarm = "Warm";
constexpr size_t kMaxFileBytes = 64 << 20;
constexpr int kInterrupted = 130;  // what shells give for SIGINT

constexpr const char* kExamples =
    "  sparrow cache warm faq.txt --answer-cache answers.db     one question a line, or JSONL\n"
    "  sparrow serve --answer-cache answers.db                  answers them at once\n"
    "  sparrow cache list --answer-cache answers.db\n"
    "  sparrow cache stats --answer-cache answers.db --json\n"
    "  SPARROW_ANSWER_CACHE=answers.db sparrow cache clear\n";

std::vector<OptionSpec> own_options() {
  return {
      {.name = "concurrency",
       .type = OptionType::kInt,
       .default_text = "8",
       .help = "Questions answered at once",
       .min = 1,
       .max = 256,
       .group = kWarm},
      {.name = "chat-template",
       .type = OptionType::kString,
       .default_text = "",
       .help = "File with a Jinja chat template; the same as the server's",
       .group = kWarm},
      {.name = "generation-config",
       .type = OptionType::kString,
       .default_text = "auto",
       .help = "Sampling defaults; the same as the server's",
       .choices = "auto|vllm",
       .group = kWarm},
      {.name = "limit",
       .type = OptionType::kSize,
       .default_text = "100",
       .help = "Rows that list prints, newest first",
       .min = 1,
       .max = 1e9},
      {.name = "json", .type = OptionType::kFlag, .default_text = "false", .help = "Print JSON"},
      {.name = "verbose",
       .type = OptionType::kFlag,
       .default_text = "false",
       .help = "Show the log lines of loading",
       .aliases = "-v"},
  };
}

int wrong_usage(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return 2;
}

WarmReport ask_all(const OptionValues& values, const std::vector<WarmQuestion>& questions,
                   const ModelSession& session, const SpeculationOptions& speculation) {
  MetricsRegistry metrics;
  api::ApiOptions options;
  options.default_max_tokens = session.executor->limits().max_context_tokens;
  options.answer_cache = answer_store_options(values);
  Engine engine(
      *session.executor, *session.tokenizer,
      {.max_num_seqs = static_cast<int>(values.integer("max-num-seqs")),
       .max_num_batched_tokens = static_cast<int>(values.integer("max-num-batched-tokens")),
       .speculation = speculation},
      nullptr);
  const RealClock clock;
  EngineThread thread(engine, clock);
  // After the engine: its end waits for the last answer to be on disk.
  api::ApiServer api(std::move(options), metrics);
  thread.start();
  api.set_ready(served_model_info(values, session), engine);
  AnswerWarmer warmer(api.handler(), static_cast<size_t>(values.integer("concurrency")));
  Progress progress("warm");
  const WarmReport report = warmer.run(questions, catch_stop_signals(), [&](const WarmReport& now) {
    const double share =
        static_cast<double>(now.num_done()) / static_cast<double>(questions.size());
    progress.show(share, fmt::format("{} of {} questions", now.num_done(), questions.size()));
  });
  progress.clear();
  thread.stop();
  api.stop();
  return report;
}

int print_report(const WarmReport& report, size_t num_questions, bool as_json) {
  for (const std::string& problem : report.problems) {
    std::fprintf(stderr, "%s\n", problem.c_str());
  }
  if (as_json) {
    std::printf(R"({"questions":%zu,"stored":%zu,"present":%zu,"failed":%zu,"stopped":%s})"
                "\n",
                num_questions, report.num_stored, report.num_present, report.problems.size(),
                report.stopped ? "true" : "false");
  } else {
    std::printf("%zu questions: %zu stored, %zu already there, %zu failed\n", num_questions,
                report.num_stored, report.num_present, report.problems.size());
  }
  if (report.stopped) {
    std::fprintf(stderr, "stopped: what is stored stays; the same command goes on from here\n");
    return kInterrupted;
  }
  return report.problems.empty() ? 0 : 1;
}

int warm(const OptionValues& values, const std::string& file) {
  Result<std::string> text = read_file(file, kMaxFileBytes);
  if (!text.ok()) return fail(text.status());
  Result<std::vector<WarmQuestion>> questions = parse_warm_questions(*text, file);
  if (!questions.ok()) return fail(questions.status());
  const Result<SpeculationOptions> speculation = speculation_options(values);
  if (!speculation.ok()) return fail(speculation.status());
  {
    AnswerStore store(answer_store_options(values));  // told before minutes of loading
    const Status status = store.open(unix_seconds());
    if (!status.ok()) return fail(status);
  }
  Result<ModelSession> session = open_session(values, "", {});
  if (!session.ok()) return fail(session.status());
  if (session->chat_template == nullptr) {
    return fail(failed_precondition(
        "this model has no chat template, so it answers no questions; give --chat-template FILE"));
  }
  return print_report(ask_all(values, *questions, *session, *speculation), questions->size(),
                      values.flag("json"));
}

std::string age_text(int64_t seconds) {
  if (seconds < 3600) return fmt::format("{} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} days", seconds / 86400);
}

Status print_list(AnswerStore& store, int64_t limit, bool as_json) {
  const int64_t now_s = unix_seconds();
  if (!as_json) std::printf("%-10s %9s  %-8s %s\n", "age", "bytes", "kind", "tenant or question");
  return store.list(limit, [&](const AnswerRow& row) {
    const std::string& shown = row.listed ? row.label : row.owner;
    std::string quoted;
    append_json_string(quoted, shown);  // one line, whatever stands in it
    if (as_json) {
      std::printf(R"({"created":%lld,"bytes":%lld,"listed":%s,"%s":%s})"
                  "\n",
                  static_cast<long long>(row.created_s), static_cast<long long>(row.bytes),
                  row.listed ? "true" : "false", row.listed ? "question" : "tenant",
                  quoted.c_str());
    } else {
      std::printf("%-10s %9lld  %-8s %s\n", age_text(now_s - row.created_s).c_str(),
                  static_cast<long long>(row.bytes), row.listed ? "question" : "exact",
                  quoted.c_str());
    }
  });
}

Status print_stats(AnswerStore& store, const AnswerStoreOptions& options, bool as_json) {
  const Result<AnswerStoreStats> stats = store.stats();
  if (!stats.ok()) return stats.status();
  if (as_json) {
    std::printf(R"({"answers":%lld,"listed":%lld,"bytes":%lld,"max_bytes":%lld,"oldest":%lld})"
                "\n",
                static_cast<long long>(stats->num_answers),
                static_cast<long long>(stats->num_listed), static_cast<long long>(stats->bytes),
                static_cast<long long>(options.max_bytes), static_cast<long long>(stats->oldest_s));
    return ok_status();
  }
  std::printf("%lld answers, %lld of them on the list, %s of %s",
              static_cast<long long>(stats->num_answers), static_cast<long long>(stats->num_listed),
              size_text(stats->bytes).c_str(), size_text(options.max_bytes).c_str());
  if (stats->oldest_s > 0) {
    std::printf(", the oldest %s old", age_text(unix_seconds() - stats->oldest_s).c_str());
  }
  std::printf("\n");
  return ok_status();
}

Status inspect(const OptionValues& values, const std::string& action) {
  const AnswerStoreOptions options = answer_store_options(values);
  if (!std::filesystem::exists(options.path)) {
    return not_found(fmt::format("{}: there is no answer cache", options.path));
  }
  AnswerStore store(options);
  RETURN_IF_ERROR(store.open(unix_seconds()));
  if (action == "list") return print_list(store, values.integer("limit"), values.flag("json"));
  if (action == "stats") return print_stats(store, options, values.flag("json"));
  ASSIGN_OR_RETURN(const AnswerStoreStats before, store.stats());
  RETURN_IF_ERROR(store.clear());
  std::printf("%lld answers removed\n", static_cast<long long>(before.num_answers));
  return ok_status();
}

}  // namespace

const CommandSpec& cache_spec() {
  static const std::vector<OptionSpec> kOptions =
      with_answer_cache_options(with_speculation_options(with_model_options(own_options())));
  static const CommandSpec kSpec{.name = "cache",
                                 .summary = "Answer common questions beforehand; list, clear",
                                 .positional = "warm FILE | list | stats | clear",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

int run_cache(const OptionValues& values) {
  const Status log = configure_log(
      {.level = values.flag("verbose") ? LogLevel::kInfo : LogLevel::kWarning, .file = {}});
  if (!log.ok()) return fail(log);
  const std::vector<std::string>& words = values.positional();
  const std::string action = words.empty() ? "" : words[0];
  const bool is_warm = action == "warm";
  if (!is_warm && action != "list" && action != "stats" && action != "clear") {
    return wrong_usage("sparrow cache needs one of: warm FILE, list, stats, clear");
  }
  if (words.size() != (is_warm ? 2 : 1)) {
    return wrong_usage(is_warm ? "sparrow cache warm needs one FILE with questions"
                               : fmt::format("sparrow cache {} takes nothing more", action));
  }
  if (const std::string missing = answer_store_missing(); !missing.empty()) {
    return fail(unimplemented(missing));
  }
  if (answer_store_options(values).path.empty()) {
    return wrong_usage("--answer-cache PATH is needed: the file that the server uses, too");
  }
  if (is_warm) return warm(values, words[1]);
  const Status status = inspect(values, action);
  return status.ok() ? 0 : fail(status);
}

}  // namespace sparrow
