// Whatever text the model produces, the server lives: random tokens (half characters, control
// characters, thinking tags anywhere, ids without a token) through every format. The answer is
// valid JSON and valid SSE each time, and streamed and whole say the same.

#include <gtest/gtest.h>

#include "api/engine_test_support.h"
#include "base/random.h"
#include "base/utf8.h"

namespace sparrow::api {
namespace {

constexpr uint64_t kSeed = 20261126;

struct Texts {
  std::string answer;
  std::string reasoning;
  int64_t num_tokens = 0;
  bool operator==(const Texts&) const = default;
};

void append_field(const boost::json::object& object, const char* name, std::string& text) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return;
  text.append(value->as_string().data(), value->as_string().size());  // zero bytes, too
}

// Adds what one message, delta or completions choice shows.
void append_texts(const boost::json::object& choice, Texts& texts) {
  append_field(choice, "text", texts.answer);
  for (const char* part : {"message", "delta"}) {
    const auto* object = choice.if_contains(part);
    if (object == nullptr) continue;
    append_field(object->as_object(), "content", texts.answer);
    append_field(object->as_object(), "reasoning_content", texts.reasoning);
  }
}

// Nothing a JSON or SSE reader could stumble over.
void expect_clean(const std::string& bytes) {
  EXPECT_TRUE(is_valid_utf8(bytes));
  for (const char c : bytes) {
    const bool is_control = static_cast<unsigned char>(c) < 0x20 && c != '\n';
    ASSERT_FALSE(is_control || c == 0x7F) << static_cast<int>(c);
  }
}

Texts read_whole(const Recorded& reply) {
  Texts texts;
  EXPECT_EQ(reply.status, 200) << reply.body;
  expect_clean(reply.body);
  EXPECT_EQ(reply.body.find('\n'), std::string::npos);
  const boost::json::object body = reply.json();
  for (const auto& choice : body.at("choices").as_array()) {
    append_texts(choice.as_object(), texts);
  }
  texts.num_tokens = body.at("usage").at("completion_tokens").as_int64();
  return texts;
}

Texts read_stream(const Recorded& reply) {
  Texts texts;
  expect_clean(reply.body);
  std::string_view rest = reply.body;
  bool is_done = false;
  while (!rest.empty()) {
    EXPECT_FALSE(is_done) << "something after [DONE]";
    const size_t end = rest.find("\n\n");
    if (!rest.starts_with("data: ") || end == std::string_view::npos) {
      ADD_FAILURE() << "no event: " << rest.substr(0, 80);
      break;
    }
    const std::string_view data = rest.substr(6, end - 6);
    EXPECT_EQ(data.find('\n'), std::string_view::npos) << data;
    rest.remove_prefix(end + 2);
    if (data == "[DONE]") {
      is_done = true;
      continue;
    }
    const auto chunk = json_of(data);
    for (const auto& choice : chunk.at("choices").as_array()) {
      append_texts(choice.as_object(), texts);
    }
    const auto* usage = chunk.as_object().if_contains("usage");
    if (usage != nullptr && usage->is_object()) {
      texts.num_tokens = usage->at("completion_tokens").as_int64();
    }
  }
  EXPECT_TRUE(is_done);
  return texts;
}

FakeExecutorOptions any_token(uint64_t round) {
  FakeExecutorOptions fake;
  fake.first_token = 0;
  fake.num_tokens = kTestVocab;  // 262 and 263 have no token
  // Every other round tags and ends are far more frequent than chance makes them.
  fake.script = [round](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    const uint64_t bits = random_bits(kSeed, round, tokens.size());
    if (round % 2 == 0 || bits % 4 != 0) return std::nullopt;
    constexpr TokenId kOften[] = {kTestThink, kTestThinkEnd, kTestEos, '\n', 0, 0xE4, 0xF0};
    return kOften[(bits >> 8) % std::size(kOften)];
  };
  return fake;
}

std::string random_body(uint64_t round, bool chat) {
  const uint64_t bits = random_bits(kSeed, 1000 + round, 0);
  std::string body = chat ? R"({"messages":[{"role":"user","content":"round )" : R"({"prompt":"r )";
  body += std::to_string(round) + (chat ? R"("}])" : R"(")");
  body += R"(,"temperature":0,"max_tokens":)" + std::to_string(1 + bits % 60);
  if (bits & 1u << 8) body += R"(,"ignore_eos":true)";
  if (bits & 1u << 9) body += chat ? R"(,"logprobs":true,"top_logprobs":3)" : R"(,"logprobs":3)";
  if (bits & 1u << 10) body += R"(,"return_token_ids":true)";
  if (bits & 1u << 11) body += R"(,"skip_special_tokens":false)";
  if (bits & 1u << 12) body += R"(,"stop":["a","\n\n","\u0000","é"])";
  if (bits & 1u << 13) body += chat ? R"(,"include_reasoning":false)" : "";
  return body;
}

TEST(RandomText, EveryFormat_StaysValidAndStreamedIsWhole) {
  for (uint64_t round = 0; round < 160; ++round) {
    ApiOptions options;
    constexpr ReasoningField kFields[] = {ReasoningField::kBoth, ReasoningField::kInline,
                                          ReasoningField::kReasoningContent};
    options.reasoning_field = kFields[round / 2 % 3];
    HandDrivenServer served(any_token(round), options);
    const bool chat = round % 3 != 0;
    const std::string path = chat ? "/v1/chat/completions" : "/v1/completions";
    const std::string body = random_body(round, chat);
    const auto whole = served.post(path, body + "}");
    const auto streamed =
        served.post(path, body + R"(,"stream":true,"stream_options":{"include_usage":true}})");
    served.run();
    const Texts texts = read_whole(*whole);
    EXPECT_EQ(read_stream(*streamed), texts) << "round " << round << ": " << body;
    EXPECT_GT(texts.num_tokens, 0);
    if (::testing::Test::HasFailure()) return;
  }
}

// Several choices at once, told apart only by their index.
TEST(RandomText, ManyChoices_StayValid) {
  for (uint64_t round = 0; round < 20; ++round) {
    HandDrivenServer served(any_token(round));
    const std::string body = R"({"messages":[{"role":"user","content":"x"}],"n":4,"max_tokens":40)"
                             R"(,"seed":)" +
                             std::to_string(round);
    const auto whole = served.post("/v1/chat/completions", body + "}");
    const auto streamed = served.post(
        "/v1/chat/completions", body + R"(,"stream":true,"stream_options":{"include_usage":true,)"
                                       R"("continuous_usage_stats":true}})");
    served.run();
    EXPECT_EQ(read_whole(*whole).num_tokens, read_stream(*streamed).num_tokens);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace sparrow::api
