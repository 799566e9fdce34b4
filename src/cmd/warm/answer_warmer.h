#pragma once
// AnswerWarmer: asks an http::Handler of this process a list of questions, some at once, so that
// the answer cache keeps the answers: the way of every request, without a socket. One thread, the
// one that calls run(), is the loop that the handler's replies come to. Outlives the engine's last
// event and the server's threads, which post to that loop.

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmd/warm/warm_questions.h"
#include "http/http_types.h"

namespace sparrow {

struct WarmReport {
  size_t num_stored = 0;
  size_t num_present = 0;             // were there already
  std::vector<std::string> problems;  // a line for each question that is not stored
  bool stopped = false;

  size_t num_done() const { return num_stored + num_present + problems.size(); }
};

class AnswerWarmer {
 public:
  AnswerWarmer(http::Handler handler, size_t num_at_once);
  ~AnswerWarmer();

  // Ends early when `stop` is set: what is running is cancelled, what is stored stays.
  WarmReport run(const std::vector<WarmQuestion>& questions, const std::atomic<bool>& stop,
                 const std::function<void(const WarmReport&)>& progress);

 private:
  const http::Handler handler_;
  const size_t num_at_once_;
  class TaskLoop;
  class Responder;
  const std::unique_ptr<TaskLoop> loop_;
};

}  // namespace sparrow
