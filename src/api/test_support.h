#pragma once
// For tests of the API: a byte tokenizer in R1's dress with a small chat template, a loop that the
// test turns by hand, a responder that records, and an engine that the test scripts.

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/api_server.h"
#include "api/served_model.h"
#include "tokenizer/byte_alphabet.h"

namespace sparrow::api {

inline constexpr TokenId kTestThink = 256;
inline constexpr TokenId kTestThinkEnd = 257;
inline constexpr TokenId kTestBos = 258;
inline constexpr TokenId kTestEos = 259;
inline constexpr TokenId kTestUser = 260;
inline constexpr TokenId kTestAssistant = 261;
inline constexpr int kTestVocab = 264;  // padded: 262 and 263 have no token

inline const char* const kTestTemplate =
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{% endif %}"
    "{% if m['role'] == 'assistant' %}{% set content = m['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<｜Assistant｜>' + content + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}";

inline std::shared_ptr<const Tokenizer> api_test_tokenizer() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    spec.pieces.push_back(piece_of_bytes(std::string(1, static_cast<char>(byte))));
  }
  spec.added_tokens = {{.id = kTestThink, .content = "<think>"},
                       {.id = kTestThinkEnd, .content = "</think>"},
                       {.id = kTestBos, .content = "<bos>", .special = true},
                       {.id = kTestEos, .content = "<eos>", .special = true},
                       {.id = kTestUser, .content = "<｜User｜>", .special = true},
                       {.id = kTestAssistant, .content = "<｜Assistant｜>", .special = true}};
  for (const AddedToken& token : spec.added_tokens) spec.pieces.push_back(token.content);
  spec.bos_token_id = kTestBos;
  spec.eos_token_id = kTestEos;
  spec.add_bos = true;
  auto tokenizer = Tokenizer::create(std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.message();
  return *tokenizer;
}

inline ModelInfo test_model_info() {
  ModelInfo info;
  info.served_names = {"tiny-r1", "second"};
  info.path = "/models/DeepSeek-R1-Tiny/";
  info.hub_id = "deepseek-ai/DeepSeek-R1-Tiny-Hub";
  info.config.vocab_size = kTestVocab;
  info.config.max_position = 1024;
  info.tokenizer = api_test_tokenizer();
  auto chat_template = ChatTemplate::parse(kTestTemplate);
  EXPECT_TRUE(chat_template.ok()) << chat_template.message();
  info.chat_template = *chat_template;
  info.generation.temperature = 0.6;
  info.generation.top_p = 0.95;
  info.max_model_len = 1024;
  info.created = 7;
  return info;
}

inline boost::json::value json_of(std::string_view text) {
  boost::json::error_code error;
  boost::json::value value = boost::json::parse({text.data(), text.size()}, error);
  EXPECT_FALSE(error) << text;
  return value;
}

class ManualLoop final : public http::IoLoop {
 public:
  int index() const override { return 0; }
  void post(std::function<void()> task) override {
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    posted_.notify_all();
  }
  // Runs tasks, waiting for them, until `done` holds. False after ten seconds.
  bool run_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done()) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        if (!posted_.wait_until(lock, deadline, [this] { return !tasks_.empty(); })) return false;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
    return true;
  }
  void run_ready() {
    while (true) {
      std::function<void()> task;
      {
        std::lock_guard lock(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
};

// What the client received; outlives the responder.
struct Recorded {
  int status = 0;
  std::string content_type;
  http::Headers headers;
  std::string body;  // of send(), or everything written
  std::vector<std::string> writes;
  bool ended = false;
  bool refuse_writes = false;
  bool closed = false;
  std::function<void()> on_close;
  bool reads_slowly = false;  // what waits for sent bytes waits for the test
  std::function<void()> when_sent;

  std::string header(std::string_view name) const {
    for (const auto& [field, value] : headers) {
      if (field == name) return value;
    }
    return {};
  }
  boost::json::object json() const { return json_of(body).as_object(); }
  std::string error_code() const {
    return std::string(json().at("error").at("code").as_string().c_str());
  }
  std::string error_message() const {
    return std::string(json().at("error").at("message").as_string().c_str());
  }
};

class RecordingResponder final : public http::Responder {
 public:
  RecordingResponder(http::IoLoop& loop, std::shared_ptr<Recorded> recorded)
      : loop_(loop), recorded_(std::move(recorded)) {}
  void send(http::Response response) override {
    EXPECT_FALSE(recorded_->ended);
    recorded_->status = response.status;
    recorded_->content_type = response.content_type;
    recorded_->headers = response.headers;
    recorded_->body = response.body;
    recorded_->ended = true;
  }
  void start_stream(int status, std::string content_type, http::Headers headers) override {
    recorded_->status = status;
    recorded_->content_type = content_type;
    recorded_->headers = headers;
  }
  bool write(std::string bytes) override {
    EXPECT_FALSE(recorded_->ended);
    if (recorded_->refuse_writes) return false;
    recorded_->writes.push_back(bytes);
    recorded_->body += bytes;
    return true;
  }
  void finish() override {
    EXPECT_FALSE(recorded_->ended);
    recorded_->ended = true;
  }
  void on_close(std::function<void()> callback) override { recorded_->on_close = callback; }
  void when_sent(std::function<void()> task) override {
    if (!recorded_->reads_slowly) return loop_.post(std::move(task));
    EXPECT_EQ(recorded_->when_sent, nullptr);
    recorded_->when_sent = std::move(task);
  }
  bool closed() const override { return recorded_->closed; }
  http::IoLoop& loop() override { return loop_; }

 private:
  http::IoLoop& loop_;
  std::shared_ptr<Recorded> recorded_;
};

class ScriptedEngine final : public EnginePort {
 public:
  Status submit(Request request, EventSink* new_sink) override {
    if (!refusal.ok()) return refusal;
    sink = new_sink;
    requests.push_back(std::move(request));
    return ok_status();
  }
  void cancel(uint64_t request_id) override { cancelled.push_back(request_id); }
  EngineSnapshot snapshot() const override { return state; }
  Beat beat() const override {
    Beat beat = now;
    beat.failed = state.failed;
    return beat;
  }

  std::vector<Request> requests;
  std::vector<uint64_t> cancelled;
  EventSink* sink = nullptr;
  Status refusal;
  EngineSnapshot state;
  Beat now;
};

inline StreamEvent text_event(uint64_t request_id, TextChannel channel, std::string text,
                              int choice = 0) {
  StreamEvent event;
  event.request_id = request_id;
  event.choice = choice;
  event.channel = channel;
  for (const char c : text) {
    event.tokens.push_back({static_cast<TokenId>(static_cast<unsigned char>(c)), -0.5f, {}});
  }
  event.text = std::move(text);
  return event;
}

inline StreamEvent finish_event(uint64_t request_id, FinishReason reason, ChoiceUsage usage,
                                int choice = 0) {
  StreamEvent event;
  event.request_id = request_id;
  event.choice = choice;
  event.finish = reason;
  event.usage = usage;
  return event;
}

// A server with all of the above.
struct ApiFixture {
  explicit ApiFixture(ApiOptions options = {}, bool ready = true) {
    options.clock = &clock;
    options.num_prep_threads = 1;
    server = std::make_unique<ApiServer>(std::move(options), metrics);
    auto port = std::make_unique<ScriptedEngine>();
    engine = port.get();
    if (ready) {
      server->set_ready(test_model_info(), std::move(port));
    } else {
      unused = std::move(port);
    }
  }

  std::shared_ptr<Recorded> call(std::string method, std::string path, std::string body = "",
                                 http::Headers headers = {}) {
    auto request = std::make_shared<http::Request>();
    request->method = std::move(method);
    request->path = path;
    request->target = path;
    request->body = std::move(body);
    request->headers = std::move(headers);
    request->request_id = "req-test";
    request->remote_address = remote_address;
    auto recorded = std::make_shared<Recorded>();
    server->handler()(request, std::make_shared<RecordingResponder>(loop, recorded));
    return recorded;
  }
  // Until the answer ended, or the engine has one request more.
  std::shared_ptr<Recorded> post(std::string path, std::string body) {
    const size_t before = engine->requests.size();
    auto recorded = call("POST", std::move(path), std::move(body));
    EXPECT_TRUE(
        loop.run_until([&] { return recorded->ended || engine->requests.size() > before; }));
    return recorded;
  }
  void publish(std::vector<StreamEvent> events) {
    engine->sink->publish(std::move(events));
    loop.run_ready();
  }

  std::string remote_address = "192.0.2.7:4321";  // of the next calls
  FakeClock clock;
  MetricsRegistry metrics;
  ManualLoop loop;
  std::unique_ptr<ApiServer> server;
  ScriptedEngine* engine = nullptr;
  std::unique_ptr<ScriptedEngine> unused;
};

}  // namespace sparrow::api
