// The options of `sparrow serve`. Names are those of vLLM where it has them, so that known command
// lines run unchanged; what has no effect here says so in its help.

#include "api/engines/prefix_affinity.h"
#include "cmd/command.h"
#include "cmd/options/admission_options.h"
#include "cmd/options/answer_cache_options.h"
#include "cmd/options/model_options.h"
#include "cmd/options/speculation_options.h"

namespace sparrow {
namespace {

constexpr const char* kServer = "Server";
constexpr const char* kLimits = "Limits";
constexpr const char* kAnswers = "Answers";

std::vector<OptionSpec> server_options() {
  return {
      {.name = "host",
       .type = OptionType::kString,
       .default_text = "127.0.0.1",
       .help = "Address to listen on; 0.0.0.0 for every interface",
       .group = kServer},
      {.name = "port",
       .type = OptionType::kInt,
       .default_text = "8000",
       .help = "Port to listen on; 0 takes a free one and prints it",
       .min = 0,
       .max = 65535,
       .aliases = "-p",
       .group = kServer},
      {.name = "ui-port",
       .type = OptionType::kInt,
       .default_text = "",
       .help = "Listen on this port too, with the same pages and API",
       .min = 1,
       .max = 65535,
       .group = kServer},
      {.name = "metrics-port",
       .type = OptionType::kInt,
       .default_text = "",
       .help = "Serve /metrics and health on this port, and /metrics no longer on the main one",
       .min = 1,
       .max = 65535,
       .group = kServer},
      {.name = "metrics-legacy-names",
       .type = OptionType::kFlag,
       .default_text = "true",
       .help = "Export vLLM's old metric names, too, which some routers and boards still read",
       .group = kServer},
      {.name = "api-key",
       .type = OptionType::kList,
       .default_text = "",
       .help = "Keys that may use the API; without one everybody may. Others on this machine see "
               "arguments: the environment or --api-key-file is better",
       .group = kServer},
      {.name = "api-key-file",
       .type = OptionType::kString,
       .default_text = "",
       .help = "File of keys, one a line: NAME sha256:HEX rpm=60 tpm=100K concurrent=4 admin, as "
               "`sparrow key` makes it; read again when it changes and on SIGHUP",
       .group = kServer},
      {.name = "admin-key",
       .type = OptionType::kList,
       .default_text = "",
       .help = "Keys for /admin/status, /admin/drain and /admin/reload-keys; without any, these "
               "answer this machine only, and only on a loopback --host",
       .group = kServer},
      {.name = "ssl-certfile",
       .type = OptionType::kString,
       .default_text = "",
       .help = "Speak TLS (1.2 or later) with this certificate chain in PEM",
       .group = kServer},
      {.name = "ssl-keyfile",
       .type = OptionType::kString,
       .default_text = "",
       .help = "Private key of --ssl-certfile in PEM, without a password; absent: in the same file",
       .group = kServer},
      {.name = "served-model-name",
       .type = OptionType::kList,
       .default_text = "",
       .help = "Names the model answers to, beside its path and hub id; the first is what it calls "
               "itself",
       .group = kServer},
  };
}

std::vector<OptionSpec> process_options() {
  return {
      {.name = "cors",
       .type = OptionType::kList,
       .default_text = "",
       .help = "Origins of web pages that may call the API; * for any",
       .aliases = "--allowed-origins",
       .group = kServer},
      {.name = "allowed-hosts",
       .type = OptionType::kList,
       .default_text = "",
       .help = "Host names, beside localhost, that clients of a local server may use; * for any",
       .group = kServer},
      {.name = "io-threads",
       .type = OptionType::kInt,
       .default_text = "1",
       .help = "Threads for connections",
       .min = 1,
       .max = 16,
       .group = kServer},
      {.name = "shutdown-timeout",
       .type = OptionType::kNumber,
       .default_text = "30",
       .help = "How long running answers may go on after SIGTERM; new ones get 503",
       .unit = "seconds",
       .min = 0,
       .max = 86400,
       .group = kServer},
      {.name = "timeout-keep-alive",
       .type = OptionType::kNumber,
       .default_text = "75",
       .help = "How long an idle connection stays open",
       .unit = "seconds",
       .min = 1,
       .max = 86400,
       .group = kServer},
      {.name = "watchdog-timeout-s",
       .type = OptionType::kNumber,
       .default_text = "60",
       .help = "A step that takes this much longer than predicted makes /livez and /readyz answer "
               "503",
       .unit = "seconds",
       .min = 1,
       .max = 86400,
       .group = kServer},
      {.name = "data-parallel-size",
       .type = OptionType::kInt,
       .default_text = "1",
       .help =
           "Copies of the model that share the requests: on GPUs one on each card, on a CPU the "
           "threads are divided among them. The limits on sequences and queue are of each",
       .min = 1,
       .max = api::kMaxEngines,
       .aliases = "-dp",
       .group = kServer},
      {.name = "workers",
       .type = OptionType::kInt,
       .default_text = "1",
       .help = "Accepted, without effect: one process serves everybody",
       .min = 1,
       .max = 1024,
       .group = kServer},
  };
}

std::vector<OptionSpec> log_options() {
  return {
      {.name = "log-file",
       .type = OptionType::kString,
       .default_text = "",
       .help = "Write the log to this file too",
       .group = kServer},
      {.name = "log-format",
       .type = OptionType::kString,
       .default_text = "text",
       .help = "Lines for people, or one JSON object a line",
       .choices = "text|json",
       .group = kServer},
      {.name = "log-prompts",
       .type = OptionType::kFlag,
       .default_text = "false",
       .help = "Write requests to the log word for word; off: no prompt, answer or key is ever "
               "written",
       .group = kServer},
      {.name = "log-level",
       .type = OptionType::kString,
       .default_text = "info",
       .help = "Least important lines that are written",
       .choices = "debug|info|warning|error",
       .group = kServer},
  };
}

std::vector<OptionSpec> limit_options() {
  return {
      {.name = "max-step-ms",
       .type = OptionType::kNumber,
       .default_text = "200",
       .help = "Predicted duration one step may take: long prompts are cut to fit; on a GPU 30",
       .unit = "ms",
       .min = 1,
       .max = 60000,
       .group = kLimits},
      {.name = "seat-patience-ms",
       .type = OptionType::kNumber,
       .default_text = "2000",
       .help = "Where one API key holds most places of a step, another's request takes one after "
               "this wait; 0: it waits until an answer ends",
       .unit = "ms",
       .min = 0,
       .max = 3600000,
       .group = kLimits},
      {.name = "max-num-queued-reqs",
       .type = OptionType::kSize,
       .default_text = "1024",
       .help = "Waiting requests; more get 503 with Retry-After",
       .min = 1,
       .max = 1e6,
       .group = kLimits},
      {.name = "limit-concurrency",
       .type = OptionType::kSize,
       .default_text = "0",
       .help = "Requests in work at once; more get 503; 0 is off",
       .min = 0,
       .max = 1e6,
       .group = kLimits},
      {.name = "limit-max-requests",
       .type = OptionType::kSize,
       .default_text = "0",
       .help = "After that many generation requests finish them and exit with 0; 0 is off",
       .min = 0,
       .max = 1e12,
       .group = kLimits},
  };
}

std::vector<OptionSpec> size_options() {
  return {
      {.name = "max-connections",
       .type = OptionType::kSize,
       .default_text = "12288",
       .help = "Open connections; more get 503 and are closed",
       .min = 1,
       .max = 1e6,
       .group = kLimits},
      {.name = "max-body-bytes",
       .type = OptionType::kSize,
       .default_text = "16M",
       .help = "Largest request body; more gets 413",
       .unit = "bytes",
       .min = 1024,
       .max = 1073741824,
       .group = kLimits},
      {.name = "max-unsent",
       .type = OptionType::kSize,
       .default_text = "1M",
       .help = "What a slow reader of a stream may leave unread before it is cut off",
       .unit = "bytes",
       .min = 16384,
       .max = 1073741824,
       .group = kLimits},
      {.name = "max-n",
       .type = OptionType::kInt,
       .default_text = "16",
       .help = "Largest `n` of one request",
       .min = 1,
       .max = 128,
       .group = kLimits},
      {.name = "default-max-tokens",
       .type = OptionType::kSize,
       .default_text = "32768",
       .help = "Longest answer where the request names no max_tokens (and the context has room)",
       .unit = "tokens",
       .min = 1,
       .max = 1048576,
       .group = kLimits},
  };
}

std::vector<OptionSpec> answer_options() {
  return {
      {.name = "system-role",
       .type = OptionType::kString,
       .default_text = "auto",
       .help = "System text: fold it into the first user message, keep it, or refuse it; auto "
               "folds for R1",
       .choices = "auto|fold|keep|reject",
       .group = kAnswers},
      {.name = "reasoning-field",
       .type = OptionType::kString,
       .default_text = "both",
       .help = "Where thinking goes: both fields, one of them, or inline <think> tags",
       .choices = "both|reasoning_content|reasoning|inline",
       .group = kAnswers},
      {.name = "reasoning-parser",
       .type = OptionType::kString,
       .default_text = "",
       .help = "Accepted, without effect: the model's own think tokens decide",
       .group = kAnswers},
      {.name = "unknown-fields",
       .type = OptionType::kString,
       .default_text = "warn",
       .help = "Request fields no API defines: name them in x-sparrow-ignored, or refuse",
       .choices = "warn|reject",
       .group = kAnswers},
      {.name = "chat-template",
       .type = OptionType::kString,
       .default_text = "",
       .help = "File with a Jinja chat template to use instead of the model's",
       .group = kAnswers},
      {.name = "generation-config",
       .type = OptionType::kString,
       .default_text = "auto",
       .help = "Sampling defaults: auto reads the model's generation_config.json, vllm ignores it",
       .choices = "auto|vllm",
       .group = kAnswers},
      {.name = "enable-prefix-caching",
       .type = OptionType::kFlag,
       .default_text = "true",
       .help =
           "Keep computed prompts and answers, so that the same beginning is not computed again",
       .group = kAnswers},
      {.name = "enable-chunked-prefill",
       .type = OptionType::kFlag,
       .default_text = "true",
       .help = "Accepted, always on: long prompts never freeze the streams of others",
       .group = kAnswers},
  };
}

constexpr const char* kExamples =
    "  sparrow serve\n"
    "  sparrow serve --model /models/DeepSeek-R1-Distill-Qwen-1.5B --max-model-len 8K\n"
    "  sparrow serve --model r1-q8_0.gguf --host 0.0.0.0 --port 8000 --api-key secret\n"
    "  sparrow serve --device cuda --data-parallel-size 4        four GPUs, one address\n"
    "  sparrow serve --answer-cache answers.db           greedy answers are kept across starts\n"
    "  sparrow serve --host 0.0.0.0 --api-key-file keys.txt --ssl-certfile cert.pem --ssl-keyfile "
    "key.pem\n"
    "  SPARROW_MODEL=deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B sparrow serve --threads 4\n";

std::vector<OptionSpec> all_options() {
  std::vector<OptionSpec> all =
      with_answer_cache_options(with_speculation_options(with_model_options({})));
  all = with_admission_options(std::move(all));
  for (const auto& part : {server_options(), process_options(), log_options(), limit_options(),
                           size_options(), answer_options()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace

const CommandSpec& serve_spec() {
  static const std::vector<OptionSpec> kOptions = all_options();
  static const CommandSpec kSpec{.name = "serve",
                                 .summary = "Serve a model over an OpenAI-compatible API",
                                 .positional = "[MODEL]",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

}  // namespace sparrow
