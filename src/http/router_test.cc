#include "http/router.h"

#include <gtest/gtest.h>

#include "http/access.h"
#include "http/response_head.h"
#include "http/target.h"

namespace sparrow::http {
namespace {

class RecordingResponder final : public Responder {
 public:
  void send(Response response) override { sent = std::move(response); }
  void start_stream(int, std::string, Headers) override {}
  bool write(std::string) override { return false; }
  void finish() override {}
  void on_close(std::function<void()>) override {}
  bool closed() const override { return false; }
  IoLoop& loop() override { std::abort(); }
  Response sent;
};

class RouterTest : public ::testing::Test {
 protected:
  RouterTest()
      : router_([](int status, std::string_view message, const Request&) {
          Response response;
          response.status = status;
          response.body = message;
          return response;
        }) {
    add("GET", "/v1/models", "list");
    add("GET", "/v1/models/{id*}", "model");
    add("GET", "/items/{id}", "item");
    add("DELETE", "/items/{id}", "delete");
    add("GET", "/items/special", "special");
    add("GET", "/items/{id}/parts/{part}", "part");
    add("POST", "/chat", "chat");
  }
  void add(const char* method, const char* pattern, std::string name) {
    router_.add(method, pattern, [name](const Call& call) {
      Response response;
      response.body = name;
      for (const auto& [key, value] : call.parameters) response.body += " " + key + "=" + value;
      call.responder->send(std::move(response));
    });
  }
  Response ask(std::string method, std::string path) {
    auto request = std::make_shared<Request>();
    request->method = std::move(method);
    request->path = std::move(path);
    auto responder = std::make_shared<RecordingResponder>();
    router_.handle(request, responder);
    return responder->sent;
  }
  Router router_;
};

TEST_F(RouterTest, Paths_ExactThenParameters) {
  EXPECT_EQ(ask("GET", "/v1/models").body, "list");
  EXPECT_EQ(ask("GET", "/v1/models/a").body, "model id=a");
  EXPECT_EQ(ask("GET", "/v1/models/deepseek-ai/R1").body, "model id=deepseek-ai/R1");
  EXPECT_EQ(ask("GET", "/items/7").body, "item id=7");
  EXPECT_EQ(ask("GET", "/items/special").body, "special");
  EXPECT_EQ(ask("GET", "/items/7/parts/8").body, "part id=7 part=8");
  EXPECT_EQ(ask("HEAD", "/v1/models").body, "list");
}

TEST_F(RouterTest, UnknownPaths_FourOhFour) {
  for (const char* path : {"/", "/v1", "/v1/models/", "//v1/models", "/v1//models", "/items/",
                           "/items/7/", "/items/7/8", "/v1/../v1/models", "/V1/models", ""}) {
    EXPECT_EQ(ask("GET", path).status, 404) << path;
  }
}

TEST_F(RouterTest, OtherMethods_FourOhFive_WithAllow) {
  const Response response = ask("POST", "/items/7");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.headers.at(0).second, "DELETE, GET, HEAD, OPTIONS");
  EXPECT_EQ(ask("get", "/v1/models").status, 405);
  EXPECT_EQ(ask("HEAD", "/chat").status, 405);
}

TEST_F(RouterTest, Options_AnsweredWithAllow) {
  EXPECT_EQ(ask("OPTIONS", "/chat").status, 204);
  EXPECT_EQ(ask("OPTIONS", "/chat").headers.at(0).second, "POST, OPTIONS");
  EXPECT_EQ(ask("OPTIONS", "*").status, 204);
  EXPECT_EQ(ask("OPTIONS", "/nothing").status, 404);
}

TEST(Target, Decoding_OnceAndOnlyThePath) {
  EXPECT_EQ(parse_target("/a%2Fb%2e%2E/c?d=%20#e")->path, "/a/b../c");
  EXPECT_EQ(parse_target("/a%252e")->path, "/a%2e");
  EXPECT_EQ(parse_target("/a?d=%20#e")->query, "d=%20");
  EXPECT_EQ(parse_target("http://host:1/a?b")->path, "/a");
  EXPECT_EQ(parse_target("HTTP://host")->path, "/");
  EXPECT_EQ(parse_target("http://host?q=1")->query, "q=1");
  for (const char* bad : {"", "a", "/%", "/%4", "/%g0", "/%0a", "http://", "ftp://a/b", "**"}) {
    EXPECT_FALSE(parse_target(bad)) << bad;
  }
}

TEST(Access, HostList_NamesThatCannotBeRebound) {
  for (const char* host : {"", "localhost", "LOCALHOST:80", "a.localhost", "127.0.0.1:8000",
                           "192.168.1.5", "[::1]:8000", "host.docker.internal:8000"}) {
    EXPECT_TRUE(is_allowed_host(host, {})) << host;
  }
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example",
                           "evillocalhost", "[::1", ":8000"}) {
    EXPECT_FALSE(is_allowed_host(host, {"chat.example"})) << host;
  }
  EXPECT_TRUE(is_allowed_host("Chat.Example:443", {"chat.example"}));
  EXPECT_TRUE(is_allowed_host("evil.example", {"*"}));
}

TEST(ResponseHead, HandlerHeaders_CannotSplitOrReframe) {
  const Headers headers = {{"X-A", "b\r\nSet-Cookie: c"},
                           {"Content-Length", "999"},
                           {"Transfer-Encoding", "chunked"},
                           {"X-Request-Id", "mine"}};
  ResponseHead head;
  head.headers = &headers;
  head.content_type = "text/plain\r\n";
  head.content_length = 2;
  head.request_id = "ours";
  std::string out;
  append_response_head(out, head);
  EXPECT_EQ(out,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: bSet-Cookie: c\r\n"
            "X-Request-Id: mine\r\nContent-Length: 2\r\n\r\n");
}

TEST(ResponseHead, Date_IsTheFormOfTheStandard) {
  DateCache cache;
  EXPECT_EQ(cache.at(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(ResponseHead, Chunk_HexLength) {
  std::string out;
  append_chunk(out, std::string(255, 'x'));
  EXPECT_EQ(out.substr(0, 5), "ff\r\nx");
  EXPECT_EQ(out.substr(out.size() - 3), "x\r\n");
}

}  // namespace
}  // namespace sparrow::http
