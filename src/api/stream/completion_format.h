#pragma once
// CompletionStreamFormat and CompletionWholeFormat: the answer of POST /v1/completions, object
// text_completion in both forms. Loop thread of the request.

#include <string>
#include <vector>

#include "api/stream/response_format.h"

namespace sparrow::api {

struct CompletionFormatOptions {
  std::vector<std::string> echo;  // the prompts' texts, by prompt; empty: no echo
  int choices_per_prompt = 1;
};

class CompletionStreamFormat final : public ResponseFormat {
 public:
  CompletionStreamFormat(Reply reply, CompletionFormatOptions options);

  const Reply& reply() const override { return reply_; }
  void begin(std::string& out) override;
  void event(int choice, const StreamEvent& event, const UsageTotals& totals,
             std::string& out) override;
  void end(const UsageTotals& totals, std::string& out) override;

 private:
  void append_chunk(int choice, std::string_view text, const StreamEvent* event,
                    const UsageTotals* totals, std::string& out);

  const Reply reply_;
  const CompletionFormatOptions options_;
  std::string prefix_;
  std::vector<int64_t> text_offsets_;  // characters sent so far, by choice
};

class CompletionWholeFormat final : public ResponseFormat {
 public:
  CompletionWholeFormat(Reply reply, CompletionFormatOptions options);

  const Reply& reply() const override { return reply_; }
  void begin(std::string&) override {}
  void event(int choice, const StreamEvent& event, const UsageTotals& totals,
             std::string& out) override;
  void end(const UsageTotals& totals, std::string& out) override;

 private:
  struct Choice {
    std::string text;
    std::vector<EventToken> tokens;  // kept only for logprobs and token ids
    FinishReason finish = FinishReason::kNone;
  };
  void append_choice(size_t index, std::string& out) const;

  const Reply reply_;
  const CompletionFormatOptions options_;
  std::vector<Choice> choices_;
};

}  // namespace sparrow::api
