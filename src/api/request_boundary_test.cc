// Every field of the field table with every awkward value, on every endpoint that knows it: the
// documented code, our error object, and the next request answered. The table is the source, so a
// new field is tested the day it gets its row.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "api/engine_test_support.h"
#include "api/request/field_table.h"
#include "base/json.h"
#include "http/process_test_support.h"

namespace sparrow::api {
namespace {

enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

struct Value {
  std::string text;  // as JSON
  Kind kind = Kind::kNumber;
  double number = 0;
};

struct Endpoint {
  unsigned bit;
  const char* path;
  std::string necessary;  // fields a request cannot do without
};

const Endpoint kEndpoints[] = {
    {kChatEndpoint, "/v1/chat/completions",
     R"("messages":[{"role":"user","content":"hi"}],"max_completion_tokens":2)"},
    {kCompletionEndpoint, "/v1/completions", R"("prompt":"hi","max_tokens":2)"},
    {kTokenizeEndpoint, "/tokenize", R"("prompt":"hi")"},
    {kDetokenizeEndpoint, "/detokenize", R"("tokens":[65])"},
};

Value number(double value) {
  std::string text;
  append_json_number(text, value);
  return {text, Kind::kNumber, value};
}

std::vector<Value> values_for(const FieldSpec& spec) {
  std::vector<Value> values = {
      {"null", Kind::kNull},
      {"true", Kind::kBool},
      {"false", Kind::kBool},
      {R"("")", Kind::kString},
      {R"("1")", Kind::kString},
      {R"("none")", Kind::kString},
      {"\"" + std::string(5000, 'x') + "\"", Kind::kString},
      {R"("\u0000\ud83d\ude00")", Kind::kString},
      {"[]", Kind::kArray},
      {"[1]", Kind::kArray},
      {R"(["a"])", Kind::kArray},
      {"[null]", Kind::kArray},
      {"[[[]]]", Kind::kArray},
      {"{}", Kind::kObject},
      {R"({"a":1})", Kind::kObject},
      {R"({"type":"text"})", Kind::kObject},
      {"0", Kind::kNumber, 0},
      {"-0.0", Kind::kNumber, -0.0},
      {"1", Kind::kNumber, 1},
      {"1.0", Kind::kNumber, 1},
      {"1.5", Kind::kNumber, 1.5},
      {"-1", Kind::kNumber, -1},
      {"9007199254740993", Kind::kNumber, 9007199254740993.0},
      {"9223372036854775807", Kind::kNumber, 9223372036854775807.0},
      {"-9223372036854775808", Kind::kNumber, -9223372036854775808.0},
      {"9223372036854775808", Kind::kNumber, 9223372036854775808.0},
      {"1e308", Kind::kNumber, 1e308},
      {"1e400", Kind::kNumber, HUGE_VAL},
      {"-1e400", Kind::kNumber, -HUGE_VAL},
      {"1e-400", Kind::kNumber, 0},
      {"5e-324", Kind::kNumber, 5e-324},
  };
  if (std::isfinite(spec.min) && std::isfinite(spec.max) && spec.min < spec.max) {
    for (const double bound : {spec.min - 1, spec.min, spec.max, spec.max + 1}) {
      values.push_back(number(bound));
    }
  }
  return values;
}

bool asks_for_nothing(const Value& value) {
  for (const char* nothing : {"null", "false", R"("")", R"("none")", "[]", "{}"}) {
    if (value.text == nothing) return true;
  }
  return false;
}

bool is_whole(const Value& value) {
  return value.kind == Kind::kNumber && std::isfinite(value.number) &&
         value.number == std::trunc(value.number) && std::fabs(value.number) < 9.3e18;
}

bool has_type(FieldType type, const Value& value) {
  switch (type) {
    case FieldType::kBool:
      return value.kind == Kind::kBool;
    case FieldType::kInteger:
      return is_whole(value);
    case FieldType::kNumber:
      return value.kind == Kind::kNumber;
    case FieldType::kString:
      return value.kind == Kind::kString;
    case FieldType::kStringOrList:
      return value.kind == Kind::kString || value.text == "[]" || value.text == R"(["a"])";
    case FieldType::kIntegerList:
      return value.text == "[]" || value.text == "[1]";
    case FieldType::kArray:
      return value.kind == Kind::kArray;
    case FieldType::kObject:
      return value.kind == Kind::kObject;
    case FieldType::kBoolOrString:
      return value.kind == Kind::kBool || value.kind == Kind::kString;
    case FieldType::kAny:
      return true;
  }
  return true;
}

// What the table promises by itself. What is within range may still be refused for its meaning.
bool must_refuse(const FieldSpec& spec, const Value& value) {
  if (spec.field_class == FieldClass::kRefused) return !asks_for_nothing(value);
  if (spec.field_class == FieldClass::kNoEffect || value.kind == Kind::kNull) return false;
  if (!has_type(spec.type, value)) return true;
  if (spec.type != FieldType::kInteger && spec.type != FieldType::kNumber) return false;
  return !(value.number >= spec.min && value.number <= spec.max);
}

bool must_serve(const FieldSpec& spec, const Value& value) {
  if (!std::isfinite(value.number)) return false;  // no JSON of a double
  return spec.field_class == FieldClass::kNoEffect ||
         (spec.field_class == FieldClass::kRefused && asks_for_nothing(value));
}

// The request without what it would otherwise say about the field, and with the value.
std::string body_with(const Endpoint& endpoint, const FieldSpec& spec, const Value& value) {
  std::string necessary = endpoint.necessary;
  const std::string quoted = "\"" + std::string(spec.name) + "\":";
  if (const size_t at = necessary.find(quoted); at != std::string::npos) {
    const size_t next = necessary.find(",\"max", at + 1);
    necessary.erase(at, next == std::string::npos ? std::string::npos : next + 1 - at);
    if (necessary.ends_with(',')) necessary.pop_back();
  }
  return "{" + necessary + (necessary.empty() ? "" : ",") + quoted + value.text + "}";
}

class RequestBoundaryTest : public ::testing::Test {
 protected:
  http::TestReply post(const std::string& path, const std::string& body) {
    EXPECT_TRUE(client_.send(FakeServer::post_text(path, body)));
    return client_.read_reply();
  }

  void expect_value(const Endpoint& endpoint, const FieldSpec& spec, const Value& value) {
    const std::string body = body_with(endpoint, spec, value);
    const http::TestReply reply = post(endpoint.path, body);
    const std::string what =
        std::string(endpoint.path) + " " + body.substr(0, 200) + " -> " + reply.body.substr(0, 200);
    ASSERT_TRUE(reply.complete) << what;
    ASSERT_TRUE(reply.status == 200 || reply.status == 400 || reply.status == 404)
        << reply.status << " " << what;
    if (must_refuse(spec, value)) {
      ASSERT_EQ(reply.status, 400) << what;
    }
    if (must_serve(spec, value)) {
      ASSERT_EQ(reply.status, 200) << what;
    }
    if (reply.status == 200) return;
    const auto error = json_of(reply.body).at("error");
    ASSERT_FALSE(error.at("message").as_string().empty()) << what;
    if (must_refuse(spec, value) && std::isfinite(value.number)) {
      ASSERT_EQ(error.at("param").as_string(), spec.name) << what;
    }
    ASSERT_EQ(post("/v1/completions", R"({"prompt":"hi","max_tokens":1})").status, 200)
        << "behind " << what;
  }

  FakeServer server_;
  http::TestClient client_{server_.port()};
};

TEST_F(RequestBoundaryTest, EveryFieldAndValue_GetsItsCode) {
  ASSERT_EQ(post("/v1/completions", R"({"prompt":"hi","max_tokens":1})").status, 200);
  const size_t resident_before = resident_bytes();
  int num_requests = 0;
  for (const Endpoint& endpoint : kEndpoints) {
    for (const FieldSpec& spec : field_table()) {
      if ((spec.endpoints & endpoint.bit) == 0) continue;
      for (const Value& value : values_for(spec)) {
        ASSERT_NO_FATAL_FAILURE(expect_value(endpoint, spec, value));
        ++num_requests;
      }
    }
  }
  std::printf("%d requests\n", num_requests);
  EXPECT_GE(num_requests, 3000);
  EXPECT_TRUE(server_.idle());
  if (!kUnderSanitizer) {
    EXPECT_LT(resident_bytes(), resident_before + (64u << 20));
  }
}

}  // namespace
}  // namespace sparrow::api
