#include "api/request/chat_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "api/test_support.h"
#include "base/env.h"

namespace sparrow::api {
namespace {

const ServedModel& test_model() {
  static const ServedModel model(test_model_info(), SystemRole::kAuto);
  return model;
}

MaybeError parse(const std::string& body, ChatRequest& request, const ApiOptions& options = {}) {
  return parse_chat_request(json_of(body).as_object(), test_model(), options, request);
}

std::string with_field(const std::string& field) {
  return R"({"messages":[{"role":"user","content":"hi"}],)" + field + "}";
}

struct FieldCase {
  const char* field;  // "name":value
  bool good;
};

// Every numeric field at, inside and outside its bounds, and with the wrong types.
TEST(ChatRequest, NumericFields_AreHeldToTheirRanges) {
  const FieldCase cases[] = {
      {R"("temperature":0)", true},
      {R"("temperature":2)", true},
      {R"("temperature":2.0001)", false},
      {R"("temperature":-0.1)", false},
      {R"("temperature":"0.6")", false},
      {R"("temperature":true)", false},
      {R"("temperature":null)", true},
      {R"("temperature":[0.6])", false},
      {R"("top_p":1)", true},
      {R"("top_p":0)", false},
      {R"("top_p":1.01)", false},
      {R"("top_p":-1)", false},
      {R"("top_k":-1)", true},
      {R"("top_k":0)", true},
      {R"("top_k":264)", true},
      {R"("top_k":265)", true},
      {R"("top_k":-2)", false},
      {R"("top_k":1.5)", false},
      {R"("top_k":5.0)", true},
      {R"("min_p":0)", true},
      {R"("min_p":1)", true},
      {R"("min_p":1.1)", false},
      {R"("repetition_penalty":0)", false},
      {R"("repetition_penalty":10)", true},
      {R"("repeat_penalty":11)", false},
      {R"("frequency_penalty":-2)", true},
      {R"("frequency_penalty":2.1)", false},
      {R"("presence_penalty":2)", true},
      {R"("presence_penalty":-2.1)", false},
      {R"("n":1)", true},
      {R"("n":0)", false},
      {R"("n":16)", true},
      {R"("n":17)", false},
      {R"("n":"2")", false},
      {R"("max_tokens":1)", true},
      {R"("max_tokens":0)", false},
      {R"("max_tokens":-5)", false},
      {R"("max_tokens":1.5)", false},
      {R"("max_tokens":"5")", false},
      {R"("max_tokens":99999999999)", false},
      {R"("max_completion_tokens":0)", false},
      {R"("max_completion_tokens":7)", true},
      {R"("min_tokens":-1)", false},
      {R"("min_tokens":0)", true},
      {R"("seed":-9223372036854775808)", true},
      {R"("seed":0.5)", false},
      {R"("seed":12345678901234567890123)", false},
      {R"("seed":"1")", false},
      {R"("priority":-1)", true},
      {R"("priority":"high")", false},
      {R"("logprobs":true,"top_logprobs":20)", true},
      {R"("logprobs":true,"top_logprobs":21)", false},
      {R"("logprobs":true,"top_logprobs":-1)", false},
      {R"("top_logprobs":1)", false},
      {R"("logprobs":1)", false},
      {R"("stream":"yes")", false},
      {R"("stream":1)", false},
      {R"("stop":"x")", true},
      {R"("stop":[])", true},
      {R"("stop":[""])", false},
      {R"("stop":[1])", false},
      {R"("stop_token_ids":[263])", true},
      {R"("stop_token_ids":[264])", false},
      {R"("stop_token_ids":[-1])", false},
      {R"("stop_token_ids":5)", false},
      {R"("logit_bias":{"5":-100})", true},
      {R"("logit_bias":{"264":1})", false},
      {R"("logit_bias":{"5":101})", false},
      {R"("logit_bias":{"x":1})", false},
      {R"("logit_bias":{"5":"1"})", false},
      {R"("logit_bias":[])", false},
  };
  for (const FieldCase& one : cases) {
    ChatRequest request;
    const MaybeError error = parse(with_field(one.field), request);
    EXPECT_EQ(!error.has_value(), one.good) << one.field << ": " << (error ? error->message : "ok");
    if (error) {
      EXPECT_EQ(error->status, 400) << one.field;
      EXPECT_FALSE(error->param.empty()) << one.field;
    }
  }
}

TEST(ChatRequest, SilentFields_TakeTheModelsDefaults) {
  ChatRequest request;
  ASSERT_FALSE(parse(with_field(R"("user":"u")"), request));
  EXPECT_DOUBLE_EQ(request.params.sampling.temperature, 0.6);
  EXPECT_DOUBLE_EQ(request.params.sampling.top_p, 0.95);
  EXPECT_EQ(request.params.sampling.top_k, 0);
  EXPECT_EQ(request.params.sampling.num_top_logprobs, -1);
  EXPECT_EQ(request.params.num_choices, 1);
  EXPECT_FALSE(request.params.max_tokens.has_value());
  ChatRequest asked;
  ASSERT_FALSE(parse(with_field(R"("temperature":0,"seed":-1)"), asked));
  EXPECT_EQ(asked.params.sampling.temperature, 0);
  EXPECT_EQ(asked.params.sampling.seed, ~uint64_t{0});
  ApiOptions seeded;
  seeded.default_seed = 11;
  ChatRequest silent;
  ASSERT_FALSE(parse(with_field(R"("n":1)"), silent, seeded));
  EXPECT_EQ(silent.params.sampling.seed, 11u);
}

TEST(ChatRequest, Speculative_IsOnUnlessRefused) {
  const std::pair<const char*, bool> cases[] = {
      {R"("n":1)", true},
      {R"("speculative":true)", true},
      {R"("speculative":null)", true},
      {R"("speculative":false)", false},
  };
  for (const auto& [field, expected] : cases) {
    ChatRequest request;
    EXPECT_FALSE(parse(with_field(field), request).has_value()) << field;
    EXPECT_EQ(request.params.speculative, expected) << field;
    EXPECT_TRUE(request.params.warnings.empty()) << field;
  }
  ChatRequest request;
  EXPECT_TRUE(parse(with_field(R"("speculative":"no")"), request).has_value());
}

TEST(ChatRequest, RefusedFields_AreNamed) {
  for (const char* field :
       {R"("tools":[{"type":"function"}])", R"("audio":{"voice":"x"})", R"("guided_json":{"a":1})",
        R"("response_format":{"type":"json_object"})", R"("use_beam_search":true)",
        R"("modalities":["text","audio"])", R"("chat_template":"{{x}}")",
        R"("chat_template_kwargs":{"messages":[]})",
        R"("chat_template_kwargs":{"bos_token":""})"}) {
    ChatRequest request;
    const MaybeError error = parse(with_field(field), request);
    ASSERT_TRUE(error.has_value()) << field;
    EXPECT_EQ(error->code, "unsupported_parameter") << field;
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_EQ(error->param.rfind(name, 0), 0u) << error->param;
  }
}

TEST(ChatRequest, RefusedFieldsThatAskForNothing_AreAccepted) {
  for (const char* field :
       {R"("tools":[])", R"("tools":null)", R"("tool_choice":"none")", R"("use_beam_search":false)",
        R"("response_format":{"type":"text"})", R"("modalities":["text"])", R"("store":true)",
        R"("metadata":{"a":1})", R"("service_tier":"auto")"}) {
    ChatRequest request;
    const MaybeError error = parse(with_field(field), request);
    EXPECT_FALSE(error.has_value()) << field << ": " << error->message;
    EXPECT_TRUE(request.params.warnings.empty()) << field;
  }
}

TEST(ChatRequest, UnknownFields_AreWarningsOrErrors) {
  ChatRequest request;
  ASSERT_FALSE(parse(with_field(R"("frobnicate":1,"x y":2)"), request));
  EXPECT_EQ(request.params.warnings, (std::vector<std::string>{"frobnicate", "x?y"}));
  ApiOptions strict;
  strict.reject_unknown_fields = true;
  ChatRequest again;
  const MaybeError error = parse(with_field(R"("frobnicate":1)"), again, strict);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->param, "frobnicate");
}

TEST(ChatRequest, ManyUnknownFields_StayBounded) {
  std::string fields;
  for (int i = 0; i < 1000; ++i) fields += fmt::format(R"("unknown{}":1,)", i);
  ChatRequest request;
  ASSERT_FALSE(parse(with_field(fields + R"("n":1)"), request));
  EXPECT_EQ(request.params.warnings.size(), 16u);
}

std::string prompt_of(const std::string& body) {
  ChatRequest request;
  const MaybeError error = parse(body, request);
  EXPECT_FALSE(error.has_value()) << error->message;
  ChatPrompt prompt;
  const MaybeError refused = build_chat_prompt(request.turn, test_model(), prompt);
  EXPECT_FALSE(refused.has_value()) << refused->message;
  EXPECT_EQ(std::count(prompt.tokens.begin(), prompt.tokens.end(), kTestBos), 1);
  EXPECT_EQ(prompt.tokens.front(), kTestBos);
  return prompt.text;
}

TEST(ChatPrompt, ThinkingOff_ClosesItInThePrompt) {
  const std::string closed = "<bos><｜User｜>hi<｜Assistant｜><think>\n\n</think>\n\n";
  EXPECT_EQ(prompt_of(with_field(R"("reasoning_effort":"none")")), closed);
  EXPECT_EQ(prompt_of(with_field(R"("think":false)")), closed);
  EXPECT_EQ(prompt_of(with_field(R"("reasoning":{"effort":"none"})")), closed);
  EXPECT_EQ(prompt_of(with_field(R"("chat_template_kwargs":{"enable_thinking":false})")), closed);
  EXPECT_EQ(prompt_of(with_field(R"("chat_template_kwargs":{"thinking":false})")), closed);
  EXPECT_EQ(prompt_of(with_field(R"("think":true)")), "<bos><｜User｜>hi<｜Assistant｜><think>\n");
}

// So that the second prompt begins with the first one and its answer, token for token.
TEST(ChatPrompt, ThinkingOff_HistoryStaysAsItWasGenerated) {
  const std::string first = prompt_of(with_field(R"("think":false)"));
  const std::string second = prompt_of(R"({"messages":[{"role":"user","content":"hi"},
      {"role":"assistant","content":"Well."},{"role":"user","content":"so"}],"think":false})");
  EXPECT_EQ(second, first + "Well.<eos><｜User｜>so<｜Assistant｜><think>\n\n</think>\n\n");
  EXPECT_EQ(prompt_of(R"({"messages":[{"role":"user","content":"hi"},
      {"role":"assistant","content":"Well."},{"role":"user","content":"so"}]})"),
            "<bos><｜User｜>hi<｜Assistant｜>Well.<eos><｜User｜>so<｜Assistant｜><think>\n")
      << "with thinking the template's own rule holds";
}

TEST(ChatPrompt, ContinueFinalMessage_EndsInsideIt) {
  EXPECT_EQ(prompt_of(R"({"messages":[{"role":"user","content":"hi"},
                          {"role":"assistant","content":"Well, "}],
                          "continue_final_message":true})"),
            "<bos><｜User｜>hi<｜Assistant｜>Well, ");
}

TEST(ChatPrompt, SystemMessages_AreFoldedIntoTheFirstUserText) {
  EXPECT_EQ(prompt_of(R"({"messages":[{"role":"system","content":"Be terse."},
                          {"role":"user","content":"hi"},
                          {"role":"developer","content":"In French."},
                          {"role":"assistant","content":"<think>x</think>\n\nSalut"},
                          {"role":"user","content":[{"type":"text","text":"a"},
                                                    {"type":"text","text":"b"}]}]})"),
            "<bos><｜User｜>Be terse.\n\nIn French.\n\nhi<｜Assistant｜>\n\nSalut<eos>"
            "<｜User｜>a\nb<｜Assistant｜><think>\n");
  EXPECT_EQ(prompt_of(R"({"messages":[{"role":"system","content":"Alone."}]})"),
            "<bos><｜User｜>Alone.<｜Assistant｜><think>\n");
}

TEST(ChatMessages, WrongMessages_NameTheirPlace) {
  const struct {
    const char* messages;
    const char* param;
  } cases[] = {
      {"[]", "messages"},
      {"[1]", "messages[0]"},
      {R"([{"role":"user"}])", "messages[0].content"},
      {R"([{"role":"user","content":null}])", "messages[0].content"},
      {R"([{"role":"user","content":5}])", "messages[0].content"},
      {R"([{"content":"x"}])", "messages[0].role"},
      {R"([{"role":"robot","content":"x"}])", "messages[0].role"},
      {R"([{"role":"user","content":"x"},{"role":"user","content":[{"text":"x"}]}])",
       "messages[1].content[0]"},
      {R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])",
       "messages[0].content[0]"},
      {R"([{"role":"assistant","content":null,"tool_calls":[{}]}])", "messages[0].tool_calls"},
  };
  for (const auto& one : cases) {
    ChatMessages output;
    std::vector<std::string> warnings;
    const MaybeError error = parse_chat_messages(json_of(one.messages).as_array(),
                                                 SystemRole::kFold, {}, output, warnings);
    ASSERT_TRUE(error.has_value()) << one.messages;
    EXPECT_EQ(error->param, one.param) << one.messages;
  }
}

TEST(ChatMessages, SystemRole_IsKeptOrRefusedAsAsked) {
  const auto messages =
      json_of(R"([{"role":"developer","content":"S"},{"role":"user","content":"u"}])").as_array();
  ChatMessages kept;
  std::vector<std::string> warnings;
  ASSERT_FALSE(parse_chat_messages(messages, SystemRole::kKeep, {}, kept, warnings));
  EXPECT_EQ(kept.messages[0].at("role").as_string(), "system");
  EXPECT_FALSE(kept.system_folded);
  ChatMessages refused;
  const auto error = parse_chat_messages(messages, SystemRole::kReject, {}, refused, warnings);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->param, "messages[0].role");
}

TEST(ChatMessages, ToolCallsBesideEmptyContent_MakeItNull) {
  ChatMessages output;
  std::vector<std::string> warnings;
  ASSERT_FALSE(parse_chat_messages(
      json_of(R"([{"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function",
                   "function":{"name":"f","arguments":{"a":1}}}]}])")
          .as_array(),
      SystemRole::kFold, {}, output, warnings));
  EXPECT_TRUE(output.messages[0].at("content").is_null());
  const auto& call = output.messages[0].at("tool_calls").at(0);
  EXPECT_EQ(call.at("function").at("arguments").as_string(), R"({"a":1})");
}

// The real template and tokenizer, against what transformers renders.
TEST(ChatPrompt, RealR1Files_GiveTheGoldenIds) {
  const std::string data = env_string("SPARROW_TEST_DATA").value_or("../shared/data");
  const std::string directory = data + "/deepseek-r1-distill-qwen-1.5b";
  const std::string golden = data + "/tokenizer-vectors/golden_chat.jsonl";
  if (!std::filesystem::exists(golden)) GTEST_SKIP() << "missing " << golden;
  ModelInfo info;
  auto spec = read_hf_tokenizer(directory);
  ASSERT_TRUE(spec.ok()) << spec.message();
  info.tokenizer = *Tokenizer::create(std::move(*spec));
  std::ifstream template_file(directory + "/chat_template.jinja");
  const std::string source((std::istreambuf_iterator<char>(template_file)), {});
  info.chat_template = *ChatTemplate::parse(source);
  info.config.vocab_size = 151936;
  info.max_model_len = 4096;
  const ServedModel model(std::move(info), SystemRole::kKeep);
  EXPECT_EQ(model.stop_token_ids(), (std::vector<TokenId>{151643, 151644, 151647}));

  int num_compared = 0;
  std::ifstream lines(golden);
  for (std::string line; std::getline(lines, line);) {
    const boost::json::value row = json_of(line);
    if (row.at("template").as_string() != "deepseek-r1-distill-qwen") continue;
    if (!row.at("tools").is_null()) continue;
    boost::json::object body;
    body["messages"] = row.at("messages");
    body["add_generation_prompt"] = row.at("add_generation_prompt");
    ChatRequest request;
    const auto error = parse_chat_request(body, model, {}, request);
    ASSERT_FALSE(error.has_value()) << line << error->message;
    ChatPrompt prompt;
    ASSERT_FALSE(build_chat_prompt(request.turn, model, prompt)) << line;
    EXPECT_EQ(prompt.text, std::string(row.at("text").as_string().c_str())) << line;
    std::vector<TokenId> ids;
    for (const auto& id : row.at("ids").as_array()) {
      ids.push_back(static_cast<TokenId>(id.as_int64()));
    }
    EXPECT_EQ(prompt.tokens, ids) << line;
    EXPECT_EQ(prompt.starts_inside_thinking, prompt.text.ends_with("<think>\n")) << line;
    ++num_compared;
  }
  EXPECT_GE(num_compared, 5);
}

}  // namespace
}  // namespace sparrow::api
