// The exchange itself is tested against a server in tests/e2e/test_pull.py.
#include "tools/pull/http_client.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(HttpClient, Origin_IsSchemeHostAndPort) {
  EXPECT_TRUE(same_origin("https://a.example/x", "https://A.example:443/y?z"));
  EXPECT_TRUE(same_origin("http://127.0.0.1:80/", "http://127.0.0.1"));
  EXPECT_FALSE(same_origin("https://a.example/", "http://a.example/"));
  EXPECT_FALSE(same_origin("https://a.example/", "https://a.example:8443/"));
  EXPECT_FALSE(same_origin("https://a.example/", "https://b.a.example/"));
  EXPECT_FALSE(same_origin("https://a.example/", "https://a.example.evil/"));
  EXPECT_FALSE(same_origin("https://a.example/", "https://a.example@evil/"));
  EXPECT_FALSE(same_origin("", ""));
  EXPECT_FALSE(same_origin("not an address", "not an address"));
}

TEST(HttpClient, AddressPart_IsEscaped) {
  EXPECT_EQ(escape_url_part("a-b_c.D9"), "a-b_c.D9");
  EXPECT_EQ(escape_url_part("refs/pr/1 ?#%\n"), "refs%2Fpr%2F1%20%3F%23%25%0A");
}

TEST(HttpClient, OtherSchemes_AreRefused) {
  HttpClient client({});
  HttpHandlers handlers;
  handlers.on_head = [](const HttpHead&) { return ok_status(); };
  handlers.on_body = [](std::string_view) { return ok_status(); };
  for (const char* url : {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", ""}) {
    const auto head = client.get({.url = url}, handlers);
    ASSERT_FALSE(head.ok()) << url;
    EXPECT_EQ(head.status().code(), StatusCode::kFailedPrecondition) << head.message();
  }
}

}  // namespace
}  // namespace sparrow
