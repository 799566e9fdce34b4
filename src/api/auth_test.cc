#include "api/auth.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "api/auth_digest.h"
#include "base/file.h"

namespace sparrow::api {
namespace {

http::Request with_headers(http::Headers headers, std::string path = "/v1/models") {
  http::Request request;
  request.method = "GET";
  request.path = std::move(path);
  request.headers = std::move(headers);
  request.remote_address = "192.0.2.7:4321";
  return request;
}

http::Request with_key(const std::string& key, std::string path = "/v1/models") {
  return with_headers({{"authorization", "Bearer " + key}}, std::move(path));
}

int status_of(const MaybeError& error) { return error ? error->status : 200; }

class KeyFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!keys_are_hashed()) GTEST_SKIP() << "built without OpenSSL";
    path_ =
        (std::filesystem::temp_directory_path() / ("sparrow-keys-" + std::to_string(::getpid())))
            .string();
  }
  ~KeyFileTest() override {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void write(const std::string& text) {
    const Status status = write_file_atomically(path_, text);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  std::string path_;
};

TEST_F(KeyFileTest, BeforeItIsRead_NobodyIsLetIn) {
  const ApiKeys keys({{}, {}, path_});
  EXPECT_TRUE(keys.enabled());
  EXPECT_EQ(status_of(keys.check(with_key("k1"))), 401);
}

TEST_F(KeyFileTest, Rotation_TakesNewKeysAndDropsOldOnes) {
  write("alice key:k1 rpm=5\n");
  ApiKeys keys({{"bare"}, {}, path_});
  ASSERT_TRUE(keys.reload().ok());
  EXPECT_EQ(status_of(keys.check(with_key("k1"))), 200);
  EXPECT_EQ(status_of(keys.check(with_key("k2"))), 401);
  const Caller alice = keys.caller_of(with_key("k1"));
  EXPECT_EQ(alice.tenant, "alice");
  EXPECT_EQ(alice.limits.requests_per_minute, 5);

  write("alice key:k2 rpm=6\nbob key:k3\n");
  keys.reload_if_changed();
  EXPECT_EQ(status_of(keys.check(with_key("k1"))), 401) << "revoked at the next request";
  EXPECT_EQ(keys.caller_of(with_key("k1")).tenant, "alice") << "one on its way is still hers";
  EXPECT_EQ(status_of(keys.check(with_key("k2"))), 200);
  EXPECT_EQ(status_of(keys.check(with_key("bare"))), 200) << "the command line's keys stay";
  const Caller again = keys.caller_of(with_key("k2"));
  EXPECT_EQ(again.limits.requests_per_minute, 6);
  EXPECT_EQ(again.cache_salt, alice.cache_salt) << "a new key keeps what is cached";
  EXPECT_NE(keys.caller_of(with_key("k3")).cache_salt, alice.cache_salt);
}

TEST_F(KeyFileTest, BrokenFile_KeepsTheOldKeysAndNamesTheLine) {
  write("alice key:k1\n");
  ApiKeys keys({{}, {}, path_});
  ASSERT_TRUE(keys.reload().ok());
  for (const std::string& broken : {std::string("bob key:k2\nrubbish\n"), std::string()}) {
    write(broken);
    keys.reload_if_changed();
    EXPECT_EQ(status_of(keys.check(with_key("k1"))), 200);
    EXPECT_EQ(status_of(keys.check(with_key("k2"))), 401) << "no half of a file counts";
    const Status status = keys.reload();
    ASSERT_FALSE(status.ok());
    const std::string line = broken.empty() ? ":1: " : ":2: ";
    EXPECT_NE(status.message().find(path_ + line), std::string::npos) << status.message();
  }
  ::unlink(path_.c_str());
  keys.reload_if_changed();
  EXPECT_FALSE(keys.reload().ok());
  EXPECT_EQ(status_of(keys.check(with_key("k1"))), 200);
  write("bob key:k2\n");
  keys.reload_if_changed();
  EXPECT_EQ(status_of(keys.check(with_key("k1"))), 401);
  EXPECT_EQ(status_of(keys.check(with_key("k2"))), 200);
}

TEST_F(KeyFileTest, AdminLine_MakesAnAdmin) {
  write("alice key:k1\nops key:k2 admin\n");
  ApiKeys keys({{}, {}, path_});
  ASSERT_TRUE(keys.reload().ok());
  EXPECT_EQ(status_of(keys.check_admin(with_key("k2"), false)), 200);
  EXPECT_EQ(status_of(keys.check_admin(with_key("k1"), true)), 403);
  EXPECT_EQ(status_of(keys.check_admin(with_headers({}), true)), 401);
  EXPECT_EQ(status_of(keys.check(with_key("k2"))), 200) << "an admin may use the API";
}

TEST(ApiKeys, BothHeaders_GiveTheSameRights) {
  const ApiKeys keys({{"key-one"}, {"root"}, ""});
  const auto header = [](const char* key) { return with_headers({{"x-api-key", key}}); };
  for (const char* key : {"key-one", "root"}) {
    EXPECT_EQ(status_of(keys.check(with_key(key))), 200);
    EXPECT_EQ(status_of(keys.check(header(key))), 200);
    const Caller a = keys.caller_of(with_key(key));
    const Caller b = keys.caller_of(header(key));
    EXPECT_EQ(a.tenant, b.tenant);
    EXPECT_EQ(a.cache_salt, b.cache_salt);
    EXPECT_EQ(a.is_admin, b.is_admin);
    EXPECT_EQ(status_of(keys.check_admin(with_key(key), true)),
              status_of(keys.check_admin(header(key), true)));
  }
  // Clients fill the other one with a dummy.
  EXPECT_EQ(status_of(keys.check(
                with_headers({{"authorization", "Bearer EMPTY"}, {"x-api-key", "key-one"}}))),
            200);
  EXPECT_EQ(status_of(keys.check(
                with_headers({{"authorization", "Bearer key-one"}, {"x-api-key", "EMPTY"}}))),
            200);
}

TEST(ApiKeys, BareKeys_AreTenantsOfTheirOwn) {
  const ApiKeys keys({{"key-one", "key-two"}, {}, ""});
  const Caller one = keys.caller_of(with_key("key-one"));
  const Caller two = keys.caller_of(with_key("key-two"));
  EXPECT_NE(one.tenant, two.tenant);
  EXPECT_NE(one.cache_salt, two.cache_salt);
  EXPECT_GE(one.cache_salt.size(), 32u);
  EXPECT_EQ(one.tenant.find("key-one"), std::string::npos) << "a log line is no place for a key";
  const ApiKeys next_process({{"key-one"}, {}, ""});
  EXPECT_NE(next_process.caller_of(with_key("key-one")).cache_salt, one.cache_salt);
}

TEST(ApiKeys, HugeAndNearKeys_AreUnknown) {
  const ApiKeys keys({{"key-one"}, {}, ""});
  for (const std::string& key :
       {std::string(30000, 'k'), std::string("key-on"), std::string("key-onf"),
        std::string("key-one "), std::string("KEY-ONE"), std::string("key-one\0x", 9)}) {
    EXPECT_EQ(status_of(keys.check(with_key(key))), 401) << key.substr(0, 40);
  }
}

TEST(ApiKeys, AdminKeyAlone_LeavesTheApiOpen) {
  const ApiKeys keys({{}, {"root"}, ""});
  EXPECT_FALSE(keys.enabled());
  EXPECT_EQ(status_of(keys.check(with_headers({}))), 200);
  EXPECT_EQ(status_of(keys.check_admin(with_headers({}), true)), 401);
  EXPECT_EQ(status_of(keys.check_admin(with_key("wrong"), true)), 401);
  EXPECT_EQ(status_of(keys.check_admin(with_key("root"), true)), 200);
}

TEST(ApiKeys, AdminWithoutAnyAdminKey_IsForThisMachineOnly) {
  const ApiKeys open({{}, {}, ""});
  const ApiKeys keyed({{"key-one"}, {}, ""});
  http::Request local = with_headers({});
  for (const char* address : {"127.0.0.1:5", "[::1]:5"}) {
    local.remote_address = address;
    EXPECT_EQ(status_of(open.check_admin(local, true)), 200) << address;
    EXPECT_EQ(status_of(open.check_admin(local, false)), 403) << "a public bind";
    EXPECT_EQ(status_of(keyed.check_admin(local, true)), 401) << "keys guard all but health";
  }
  EXPECT_EQ(status_of(open.check_admin(with_headers({}), true)), 403) << "another machine";
  for (const char* field : {"x-forwarded-for", "forwarded", "x-real-ip", "via", "origin"}) {
    http::Request proxied = local;
    proxied.headers = {{field, "127.0.0.1"}};
    EXPECT_EQ(status_of(open.check_admin(proxied, true)), 403) << field;
  }
}

TEST(ApiKeys, AdminKey_IsNotForPages) {
  const ApiKeys keys({{}, {"root"}, ""});
  EXPECT_EQ(status_of(keys.check_admin(
                with_headers({{"x-api-key", "root"}, {"origin", "https://evil.example"}}), true)),
            403);
}

}  // namespace
}  // namespace sparrow::api
