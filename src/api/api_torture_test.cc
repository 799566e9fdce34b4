// Hostile requests over a real socket: what reliability asks of JSON, of text and of every limit.
// Each row is answered with its documented code, and the connection serves the next request.

#include <gtest/gtest.h>

#include <cstdio>

#include "api/engine_test_support.h"
#include "api/request/field_table.h"
#include "base/utf8.h"
#include "http/process_test_support.h"

namespace sparrow::api {
namespace {

const std::string kChatPath = "/v1/chat/completions";
const std::string kTextPath = "/v1/completions";

std::string repeated(const std::string& text, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}
std::string list_of(const std::string& item, size_t count) {
  std::string all = "[";
  for (size_t i = 0; i < count; ++i) all += (i == 0 ? "" : ",") + item;
  return all + "]";
}
// A small request with these fields behind the necessary ones.
std::string chat(const std::string& fields) {
  return R"({"messages":[{"role":"user","content":"hi"}],"max_completion_tokens":2)" +
         (fields.empty() ? "" : "," + fields) + "}";
}
std::string text(const std::string& fields) {
  return R"({"prompt":"hi","max_tokens":2)" + (fields.empty() ? "" : "," + fields) + "}";
}
std::string messages(const std::string& list) {
  return R"({"max_completion_tokens":2,"messages":)" + list + "}";
}
std::string prompt(const std::string& value) {
  return R"({"max_tokens":1,"prompt":)" + value + "}";
}

struct Row {
  std::string name;
  std::string path;
  std::string body;
  int status = 400;
};

class ApiTortureTest : public ::testing::Test {
 protected:
  ApiTortureTest() { connect(); }

  void connect() { client_ = std::make_unique<http::TestClient>(server_.port()); }
  http::TestReply send(const std::string& bytes, bool head_only = false) {
    EXPECT_TRUE(client_->send(bytes));
    return client_->read_reply(head_only);
  }
  http::TestReply post(const std::string& path, const std::string& body) {
    return send(FakeServer::post_text(path, body));
  }
  // What a refused client reads: our error object, and nothing of our insides.
  static void expect_error_body(const http::TestReply& reply, const std::string& what) {
    const auto body = json_of(reply.body);
    ASSERT_TRUE(body.is_object()) << what;
    const auto* error = body.as_object().if_contains("error");
    ASSERT_TRUE(error != nullptr && error->is_object()) << what << ": " << reply.body;
    for (const char* key : {"message", "type", "param", "code"}) {
      EXPECT_TRUE(error->as_object().contains(key)) << what;
    }
    EXPECT_LT(reply.body.size(), 2000u) << what;
  }
  void expect_row(const Row& row) {
    const std::string what = row.path + " " + row.name;
    const http::TestReply reply = post(row.path, row.body);
    ASSERT_EQ(reply.status, row.status) << what << ": " << reply.body.substr(0, 300);
    if (row.status >= 400) expect_error_body(reply, what);
    ASSERT_EQ(post(kTextPath, text("")).status, 200) << "behind " << what;
    ++num_rows_;
  }
  void expect_rows(const std::vector<Row>& rows) {
    const size_t num_files = num_open_files();
    for (const Row& row : rows) ASSERT_NO_FATAL_FAILURE(expect_row(row));
    EXPECT_TRUE(server_.idle());
    EXPECT_EQ(num_open_files(), num_files);
    std::printf("%d rows\n", num_rows_);
  }

  FakeServer server_;
  std::unique_ptr<http::TestClient> client_;
  int num_rows_ = 0;
};

TEST_F(ApiTortureTest, Json) {
  const std::string meta = R"("metadata":)";
  const auto nested = [](size_t depth) { return repeated("[", depth) + repeated("]", depth); };
  const auto utf16 = [](bool big) {
    std::string wide = big ? "\xfe\xff" : "\xff\xfe";
    for (const char c : chat("")) wide += big ? std::string({'\0', c}) : std::string({c, '\0'});
    return wide;
  };
  std::string many_keys = "{";
  for (int i = 0; i < 70'000; ++i)
    many_keys += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":1";
  many_keys += "}";
  std::vector<Row> rows = {
      {"a million open brackets", kChatPath, repeated("[", 1'000'000)},
      {"a million open objects", kChatPath, repeated("{\"a\":", 1'000'000)},
      {"closed brackets, a million deep", kChatPath, nested(1'000'000)},
      {"depth 127 inside", kChatPath, chat(meta + nested(127)), 200},
      {"depth 128 inside", kChatPath, chat(meta + nested(128))},
      {"string of 10 MB", kTextPath, prompt("\"" + std::string(10u << 20, 'a') + "\"")},
      {"unknown key of a megabyte", kTextPath, text("\"" + std::string(1u << 20, 'k') + "\":1"),
       200},
      {"70,000 keys", kChatPath, chat(meta + many_keys)},
      {"number of 64 characters", kChatPath, chat(meta + "0." + std::string(62, '1')), 200},
      {"number of 65 characters", kChatPath, chat(meta + "0." + std::string(63, '1'))},
      {"number of a megabyte", kChatPath, chat(meta + std::string(1u << 20, '1'))},
      {"1e400", kChatPath, chat(R"("temperature":1e400)")},
      {"-1e400", kChatPath, chat(R"("seed":-1e400)")},
      {"-0 as a seed", kChatPath, chat(R"("seed":-0)"), 200},
      {"integer of 20 digits", kChatPath, chat(R"("seed":18446744073709551616)")},
      {"integer of 64 bits, unsigned", kChatPath, chat(R"("seed":18446744073709551615)")},
      {"smallest integer", kChatPath, chat(R"("seed":-9223372036854775808)"), 200},
      {"lone high surrogate", kTextPath, prompt(R"("\ud800")")},
      {"lone low surrogate", kTextPath, prompt(R"("\udc00")")},
      {"surrogates the wrong way round", kTextPath, prompt(R"("\udc00\ud800")")},
      {"a pair of surrogates", kTextPath, prompt(R"("\ud83d\ude00")"), 200},
      {"NUL written as an escape", kTextPath, prompt(R"("\u0000")"), 200},
      {"NUL as a byte", kTextPath, prompt(std::string("\"\0\"", 3))},
      {"overlong slash", kTextPath, prompt("\"\xc0\xaf\"")},
      {"overlong NUL", kTextPath, prompt("\"\xe0\x80\x80\"")},
      {"surrogate in UTF-8", kTextPath, prompt("\"\xed\xa0\x80\"")},
      {"above U+10FFFF", kTextPath, prompt("\"\xf4\x90\x80\x80\"")},
      {"byte 0xff", kTextPath, prompt("\"\xff\"")},
      {"sequence cut off", kTextPath, prompt("\"\xe9\xba\"")},
      {"invalid UTF-8 in a message", kChatPath,
       messages("[{\"role\":\"user\",\"content\":\"\x80\"}]")},
      {"invalid UTF-8 in a key", kChatPath, chat("\"\xff\":1")},
      {"byte order mark", kChatPath, "\xef\xbb\xbf" + chat("")},
      {"UTF-16, big end first", kChatPath, utf16(true)},
      {"UTF-16, little end first", kChatPath, utf16(false)},
      {"bytes behind the end", kChatPath, chat("") + "x"},
      {"two documents", kChatPath, chat("") + chat("")},
      {"white space around", kChatPath, " \r\n\t" + chat("") + "\n ", 200},
      {"empty", kChatPath, ""},
      {"only white space", kChatPath, " \n "},
      {"single quotes", kChatPath, "{'prompt':'hi'}"},
      {"comment", kChatPath, chat("/* c */ \"seed\":1")},
      {"comma too much", kChatPath, "{\"prompt\":\"hi\",}"},
      {"comma missing", kChatPath, "{\"prompt\":\"hi\" \"n\":1}"},
      {"bare key", kChatPath, "{prompt:\"hi\"}"},
      {"NaN", kChatPath, chat(R"("temperature":NaN)")},
      {"Infinity", kChatPath, chat(R"("temperature":Infinity)")},
      {"hexadecimal", kChatPath, chat(R"("seed":0x10)")},
      {"leading zero", kChatPath, chat(R"("seed":01)")},
      {"leading plus", kChatPath, chat(R"("seed":+1)")},
      {"bare point", kChatPath, chat(R"("temperature":1.)")},
      {"line feed in a string", kTextPath, prompt("\"a\nb\"")},
      {"unknown escape", kTextPath, prompt(R"("\x41")")},
      {"same key twice", kChatPath, chat(R"("seed":1,"seed":2)")},
      {"same key twice, once escaped", kChatPath, chat(R"("seed":1,"s\u0065ed":2)")},
      {"same key twice in a message", kChatPath,
       messages(R"([{"role":"user","role":"system","content":"hi"}])")},
      {"same key in two objects", kChatPath,
       messages(R"([{"role":"user","content":"a"},{"role":"user","content":"b"}])"), 200},
      {"form", kChatPath, "prompt=hi&n=1"},
      {"XML", kChatPath, "<prompt>hi</prompt>"},
  };
  for (const char* value : {"null", "true", "0", "\"x\"", "[]", "[{}]"}) {
    rows.push_back({std::string("the body ") + value, kChatPath, value});
  }
  const std::string whole = chat(R"("stop":["a"],"seed":7)");
  for (size_t len = 1; len < whole.size(); len += 7) {
    rows.push_back({"cut off at " + std::to_string(len), kChatPath, whole.substr(0, len)});
  }
  expect_rows(rows);
}

TEST_F(ApiTortureTest, Limits) {
  const auto strings = [](size_t count, size_t bytes) {
    return list_of("\"" + std::string(bytes, 's') + "\"", count);
  };
  const std::string user = R"({"role":"user","content":"x"})";
  const std::string silent = R"({"role":"user","content":""})";
  const auto kwargs = [](int count) {
    std::string all = "{";
    for (int i = 0; i < count; ++i) all += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":1";
    return R"("chat_template_kwargs":)" + all + "}";
  };
  const auto bias = [](int first, int count) {
    std::string all = "{";
    for (int i = 0; i < count; ++i) {
      all += (i == 0 ? "\"" : ",\"") + std::to_string(first + i) + "\":1";
    }
    return R"("logit_bias":)" + all + "}";
  };
  std::vector<Row> rows = {
      // The window is 1,024 tokens; the tokenizer makes one of each byte, and one BOS.
      {"longest prompt", kTextPath, prompt("\"" + std::string(1022, 'p') + "\""), 200},
      {"prompt one too long", kTextPath, prompt("\"" + std::string(1023, 'p') + "\"")},
      {"prompt of 4 MB", kTextPath, prompt("\"" + std::string(4u << 20, 'p') + "\"")},
      {"longest list of ids", kTextPath, prompt(list_of("5", 1023)), 200},
      {"list of ids one too long", kTextPath, prompt(list_of("5", 1024))},
      {"a million ids", kTextPath, prompt(list_of("5", 1'000'000))},
      {"empty list of ids", kTextPath, prompt("[]")},
      {"list with an empty list", kTextPath, prompt("[[]]")},
      {"last id", kTextPath, prompt("[263]"), 200},
      {"id one over", kTextPath, prompt("[264]")},
      {"id -1", kTextPath, prompt("[-1]")},
      {"id 1.5", kTextPath, prompt("[1.5]")},
      {"id 2^32 + 1", kTextPath, prompt("[4294967297]")},
      {"id 1e308", kTextPath, prompt("[1e308]")},
      {"ids and texts mixed", kTextPath, prompt(R"([1,"a"])")},
      {"texts and ids mixed", kTextPath, prompt(R"(["a",1])")},
      {"list in list in list", kTextPath, prompt("[[[1]]]")},
      {"128 prompts", kTextPath, prompt(list_of("\"x\"", 128)), 200},
      {"129 prompts", kTextPath, prompt(list_of("\"x\"", 129))},
      {"256 choices", kTextPath, R"({"max_tokens":1,"n":16,"prompt":)" + list_of("\"x\"", 16) + "}",
       200},
      {"272 choices", kTextPath,
       R"({"max_tokens":1,"n":16,"prompt":)" + list_of("\"x\"", 17) + "}"},
      {"max_tokens to the end", kTextPath, R"({"prompt":[5],"max_tokens":1023})", 200},
      {"max_tokens one over", kTextPath, R"({"prompt":[5],"max_tokens":1024})"},
      {"n at most", kChatPath, chat(R"("n":16)"), 200},
      {"n one over", kChatPath, chat(R"("n":17)")},
      {"min_tokens over max_tokens", kChatPath, chat(R"("min_tokens":3)")},
      {"16 stop strings", kChatPath, chat("\"stop\":" + strings(16, 3)), 200},
      {"17 stop strings", kChatPath, chat("\"stop\":" + strings(17, 3))},
      {"stop string of 256 bytes", kChatPath, chat("\"stop\":" + strings(1, 256)), 200},
      {"stop string of 257 bytes", kChatPath, chat("\"stop\":" + strings(1, 257))},
      {"empty stop string", kChatPath, chat(R"("stop":"")")},
      {"256 stop ids", kChatPath, chat("\"stop_token_ids\":" + list_of("9", 256)), 200},
      {"257 stop ids", kChatPath, chat("\"stop_token_ids\":" + list_of("9", 257))},
      {"stop id one over", kChatPath, chat(R"("stop_token_ids":[264])")},
      {"bias of the last id", kChatPath, chat(bias(0, 264)), 200},
      {"bias of an id one over", kChatPath, chat(bias(264, 1))},
      {"bias of 1,025 ids", kChatPath, chat(bias(0, 1025))},
      {"bias key that is no number", kChatPath, chat(R"("logit_bias":{"a":1})")},
      {"bias key with a sign", kChatPath, chat(R"("logit_bias":{"+1":1})")},
      {"bias key 2^32", kChatPath, chat(R"("logit_bias":{"4294967296":1})")},
      {"bias of 100", kChatPath, chat(R"("logit_bias":{"1":100})"), 200},
      {"bias of 100.5", kChatPath, chat(R"("logit_bias":{"1":100.5})")},
      {"bias that is a string", kChatPath, chat(R"("logit_bias":{"1":"1"})")},
      {"top_logprobs alone", kChatPath, chat(R"("top_logprobs":5)")},
      {"20 top_logprobs", kChatPath, chat(R"("logprobs":true,"top_logprobs":20)"), 200},
      {"21 top_logprobs", kChatPath, chat(R"("logprobs":true,"top_logprobs":21)")},
      {"32 template names", kChatPath, chat(kwargs(32)), 200},
      {"33 template names", kChatPath, chat(kwargs(33))},
      {"template name of ours", kChatPath, chat(R"("chat_template_kwargs":{"messages":[]})")},
      {"template from outside", kChatPath, chat(R"("chat_template":"{{ 'a' * 1000000000 }}")")},
      {"no messages", kChatPath, messages("[]")},
      {"4,097 messages", kChatPath, messages(list_of(user, 4097))},
      {"100 messages", kChatPath, messages(list_of(silent, 100)), 200},
      {"message that is a string", kChatPath, messages("[\"hi\"]")},
      {"message without a role", kChatPath, messages(R"([{"content":"hi"}])")},
      {"unknown role", kChatPath, messages(R"([{"role":"root","content":"hi"}])")},
      {"role that is a list", kChatPath, messages(R"([{"role":["user"],"content":"hi"}])")},
      {"message without a content", kChatPath, messages(R"([{"role":"user"}])")},
      {"content that is a number", kChatPath, messages(R"([{"role":"user","content":1}])")},
      {"content that is an object", kChatPath, messages(R"([{"role":"user","content":{}}])")},
      {"empty list of parts", kChatPath, messages(R"([{"role":"user","content":[]}])"), 200},
      {"part without a type", kChatPath, messages(R"([{"role":"user","content":[{}]}])")},
      {"part that is a picture", kChatPath,
       messages(R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])")},
      {"text part without a text", kChatPath,
       messages(R"([{"role":"user","content":[{"type":"text"}]}])")},
      {"tool calls that are no list", kChatPath,
       messages(R"([{"role":"assistant","content":"x","tool_calls":1}])")},
      {"continue behind a user", kChatPath, chat(R"("continue_final_message":true)")},
      {"unknown model", kChatPath, chat(R"("model":"gpt-5")"), 404},
      {"model name of 10,000 bytes", kChatPath,
       chat("\"model\":\"" + std::string(10'000, 'm') + "\""), 404},
      {"stream options that are no object", kChatPath, chat(R"("stream_options":1)")},
      {"stream option that is no bool", kChatPath, chat(R"("stream_options":{"include_usage":1})")},
      {"effort of no kind", kChatPath, chat(R"("reasoning_effort":"huge")")},
      {"a hundred unknown fields", kChatPath,
       [] {
         std::string fields;
         for (int i = 0; i < 100; ++i)
           fields += (i == 0 ? "\"u" : ",\"u") + std::to_string(i) + "\":1";
         return chat(fields);
       }(),
       200},
      {"nothing to tokenize", "/tokenize", "{}"},
      {"tokenize a number", "/tokenize", R"({"prompt":1})"},
      {"tokenize an empty text", "/tokenize", R"({"prompt":""})", 200},
      {"tokenize a megabyte", "/tokenize", R"({"prompt":")" + std::string(1u << 20, 't') + "\"}",
       200},
      {"tokenize no messages", "/tokenize", R"({"messages":[]})"},
      {"detokenize nothing", "/detokenize", "{}"},
      {"detokenize an empty list", "/detokenize", R"({"tokens":[]})", 200},
      {"detokenize an id one over", "/detokenize", R"({"tokens":[264]})"},
      {"detokenize half an id", "/detokenize", R"({"tokens":[0.5]})"},
      {"apply no template", "/apply-template", "{}"},
  };
  expect_rows(rows);
}

TEST_F(ApiTortureTest, Routes_HeadAndWrongMethods) {
  const std::string host = " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  for (const char* path : {"/health", "/ping", "/livez", "/readyz", "/version", "/load", "/metrics",
                           "/v1/models", "/v1/models/tiny-r1"}) {
    EXPECT_EQ(send(std::string("GET ") + path + host).status, 200) << path;
    EXPECT_EQ(send(std::string("HEAD ") + path + host, true).status, 200) << path;
    EXPECT_EQ(send(std::string("BREW ") + path + host).status, 405) << path;
  }
  for (const char* path :
       {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/apply-template"}) {
    EXPECT_EQ(send(std::string("GET ") + path + host).status, 405) << path;
    EXPECT_EQ(send(std::string("HEAD ") + path + host, true).status, 405) << path;
    EXPECT_EQ(send(std::string("OPTIONS ") + path + host).status, 204) << path;
    EXPECT_EQ(send(std::string("post ") + path + host).status, 405) << path;
    EXPECT_EQ(send(std::string("POST ") + path + host).status, 400) << path;  // no body
  }
  for (const char* path : {"/v1", "/v1/", "//v1/models", "/v1//models", "/V1/MODELS", "/v1/models/",
                           "/v1/models;x", "/v1/../v1/models", "/v1/%6dodels/none", "/.env"}) {
    EXPECT_EQ(send(std::string("GET ") + path + host).status, 404) << path;
  }
  EXPECT_EQ(send("GET /v1/%6dodels" + host).status, 200);  // decoded once, then routed
}

TEST_F(ApiTortureTest, Stream_SameTextAndUsageAsWhole) {
  for (const char* fields :
       {"", R"("n":3)", R"("stop":["m","qq"])", R"("seed":5,"temperature":1)"}) {
    const std::string common =
        std::string(fields) + (*fields == '\0' ? "" : ",") + R"("seed":9,"ignore_eos":true)";
    const std::string unique = std::string(fields).find("seed") == std::string::npos
                                   ? common
                                   : std::string(fields) + R"(,"ignore_eos":true)";
    const std::string body = R"({"prompt":"Once","max_tokens":50,)" + unique;
    // Neither finds in the cache what the other computed.
    const auto whole = json_of(post(kTextPath, body + R"(,"cache_salt":"whole"})").body);
    const std::string streamed =
        post(kTextPath, body + R"(,"cache_salt":"streamed","stream":true,)"
                               R"("stream_options":{"include_usage":true}})")
            .body;
    std::vector<std::string> texts(whole.at("choices").as_array().size());
    boost::json::value usage;
    for (size_t at = 0; (at = streamed.find("data: {", at)) != std::string::npos;) {
      at += 6;
      const auto chunk = json_of(streamed.substr(at, streamed.find("\n\n", at) - at));
      for (const auto& choice : chunk.at("choices").as_array()) {
        texts[choice.at("index").to_number<size_t>()] += choice.at("text").as_string().c_str();
      }
      if (chunk.as_object().contains("usage") && chunk.at("usage").is_object()) {
        usage = chunk.at("usage");
      }
    }
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(whole.at("choices").at(i).at("text").as_string(), texts[i]) << fields;
      EXPECT_FALSE(texts[i].empty()) << fields;
    }
    EXPECT_EQ(whole.at("usage"), usage) << fields;
  }
}

// A model that writes any bytes at all: parts of characters, invalid ones, special tokens.
TEST(ApiTorture, ModelThatWritesBytes_OnlyValidUtf8Leaves) {
  FakeServerOptions options;
  options.fake.first_token = 0;
  options.fake.num_tokens = kTestVocab;  // the padding, which has no token, too
  FakeServer server(options);
  for (int seed = 0; seed < 20; ++seed) {
    for (const char* more : {"", R"(,"stream":true)", R"(,"logprobs":true,"top_logprobs":3)",
                             R"(,"stream":true,"logprobs":true,"n":2,"skip_special_tokens":false)",
                             R"(,"separate_reasoning":false)"}) {
      const http::TestReply reply = server.post(
          kChatPath,
          R"({"messages":[{"role":"user","content":"👩‍👩‍👧‍👦"}],"max_tokens":200,"seed":)" +
              std::to_string(seed) + more + "}");
      ASSERT_EQ(reply.status, 200) << reply.body;
      ASSERT_TRUE(reply.complete);
      ASSERT_TRUE(is_valid_utf8(reply.body)) << more;
      if (reply.body.front() == '{') json_of(reply.body);
    }
  }
  EXPECT_TRUE(server.idle());
}

}  // namespace
}  // namespace sparrow::api
