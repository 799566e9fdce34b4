// sparrow pull: downloads a model from a Hugging Face hub into the local cache.

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "base/clock.h"
#include "base/json.h"
#include "cmd/command.h"
#include "cmd/model_session.h"
#include "cmd/progress.h"
#include "cmd/stop_signal.h"
#include "cmd/transfer_rate.h"
#include "model/model_locator.h"
#include "tools/pull/pull.h"

namespace sparrow {
namespace {

constexpr const char* kDefaultId = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B";

constexpr OptionSpec kOptions[] = {
    {.name = "revision",
     .type = OptionType::kString,
     .default_text = "main",
     .help = "Branch, tag or commit"},
    {.name = "file",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Take this one .gguf file instead of the safetensors model"},
    {.name = "cache-dir",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Cache folder; default: HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub"},
    {.name = "check",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Download nothing; say whether the hub has a newer revision than the cache"},
    {.name = "retry-wait",
     .type = OptionType::kNumber,
     .default_text = "1",
     .help = "Wait before the first of up to 4 repeats; doubled each time",
     .unit = "seconds",
     .min = 0,
     .max = 30},
    {.name = "json",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Print one JSON object about what was done"},
    {.name = "quiet",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Print only the path, and errors",
     .aliases = "-q"},
};

constexpr const char* kExamples =
    "  sparrow pull                                    the R1 distill, then: sparrow serve\n"
    "  sparrow pull unsloth/DeepSeek-R1-Distill-Qwen-1.5B-GGUF --file "
    "DeepSeek-R1-Distill-Qwen-1.5B-Q8_0.gguf\n"
    "  sparrow pull --check                            is there a newer revision?\n"
    "  HF_ENDPOINT=https://hf-mirror.com sparrow pull  from a mirror\n"
    "  HF_TOKEN=hf_... sparrow pull OWNER/GATED-MODEL  with your account's access\n";

// What the work says on the way, on stderr.
class Face {
 public:
  explicit Face(bool quiet) : quiet_(quiet), progress_("pull", false) {}

  PullEvents events() {
    PullEvents events;
    events.progress = [this](const PullProgress& now) {
      last_ = now;
      rate_.add(clock_.now(), now.received_bytes);
      if (quiet_ || now.total_bytes == 0) return;
      const double share =
          static_cast<double>(now.done_bytes) / static_cast<double>(now.total_bytes);
      progress_.show(share, transfer_text(now.done_bytes, now.total_bytes, rate_.bytes_per_s()));
    };
    events.note = [this](const std::string& line) {
      if (quiet_) return;
      progress_.clear();
      std::fprintf(stderr, "%s\n", line.c_str());
    };
    return events;
  }

  void clear() { progress_.clear(); }
  const PullProgress& last() const { return last_; }

 private:
  const bool quiet_;
  Progress progress_;
  TransferRate rate_;
  RealClock clock_;
  PullProgress last_;
};

PullOptions pull_options(const OptionValues& values) {
  PullOptions options;
  options.id = values.positional().empty() ? kDefaultId : values.positional().front();
  options.revision = values.text("revision");
  options.gguf = values.text("file");
  options.cache_dir = values.text("cache-dir");
  options.first_retry_wait_s = values.number("retry-wait");
  options.stop = &catch_stop_signals();  // what was received stays
  return options;
}

void print_json(const PullSummary& summary, double seconds) {
  std::string out;
  const auto text = [&](const char* name, const std::string& value) {
    out += fmt::format("{}\"{}\":", out.empty() ? "{" : ",", name);
    append_json_string(out, value);
  };
  text("id", summary.id);
  text("revision", summary.revision);
  text("commit", summary.commit);
  text("path", summary.path);
  out += fmt::format(",\"total_bytes\":{},\"received_bytes\":{},\"seconds\":", summary.total_bytes,
                     summary.received_bytes);
  append_json_number(out, seconds);
  out += ",\"files\":[";
  for (size_t i = 0; i < summary.files.size(); ++i) {
    const PulledFile& file = summary.files[i];
    out += i == 0 ? "{\"path\":" : ",{\"path\":";
    append_json_string(out, file.path);
    out += fmt::format(",\"bytes\":{},\"received_bytes\":{}}}", file.bytes, file.received_bytes);
  }
  std::printf("%s]}\n", out.c_str());
}

// How to start what was pulled: by id when the default search finds it.
std::string model_argument(const PullSummary& summary) {
  const Result<ModelLocation> found = locate_model(summary.id);
  std::error_code error;
  const bool by_id = found.ok() && std::filesystem::equivalent(found->path, summary.path, error);
  return by_id ? summary.id : summary.path;
}

void report(const PullSummary& summary, double seconds) {
  const bool nothing_new = summary.received_bytes == 0;
  const std::string what = nothing_new ? "already there, nothing to download"
                                       : fmt::format("{} received in {:.0f} s",
                                                     size_text(summary.received_bytes), seconds);
  std::fprintf(stderr, "%s at %.12s: %s, %s. Start it: sparrow serve --model %s\n",
               summary.id.c_str(), summary.commit.c_str(), size_text(summary.total_bytes).c_str(),
               what.c_str(), model_argument(summary).c_str());
}

int fail_pull(const Status& status, const PullOptions& options, const PullProgress& last) {
  if (status.code() == StatusCode::kCancelled) {
    if (last.total_bytes == 0) return fail(status);
    return fail(
        Status(status.code(), fmt::format("stopped with {}. The same command goes on from there",
                                          transfer_text(last.done_bytes, last.total_bytes, 0))));
  }
  const int code = fail(status);
  if (status.code() != StatusCode::kUnavailable) return code;
  if (last.received_bytes > 0) {
    std::fputs("What was received is kept; the same command goes on from there.\n", stderr);
  }
  const Result<ModelLocation> cached = locate_model(options.id);
  if (cached.ok()) {
    std::fprintf(stderr,
                 "The copy in the cache works without the network: sparrow serve --model %s\n",
                 options.id.c_str());
  }
  return code;
}

int check(const OptionValues& values, const PullOptions& options, Face& face) {
  const Result<PullCheck> found = check_model(options, face.events());
  if (!found.ok()) return fail_pull(found.status(), options, {});
  const bool current = found->commit == found->cached_commit;
  if (values.flag("json")) {
    std::string out = "{\"id\":";
    append_json_string(out, found->id);
    out += fmt::format(",\"commit\":\"{}\",\"cached_commit\":", found->commit);
    out += found->cached_commit.empty() ? "null" : fmt::format("\"{}\"", found->cached_commit);
    std::printf("%s,\"up_to_date\":%s}\n", out.c_str(), current ? "true" : "false");
  } else if (current) {
    std::printf("%s: up to date (%.12s)\n", found->id.c_str(), found->commit.c_str());
  } else if (found->cached_commit.empty()) {
    std::printf("%s: not in the cache; the hub has %.12s. Get it: sparrow pull %s\n",
                found->id.c_str(), found->commit.c_str(), found->id.c_str());
  } else {
    std::printf(
        "%s: a newer revision is there: %.12s, in the cache is %.12s. Get it: sparrow pull "
        "%s\n",
        found->id.c_str(), found->commit.c_str(), found->cached_commit.c_str(), found->id.c_str());
  }
  return 0;
}

}  // namespace

const CommandSpec& pull_spec() {
  static const CommandSpec kSpec{.name = "pull",
                                 .summary = "Download a model into the Hugging Face cache",
                                 .positional = "[ID]",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

int run_pull(const OptionValues& values) {
  if (values.positional().size() > 1) {
    std::fprintf(stderr, "error: one id at a time, got '%s' too. See sparrow pull --help\n",
                 values.positional()[1].c_str());
    return 2;
  }
  const PullOptions options = pull_options(values);
  const bool json = values.flag("json");
  Face face(values.flag("quiet"));
  if (values.flag("check")) return check(values, options, face);
  const RealClock clock;
  const TimePoint begin = clock.now();
  const Result<PullSummary> summary = pull_model(options, face.events());
  face.clear();
  if (!summary.ok()) return fail_pull(summary.status(), options, face.last());
  const double seconds = to_seconds(clock.now() - begin);
  if (!values.flag("quiet")) report(*summary, seconds);
  if (json) {
    print_json(*summary, seconds);
  } else {
    std::printf("%s\n", summary->path.c_str());
  }
  return 0;
}

}  // namespace sparrow
