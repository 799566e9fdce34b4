#include "cmd/warm/answer_warmer.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "base/json.h"

namespace sparrow {
namespace {

// How soon a stop is seen while nothing else happens.
constexpr std::chrono::milliseconds kStopTick{100};

std::string header_of(const http::Response& response, std::string_view name) {
  for (const auto& [field, value] : response.headers) {
    if (field == name) return value;
  }
  return {};
}

std::string error_of(const http::Response& response) {
  const auto body = parse_json(response.body, "reply");
  if (!body.ok() || !body->is_object()) return fmt::format("status {}", response.status);
  const auto* error = body->get_object().if_contains("error");
  const auto* message =
      error != nullptr && error->is_object() ? error->get_object().if_contains("message") : nullptr;
  if (message == nullptr || !message->is_string()) return fmt::format("status {}", response.status);
  return std::string(message->get_string());
}

void take_reply(const WarmQuestion& question, const http::Response& response, WarmReport& report) {
  const auto problem = [&](const std::string& what) {
    report.problems.push_back(fmt::format("line {}: {}: {}", question.line, what, question.shown));
  };
  if (response.status != 200) return problem(error_of(response));
  const std::string state = header_of(response, "x-sparrow-answer-cache");
  if (state == "hit") {
    ++report.num_present;
  } else if (response.body.find(R"("finish_reason":"length")") != std::string::npos) {
    problem("the answer was cut at its longest and is not stored");
  } else if (state == "store") {
    ++report.num_stored;
  } else {
    problem("the answer cache cannot be written");
  }
}

std::shared_ptr<const http::Request> request_of(const WarmQuestion& question) {
  auto request = std::make_shared<http::Request>();
  request->method = "POST";
  request->target = request->path = "/v1/chat/completions";
  request->headers = {{"content-type", "application/json"}, {"x-sparrow-cache", "warm"}};
  request->body = question.body;
  request->remote_address = "127.0.0.1";
  request->request_id = fmt::format("warm-{}", question.line);
  return request;
}

}  // namespace

// The replies' loop: tasks run in wait_and_run() of the one thread.
class AnswerWarmer::TaskLoop final : public http::IoLoop {
 public:
  int index() const override { return 0; }
  void post(std::function<void()> task) override {
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    posted_.notify_one();
  }
  void wait_and_run() {
    std::deque<std::function<void()>> ready;
    {
      std::unique_lock lock(mutex_);
      posted_.wait_for(lock, kStopTick, [this] { return !tasks_.empty(); });
      ready.swap(tasks_);
    }
    for (const auto& task : ready) task();
  }

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
};

class AnswerWarmer::Responder final : public http::Responder {
 public:
  Responder(TaskLoop& loop, std::function<void(const http::Response&)> done)
      : loop_(loop), done_(std::move(done)) {}

  void send(http::Response response) override {
    if (ended_) return;
    ended_ = true;
    done_(response);
  }
  // The questions ask for whole answers.
  void start_stream(int, std::string, http::Headers) override {}
  bool write(std::string) override { return false; }
  void finish() override {}
  void on_close(std::function<void()> callback) override { on_close_ = std::move(callback); }
  bool closed() const override { return ended_; }
  http::IoLoop& loop() override { return loop_; }

  void hang_up() {
    if (ended_) return;
    ended_ = true;
    if (on_close_) std::exchange(on_close_, nullptr)();
  }

 private:
  TaskLoop& loop_;
  const std::function<void(const http::Response&)> done_;
  std::function<void()> on_close_;
  bool ended_ = false;
};

AnswerWarmer::AnswerWarmer(http::Handler handler, size_t num_at_once)
    : handler_(std::move(handler)),
      num_at_once_(num_at_once),
      loop_(std::make_unique<TaskLoop>()) {}

AnswerWarmer::~AnswerWarmer() = default;

WarmReport AnswerWarmer::run(const std::vector<WarmQuestion>& questions,
                             const std::atomic<bool>& stop,
                             const std::function<void(const WarmReport&)>& progress) {
  WarmReport report;
  std::vector<std::shared_ptr<Responder>> asked(questions.size());
  size_t num_asked = 0;
  while (report.num_done() < questions.size() && !stop.load()) {
    while (num_asked < questions.size() && num_asked - report.num_done() < num_at_once_) {
      const WarmQuestion& question = questions[num_asked];
      auto responder =
          std::make_shared<Responder>(*loop_, [&report, &question](const http::Response& reply) {
            take_reply(question, reply, report);
          });
      asked[num_asked++] = responder;
      handler_(request_of(question), responder);
    }
    loop_->wait_and_run();
    progress(report);
  }
  report.stopped = report.num_done() < questions.size();
  for (const auto& responder : asked) {
    if (responder != nullptr) responder->hang_up();
  }
  return report;
}

}  // namespace sparrow
