#include "cmd/bench_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "cmd/bench/bench_json.h"

namespace sparrow {
namespace {

std::string json_row(const BenchRow& row, const BenchedModel& model) {
  std::string out =
      fmt::format("{{\"test\":\"{}\",\"batch\":{},\"depth\":{}", row.test, row.batch, row.depth);
  append_number(out, "tokens_per_s", row.tokens_per_s);
  append_number(out, "tokens_per_s_min", row.tokens_per_s_min);
  append_number(out, "tokens_per_s_max", row.tokens_per_s_max);
  if (row.test == "prefill") {
    append_number(out, "prompt_tokens", row.prompt_tokens);
  } else {
    append_number(out, "tokens_per_s_each", row.tokens_per_s_each);
  }
  if (row.first_token_s > 0) {
    append_number(out, "first_token_ms", row.first_token_s * 1e3);
    append_number(out, "first_token_ms_min", row.first_token_s_min * 1e3);
    append_number(out, "first_token_ms_max", row.first_token_s_max * 1e3);
  }
  if (row.test != "prefill") append_number(out, "step_ms", row.step_s * 1e3);
  if (row.test == "verify") {
    append_number(out, "guesses", row.guesses);
    append_number(out, "step_ratio", row.step_ratio);
    append_number(out, "step_ratio_min", row.step_ratio_min);
    append_number(out, "step_ratio_max", row.step_ratio_max);
  }
  append_number(out, "gb_per_s", row.bytes_per_s * 1e-9);
  append_number(out, "gops", row.ops_per_s * 1e-9);
  append_number(out, "share_of_limit", row.share_of_limit);
  append_text(out, "limit", row.limit);
  if (row.read_bytes_per_s_beside > 0) {
    append_number(out, "read_gb_per_s_beside", row.read_bytes_per_s_beside * 1e-9);
    append_number(out, "share_of_read_beside", row.share_of_read_beside);
  }
  append_run(out, model);
  return out;
}

template <typename Row>
void print_json(const std::vector<Row>& rows, const BenchedModel& model,
                std::string (*text_of)(const Row&, const BenchedModel&)) {
  std::vector<std::string> texts;
  for (const Row& row : rows) texts.push_back(text_of(row, model));
  print_json_array(texts);
}

std::string share_text(const BenchRow& row) {
  std::string text = fmt::format("{:5.1f} % of {}", row.share_of_limit * 100, row.limit);
  if (row.limit == "bandwidth" && row.read_bytes_per_s_beside > 0) {
    text += fmt::format(", {:.1f} beside", row.share_of_read_beside * 100);
  }
  return text;
}

// From an idle executor: the prompt and the first sampled token.
void print_first_tokens(const std::vector<BenchRow>& rows) {
  const char* gap = "\n";
  for (const BenchRow& row : rows) {
    if (row.first_token_s <= 0) continue;
    const std::string behind = row.depth > 0 ? fmt::format(" behind {} others", row.depth) : "";
    std::printf("%sfirst token of a prompt of %d tokens%s: %.2f ms (%.2f to %.2f)\n", gap,
                row.prompt_tokens, behind.c_str(), row.first_token_s * 1e3,
                row.first_token_s_min * 1e3, row.first_token_s_max * 1e3);
    gap = "";
  }
}

// At most 120 columns. "each": tokens/s of one sequence. "beside": of what read passes between the
// steps reached.
void print_rows_table(const std::vector<BenchRow>& rows, const BenchedModel& model) {
  print_model(model);
  std::printf("%-7s %5s %6s %9s %9s %9s %8s %8s %7s %8s  %s\n", "test", "batch", "depth", "tok/s",
              "min", "max", "each", "ms/step", "GB/s", "GOPS", "share of limit");
  for (const BenchRow& row : rows) {
    if (row.test == "verify") continue;
    // Prompts are computed one after the other.
    const bool is_prefill = row.test == "prefill";
    const std::string each = is_prefill ? "-" : fmt::format("{:.2f}", row.tokens_per_s_each);
    const std::string step = is_prefill ? "-" : fmt::format("{:.2f}", row.step_s * 1e3);
    std::printf("%-7s %5d %6d %9.2f %9.2f %9.2f %8s %8s %7.2f %8.1f  %s\n", row.test.c_str(),
                row.batch, row.depth, row.tokens_per_s, row.tokens_per_s_min, row.tokens_per_s_max,
                each.c_str(), step.c_str(), row.bytes_per_s * 1e-9, row.ops_per_s * 1e-9,
                share_text(row).c_str());
  }
  print_first_tokens(rows);
  bool has_header = false;
  for (const BenchRow& row : rows) {
    if (row.test != "verify") continue;
    if (!has_header) {
      std::printf("\n%-8s %7s %7s %9s %9s %9s %9s   %-13s %s\n", "test", "guesses", "depth",
                  "ms/step", "x plain", "min", "max", "pays if right", "share of limit");
      has_header = true;
    }
    const std::string pays =
        row.guesses == 0 ? "-" : fmt::format("> {:.2f} a step", std::max(row.step_ratio - 1, 0.0));
    std::printf("%-8s %7d %7d %9.2f %9.3f %9.3f %9.3f   %-13s %5.1f %% of %s\n", row.test.c_str(),
                row.guesses, row.depth, row.step_s * 1e3, row.step_ratio, row.step_ratio_min,
                row.step_ratio_max, pays.c_str(), row.share_of_limit * 100, row.limit.c_str());
  }
}

std::string replay_json(const ReplayRow& row, const BenchedModel& model) {
  std::string out =
      fmt::format("{{\"test\":\"replay\",\"text\":{},\"tokens\":{}", row.text, row.num_tokens);
  append_number(out, "tokens_per_s_plain", row.num_tokens / row.plain_s);
  append_number(out, "tokens_per_s", row.num_tokens / row.drafted_s);
  append_number(out, "speedup", row.speedup);
  append_number(out, "speedup_min", row.speedup_min);
  append_number(out, "speedup_max", row.speedup_max);
  append_number(out, "steps", row.steps);
  append_number(out, "guessed", row.guessed);
  append_number(out, "right", row.right);
  append_run(out, model);
  return out;
}

void print_replay_table(const std::vector<ReplayRow>& rows, const BenchedModel& model) {
  print_model(model);
  std::printf("%-6s %7s %9s %9s %9s %9s %9s   %8s %8s %8s\n", "text", "tokens", "steps", "guessed",
              "right", "tok/s off", "tok/s on", "x faster", "min", "max");
  for (const ReplayRow& row : rows) {
    const std::string name = row.text < 0 ? "all" : fmt::format("{}", row.text + 1);
    std::printf("%-6s %7d %9.1f %9.1f %9.1f %9.2f %9.2f   %8.3f %8.3f %8.3f\n", name.c_str(),
                row.num_tokens, row.steps, row.guessed, row.right, row.num_tokens / row.plain_s,
                row.num_tokens / row.drafted_s, row.speedup, row.speedup_min, row.speedup_max);
  }
}

}  // namespace

void print_model(const BenchedModel& model) {
  std::printf("%s, %s, %s KV cache, %s\n", model.session.location.path.c_str(),
              model.session.format_name.c_str(), model.kv_type,
              model.session.executor->device_text().c_str());
  std::printf("measured limits: read %.1f GB/s before, %.1f after", model.before.bandwidth * 1e-9,
              model.after.bandwidth * 1e-9);
  const double int8_peak = std::max(model.before.int8_peak, model.after.int8_peak);
  if (int8_peak > 0) std::printf("; int8 %.0f GOPS", int8_peak * 1e-9);
  std::printf("\n\n");
}

void print_rows(const std::vector<BenchRow>& rows, const BenchedModel& model, bool as_json) {
  as_json ? print_json(rows, model, &json_row) : print_rows_table(rows, model);
}

void print_rows(const std::vector<ReplayRow>& rows, const BenchedModel& model, bool as_json) {
  as_json ? print_json(rows, model, &replay_json) : print_replay_table(rows, model);
}

}  // namespace sparrow
