// Fuzz entry of the stored form of answers: whatever the bytes are, reading them ends, and what is
// accepted can be written and read again.

#include <cstddef>
#include <cstdint>

#include "api/answers/answer_codec.h"
#include "base/check.h"

namespace sparrow::api {
namespace {

void read_and_write(std::string_view bytes) {
  const AnswerShape shape{
      .first_request_id = 1, .num_prompts = 2, .choices_per_prompt = 2, .vocab_size = 1000};
  std::vector<StreamEvent> events;
  if (!decode_answer(bytes, shape, events)) return;
  std::string again;
  AnswerRecorder recorder(4, true, SIZE_MAX, [&](std::string value, bool) { again = value; });
  std::string text;
  for (const StreamEvent& event : events) {
    CHECK(event.request_id >= 1 && event.request_id <= 2 && event.choice >= 0 && event.choice < 2);
    for (const EventToken& token : event.tokens) CHECK(token.id >= 0 && token.id < 1000);
    recorder.add(static_cast<int>(event.request_id - 1) * 2 + event.choice, event);
    text += event.text;
  }
  recorder.finish();
  CHECK(decode_answer(again, shape, events));
  size_t text_bytes = 0;
  for (const StreamEvent& event : events) text_bytes += event.text.size();
  CHECK(text_bytes == text.size());
}

}  // namespace
}  // namespace sparrow::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sparrow::api::read_and_write({reinterpret_cast<const char*>(data), size});
  return 0;
}
