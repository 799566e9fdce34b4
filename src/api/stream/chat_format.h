#pragma once
// ChatStreamFormat and ChatWholeFormat: the answer of POST /v1/chat/completions. Thinking goes to
// reasoning_content and reasoning (or one of them, or inline as <think>…</think>), the rest to
// content. Loop thread of the request.

#include <memory>
#include <string>
#include <vector>

#include "api/api_options.h"
#include "api/stream/response_format.h"

namespace sparrow::api {

struct ChatFormatOptions {
  ReasoningField reasoning_field = ReasoningField::kBoth;
  bool include_reasoning = true;
  bool starts_inside_thinking = false;  // the prompt holds the opening tag
};

// Text of one choice on its way to the wire: decides where it goes and writes inline tags.
class ChatTextSplitter {
 public:
  explicit ChatTextSplitter(const ChatFormatOptions& options) : options_(&options) {}
  // Appends the event's text to one of both.
  void push(const StreamEvent& event, std::string& reasoning, std::string& content);

 private:
  const ChatFormatOptions* options_;
  bool thinking_ = false;  // an inline tag is open
  bool first_ = true;
  bool after_thinking_ = false;  // blank lines between thinking and answer belong to neither
};

class ChatStreamFormat final : public ResponseFormat {
 public:
  ChatStreamFormat(Reply reply, const ChatFormatOptions& options);

  const Reply& reply() const override { return reply_; }
  void begin(std::string& out) override;
  void event(int choice, const StreamEvent& event, const UsageTotals& totals,
             std::string& out) override;
  void end(const UsageTotals& totals, std::string& out) override;

 private:
  void open_chunk(int choice, const UsageTotals* totals, std::string& out) const;
  void append_delta(const std::string& reasoning, const std::string& content, std::string& out);
  void close_chunk(const StreamEvent* event, std::string& out) const;

  const Reply reply_;
  const ChatFormatOptions options_;
  std::string prefix_;  // from data: to the model's name, rendered once
  std::vector<ChatTextSplitter> splitters_;
  std::string reasoning_, content_, escaped_;  // scratch
};

class ChatWholeFormat final : public ResponseFormat {
 public:
  ChatWholeFormat(Reply reply, const ChatFormatOptions& options);

  const Reply& reply() const override { return reply_; }
  void begin(std::string&) override {}
  void event(int choice, const StreamEvent& event, const UsageTotals& totals,
             std::string& out) override;
  void end(const UsageTotals& totals, std::string& out) override;

 private:
  struct Choice {
    ChatTextSplitter splitter;
    std::string reasoning, content;
    std::vector<EventToken> tokens;  // kept only for logprobs and token ids
    FinishReason finish = FinishReason::kNone;
  };
  void append_choice(size_t index, std::string& out) const;

  const Reply reply_;
  const ChatFormatOptions options_;
  std::vector<Choice> choices_;
};

}  // namespace sparrow::api
