// Admin endpoints and what ends a server: drain, --limit-max-requests; and whose a request is.

#include <atomic>

#include "api/test_support.h"

namespace sparrow::api {
namespace {

const std::string kChat = R"({"messages":[{"role":"user","content":"hi"}]})";
const http::Headers kRoot = {{"authorization", "Bearer root"}};

ApiOptions admin_options(std::atomic<int>& num_drains) {
  ApiOptions options;
  options.admin_keys = {"root"};
  options.request_drain = [&num_drains] { ++num_drains; };
  return options;
}

TEST(Admin, EveryEndpoint_NeedsTheAdminKey) {
  ApiOptions options;
  options.api_keys = {"user"};
  options.admin_keys = {"root"};
  options.bound_to_loopback = true;
  ApiFixture fixture(options);
  fixture.remote_address = "127.0.0.1:5";
  const std::pair<const char*, const char*> endpoints[] = {
      {"GET", "/admin/status"}, {"POST", "/admin/drain"}, {"POST", "/admin/reload-keys"}};
  for (const auto& [method, path] : endpoints) {
    EXPECT_EQ(fixture.call(method, path)->status, 401) << path;
    const auto wrong = fixture.call(method, path, "", {{"x-api-key", "nobody"}});
    EXPECT_EQ(wrong->error_code(), "invalid_api_key") << path;
    const auto user = fixture.call(method, path, "", {{"x-api-key", "user"}});
    EXPECT_EQ(user->status, 403) << path;
    EXPECT_EQ(user->error_code(), "permission_denied") << path;
  }
  EXPECT_EQ(fixture.call("GET", "/readyz")->status, 200) << "nothing was drained";
  for (const auto& [method, path] : endpoints) {
    EXPECT_LT(fixture.call(method, path, "", kRoot)->status, 300) << path;
  }
}

TEST(Admin, Drain_AsksOnceAndFinishesWhatRuns) {
  std::atomic<int> num_drains{0};
  ApiFixture fixture(admin_options(num_drains));
  const auto running = fixture.post("/v1/chat/completions", kChat);
  const auto reply = fixture.call("POST", "/admin/drain", "", kRoot);
  EXPECT_EQ(reply->status, 202);
  EXPECT_EQ(reply->json().at("requests_active").as_int64(), 1);
  EXPECT_EQ(fixture.call("POST", "/admin/drain", "", kRoot)->status, 202);
  EXPECT_EQ(num_drains, 1) << "a second wish must not look like a second signal";
  EXPECT_EQ(fixture.call("GET", "/readyz")->status, 503);
  EXPECT_EQ(fixture.call("GET", "/livez")->status, 200);
  EXPECT_EQ(fixture.call("POST", "/v1/chat/completions", kChat)->error_code(), "draining");
  const auto status = fixture.call("GET", "/admin/status", "", kRoot);
  EXPECT_EQ(status->json().at("state").as_string(), "draining");
  EXPECT_EQ(status->json().at("requests_active").as_int64(), 1);
  EXPECT_EQ(status->json().at("requests_accepted").as_int64(), 1);
  fixture.publish({finish_event(fixture.engine->requests[0].id, FinishReason::kStopToken, {})});
  EXPECT_EQ(running->status, 200);
}

TEST(Admin, Drain_WhileLoading_Counts) {
  std::atomic<int> num_drains{0};
  ApiFixture fixture(admin_options(num_drains), false);
  EXPECT_EQ(fixture.call("POST", "/admin/drain", "", kRoot)->status, 202);
  EXPECT_EQ(num_drains, 1);
  fixture.server->set_ready(test_model_info(), std::move(fixture.unused));
  EXPECT_EQ(fixture.call("GET", "/readyz")->status, 503) << "loaded, and still draining";
}

TEST(Admin, LimitMaxRequests_TakesExactlyThatMany) {
  std::atomic<int> num_drains{0};
  ApiOptions options = admin_options(num_drains);
  options.max_requests = 2;
  ApiFixture fixture(options);
  const auto first = fixture.post("/v1/chat/completions", kChat);
  fixture.call("GET", "/v1/models");  // not a generation
  EXPECT_EQ(num_drains, 0);
  const auto second = fixture.post("/v1/completions", R"({"prompt":"a"})");
  EXPECT_EQ(num_drains, 1);
  EXPECT_EQ(fixture.call("POST", "/v1/chat/completions", kChat)->error_code(), "draining");
  for (const Request& request : fixture.engine->requests) {
    fixture.publish({finish_event(request.id, FinishReason::kStopToken, {})});
  }
  EXPECT_EQ(first->status, 200);
  EXPECT_EQ(second->status, 200);
  EXPECT_EQ(num_drains, 1);
}

TEST(Admin, Requests_BelongToTheTenantOfTheirKey) {
  ApiOptions options;
  options.api_keys = {"key-one", "key-two"};
  ApiFixture fixture(options);
  for (const char* key : {"key-one", "key-two", "key-one"}) {
    const size_t before = fixture.engine->requests.size();
    fixture.call("POST", "/v1/chat/completions", kChat, {{"x-api-key", key}});
    ASSERT_TRUE(fixture.loop.run_until([&] { return fixture.engine->requests.size() > before; }));
  }
  const auto& requests = fixture.engine->requests;
  EXPECT_FALSE(requests[0].fairness_key.empty());
  EXPECT_FALSE(requests[0].cache_salt.empty());
  EXPECT_NE(requests[0].fairness_key, requests[1].fairness_key);
  EXPECT_NE(requests[0].cache_salt, requests[1].cache_salt);
  EXPECT_EQ(requests[0].fairness_key, requests[2].fairness_key);
  EXPECT_EQ(requests[0].cache_salt, requests[2].cache_salt);
}

}  // namespace
}  // namespace sparrow::api
