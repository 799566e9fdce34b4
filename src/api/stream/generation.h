#pragma once
// Generation: one request on its way back: the engine's events go in, bytes go to the responder.
// Starts the stream with its first event (or heartbeat), so that what fails before gets a proper
// status. Every method on the loop thread of its responder, except the constructor.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/answers/answer_plan.h"
#include "api/api_state.h"
#include "api/engine_port.h"
#include "api/gate_ticket.h"
#include "api/stream/response_format.h"
#include "core/request.h"
#include "http/http_types.h"

namespace sparrow::api {

// What preparation hands over. The requests' ids are consecutive; all have as many choices.
struct PreparedGeneration {
  std::vector<Request> requests;
  std::unique_ptr<ResponseFormat> format;
  http::Headers headers;  // of the reply
  AnswerPlan answers;     // what the answer cache found, or will keep
  // For the gate.
  RequestShape shape;
  bool is_chat = false;
  std::string question;  // the last message of the user, of a chat
  // Of the gate.
  std::optional<std::string> ready_answer;  // sent instead of computing
  std::shared_ptr<GateTicket> ticket;
};

class Generation {
 public:
  Generation(PreparedGeneration prepared, std::shared_ptr<http::Responder> responder,
             EnginePort& engine, const Clock& clock, ActiveTicket ticket);

  ~Generation();

  const std::vector<uint64_t>& request_ids() const { return request_ids_; }
  // The answer is known already: replay() instead of submit().
  bool is_replay() const { return answers_.replay.has_value(); }
  // Writes the next piece, of bounded size. False: over.
  bool replay();
  // Sends an answer that was not computed here; then it is over.
  void answer_at_once(const std::string& text);
  // Hands the requests to the engine. False: refused, and the client has been told.
  bool submit(EventSink* sink);
  // Where the format fails (out of memory), the answer ends with an error and nobody else notices.
  void on_event(const StreamEvent& event);
  // Writes what the last events made. False: over, nothing more will be written.
  bool flush();
  // A comment line if nothing was written for `heartbeat`. False: over.
  bool tick(Duration heartbeat);
  // The client left, or nothing can be written: the engine stops computing at its next step.
  void cancel();
  http::Responder& responder() { return *responder_; }

 private:
  struct Running {  // of one choice, while it runs
    int64_t num_output = 0;
    int64_t num_reasoning = 0;
  };
  StreamEvent next_replay_part();
  void start_stream();
  void take(const StreamEvent& event);
  void fail_by_exception(size_t num_sound_bytes) noexcept;
  ApiError submit_error(const Status& status);
  // `outcome` is the log's word for the end.
  void fail(const ApiError& error, const char* outcome);
  void count(size_t index, bool first_of_prompt, const StreamEvent& event);
  void finish();
  void give_up(const char* outcome);
  void log_outcome(const char* outcome);

  const std::shared_ptr<http::Responder> responder_;
  EnginePort& engine_;
  const Clock& clock_;
  const ActiveTicket ticket_;
  const std::shared_ptr<GateTicket> gate_ticket_;  // null in tests without a gate
  const std::unique_ptr<ResponseFormat> format_;
  const bool streams_;
  http::Headers headers_;
  AnswerPlan answers_;
  size_t num_replayed_ = 0;  // events; of the next one:
  size_t num_replayed_tokens_ = 0;
  size_t num_replayed_bytes_ = 0;
  std::vector<Request> requests_;  // empty once submitted
  std::vector<uint64_t> request_ids_;
  int choices_per_prompt_ = 1;

  std::string buffer_;
  UsageTotals totals_;
  std::vector<Running> running_;  // by choice
  TimePoint last_write_;
  const TimePoint begin_;  // arrival: what the engine counts queueing from
  std::optional<TimePoint> first_token_;
  Duration queue_time_{};   // the longest of the choices
  bool started_ = false;    // the response head has been written
  bool began_ = false;      // the first event has come
  bool submitted_ = false;  // the engine has it
  bool over_ = false;
};

}  // namespace sparrow::api
