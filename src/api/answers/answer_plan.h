#pragma once
// AnswerPlan: what the answer cache decided about one request, on its way from preparation to its
// Generation. A plain value; moves with the request.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/answers/answer_codec.h"
#include "api/answers/answer_hints.h"

namespace sparrow::api {

struct AnswerPlan {
  AnswerHints hints;
  // Filled by AnswerCache::consult().
  AnswerShape shape;
  std::string exact_key;      // "": the text is not determined
  std::string listed_key;     // "": no question for the list
  int num_prompt_tokens = 0;  // of the first prompt
  int max_tokens = 0;
  bool consulted = false;
  std::optional<std::vector<StreamEvent>> replay;  // the answer: the engine is not asked
  std::unique_ptr<AnswerRecorder> recorder;        // keeps the answer that is going to come
};

}  // namespace sparrow::api
