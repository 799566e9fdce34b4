#include "oracle.h"

#include <algorithm>
#include <vector>

namespace sparrow {
namespace {

// The first stop string to be complete, the longest of those; text.size() + 1 when there is none.
size_t first_stop_end(const std::string& text, const std::vector<std::string>& stops,
                      size_t& match_len) {
  for (size_t end = 1; end <= text.size(); ++end) {
    match_len = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        match_len = std::max(match_len, stop.size());
      }
    }
    if (match_len > 0) return end;
  }
  return text.size() + 1;
}

}  // namespace

Outcome expected_outcome(const Tokenizer& tokenizer, const Request& request,
                         std::span<const TokenId> tokens, int max_tokens) {
  Outcome outcome;
  const ReasoningTokens& marks = request.reasoning;
  bool thinking = marks.starts_inside;
  std::vector<TokenId> segment;  // of one channel
  // Text of the segment so far, cut at a stop string if it is an answer.
  const auto segment_text = [&](bool& stopped) {
    std::string text = tokenizer.decode(segment, request.skip_special_tokens);
    if (thinking) return text;
    size_t match_len = 0;
    const size_t end = first_stop_end(text, request.stop.strings, match_len);
    stopped = end <= text.size();
    if (stopped) text.resize(request.stop.include_stop_string ? end : end - match_len);
    return text;
  };
  std::string open_text;
  const auto close_segment = [&] {
    (thinking ? outcome.reasoning : outcome.answer) += open_text;
    segment.clear();
    open_text.clear();
  };
  int count = 0;
  for (const TokenId id : tokens) {
    ++count;
    const std::vector<TokenId>& stop_ids = request.stop.token_ids;
    const bool is_stop = !request.stop.ignore_eos &&
                         std::find(stop_ids.begin(), stop_ids.end(), id) != stop_ids.end();
    const bool is_mark = id == marks.start || id == marks.end;
    const bool switches = id == (thinking ? marks.end : marks.start);
    if (thinking || switches) ++outcome.num_reasoning_tokens;
    bool stopped = false;
    if (switches) {
      close_segment();
      thinking = !thinking;
    } else if (!is_stop && !is_mark) {
      segment.push_back(id);
    }
    open_text = segment_text(stopped);
    if (is_stop)
      outcome.finish = FinishReason::kStopToken;
    else if (stopped)
      outcome.finish = FinishReason::kStopString;
    else if (count == request.stop.max_tokens)
      outcome.finish = FinishReason::kMaxTokens;
    else if (count == max_tokens)
      outcome.finish = FinishReason::kContextFull;
    if (outcome.finish != FinishReason::kNone) break;
  }
  close_segment();
  return outcome;
}

}  // namespace sparrow
