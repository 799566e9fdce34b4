#include "http/static_assets.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace sparrow::http {
namespace {

Request get(const std::string& path) {
  Request request;
  request.method = "GET";
  request.path = path;
  return request;
}

TEST(StaticAssets, EveryFile_IsTheFileInTheTree) {
  for (const char* name : {"index.html", "start.css", "start.js"}) {
    const auto asset = find_asset(std::string("/") + name);
    ASSERT_TRUE(asset) << name;
    std::ifstream file(std::string("web/start/") + name);
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_EQ(asset->content, text.str()) << name;
  }
}

TEST(StaticAssets, Root_IsTheIndex) {
  const auto response = static_response(get("/"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->content_type, "text/html; charset=utf-8");
  EXPECT_EQ(response->body, find_asset("/index.html")->content);
}

TEST(StaticAssets, OtherPathsAndMethods_AreNotOurs) {
  for (const char* path : {"", "//", "/index", "/../index.html", "/start.js/", "/START.JS"}) {
    EXPECT_FALSE(static_response(get(path))) << path;
  }
  Request post = get("/");
  post.method = "POST";
  EXPECT_FALSE(static_response(post));
}

TEST(StaticAssets, KnownEtag_NotModified) {
  Request request = get("/start.js");
  request.headers.emplace_back("if-none-match", "W/\"x\", " + find_asset("/start.js")->etag);
  EXPECT_EQ(static_response(request)->status, 304);
  request.headers[0].second = find_asset("/start.css")->etag;
  EXPECT_EQ(static_response(request)->status, 200);
}

// The policy forbids inline code: a page that had some would silently not work.
TEST(StaticAssets, Page_HasNoInlineCodeAndNoForeignAddress) {
  const std::string_view page = find_asset("/")->content;
  for (const char* forbidden :
       {"<style", " style=", " onclick=", " onload=", "<script>", "//cdn", "http://", "https://"}) {
    EXPECT_EQ(page.find(forbidden), std::string_view::npos) << forbidden;
  }
}

}  // namespace
}  // namespace sparrow::http
