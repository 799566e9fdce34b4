#include "api/api_context.h"

#include <fmt/format.h>

#include <iterator>
#include <new>

#include "api/retry_hint.h"
#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"

namespace sparrow::api {
namespace {

const Clock& real_clock() {
  static const RealClock clock;
  return clock;
}

// A page of another site can send these without asking the browser's preflight first.
bool is_foreign_form(const http::Request& request) {
  if (request.header("origin").empty()) return false;
  const std::string_view type = request.header("content-type");
  for (const std::string_view form :
       {"text/plain", "multipart/form-data", "application/x-www-form-urlencoded"}) {
    if (type.starts_with(form)) return true;
  }
  return false;
}

// A tenant's users share its turn and its secret; what the client adds itself stays apart.
void belong_to(const Caller& caller, std::vector<Request>& requests) {
  if (caller.tenant.empty()) return;
  for (Request& request : requests) {
    request.fairness_key = caller.tenant;
    // Who shares the machine with other tenants may stand back, but not step before them.
    if (!caller.is_admin) request.priority = std::max(request.priority, 0);
    request.tenant = caller.tenant;
    request.cache_salt = caller.cache_salt + request.cache_salt;
  }
}

void log_prompt(const http::Request& request) {
  log_event(LogLevel::kInfo, "prompt",
            {{"request_id", request.request_id}, {"body", request.body}});
}

// What one request's work throws becomes that request's answer.
template <typename Work>
MaybeError guarded(Work&& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return overloaded("The server has no memory left for this request.", 1000);
  } catch (const std::exception& error) {
    log_error("api: preparing a request failed: {}", error.what());
  } catch (...) {
    log_error("api: preparing a request failed: an unknown exception");
  }
  return internal_failure();
}

}  // namespace

ApiContext::ApiContext(ApiOptions options, MetricsRegistry& metrics)
    : options_(std::move(options)),
      metrics_(metrics),
      status_metrics_(metrics, options_.version),
      keys_({options_.api_keys, options_.admin_keys, options_.api_key_file}),
      id_seed_(entropy64()),
      gate_(options_, metrics, [this](const PreparedGeneration& prepared) {
        return answers_ == nullptr ? std::nullopt : answers_->find_similar(prepared);
      }) {
  options_.api_keys.clear();  // only their digests are kept
  options_.admin_keys.clear();
  if (options_.clock == nullptr) options_.clock = &real_clock();
  CHECK(options_.num_prep_threads > 0);
  if (!options_.answer_cache.path.empty()) {
    answers_ = std::make_unique<AnswerCache>(options_.answer_cache, clock(), metrics_);
  }
  prep_ = std::make_unique<TaskPool>(options_.num_prep_threads, options_.prep_queue_capacity);
}

void ApiContext::set_serving(std::unique_ptr<Serving> serving) {
  CHECK(owned_ == nullptr);
  owned_ = std::move(serving);
  serving_.store(owned_.get(), std::memory_order_release);
  ServerPhase expected = ServerPhase::kLoading;  // a drain may have begun meanwhile
  state_.phase.compare_exchange_strong(expected, ServerPhase::kReady);
}

void ApiContext::drain() {
  if (state_.phase.exchange(ServerPhase::kDraining) == ServerPhase::kDraining) return;
  if (options_.request_drain) options_.request_drain();
}

void ApiContext::count_accepted() {
  const int64_t count = num_accepted_.fetch_add(1) + 1;
  if (count != options_.max_requests) return;
  log_info("{} requests taken (--limit-max-requests): no more from now on", count);
  drain();
}

std::vector<bool> ApiContext::engines_up(const EnginePort& port) const {
  std::vector<bool> is_up;
  for (const EngineView& engine : port.engines()) {
    is_up.push_back(state_of(engine, options_.watchdog_timeout, clock().now()) ==
                    EngineState::kWorking);
  }
  return is_up;
}

std::string ApiContext::render_metrics() {
  std::lock_guard lock(scrape_mutex_);
  const Serving* serving = this->serving();
  status_metrics_.refresh(stuck().has_value());
  if (serving != nullptr) status_metrics_.refresh_engines(engines_up(*serving->engine));
  if (serving != nullptr && serving->model.device_health()) {
    status_metrics_.refresh_device(serving->model.device_health(), clock().now());
  } else {
    status_metrics_.refresh_memory(serving == nullptr ? 0 : serving->model.memory_budget_bytes());
  }
  return metrics_.render();
}

StreamHub& ApiContext::hub_of(http::IoLoop& loop) {
  std::lock_guard lock(mutex_);
  auto& hub = hubs_[&loop];
  if (hub == nullptr) hub = std::make_unique<StreamHub>(loop);
  return *hub;
}

std::string ApiContext::make_reply_id(std::string_view prefix) {
  const uint64_t counter = next_id_.load();
  return fmt::format("{}{:016x}{:016x}", prefix, random_bits(id_seed_, 0, counter), entropy64());
}

MaybeError ApiContext::check_accepting() {
  if (state_.phase == ServerPhase::kLoading) return loading();
  if (state_.phase == ServerPhase::kDraining) return draining();
  const int limit = options_.max_concurrent_requests;
  if (limit > 0 && state_.num_active > limit) {  // the asking request is counted already
    gate_.note_refusal(RejectReason::kConcurrency);
    return overloaded(
        fmt::format("The server already answers {} requests (--limit-concurrency).", limit),
        retry_after_ms(serving()->engine->snapshot()));
  }
  return std::nullopt;
}

MaybeError ApiContext::prepare_and_admit(const http::Request& request, const Caller& caller,
                                         const Serving& serving, const Prepare& prepare,
                                         PreparedGeneration& prepared) {
  if (auto error = prepare(request, serving.model, prepared)) return error;
  if (answers_ != nullptr) {
    if (auto error = answers_->consult(request, keys_, caller, serving.model, prepared)) {
      return error;
    }
  }
  belong_to(caller, prepared.requests);
  // Known already: it costs no computing, whatever the load.
  if (prepared.answers.replay) {
    return gate_.pass_without_work(caller, clock().now(), prepared.headers);
  }
  return gate_.pass(request, caller, serving.engine->snapshot(), clock().now(), prepared);
}

void ApiContext::run_generation(const http::Call& call, Prepare prepare) {
  ActiveTicket ticket(state_);
  if (auto error = check_accepting()) return call.responder->send(error_response(*error));
  Serving& serving = *this->serving();
  Caller caller = keys_.caller_of(*call.request);
  auto task = [this, &serving, ticket = std::move(ticket), request = call.request,
               responder = call.responder, prepare = std::move(prepare),
               caller = std::move(caller)]() mutable {
    auto prepared = std::make_shared<PreparedGeneration>();
    if (options_.log_prompts) log_prompt(*request);
    MaybeError error =
        guarded([&] { return prepare_and_admit(*request, caller, serving, prepare, *prepared); });
    http::IoLoop& loop = responder->loop();
    // The responder moves to its own thread, so that it never ends here.
    loop.post([this, &serving, ticket = std::move(ticket), prepared, error = std::move(error),
               responder = std::move(responder)]() mutable {
      if (error) {
        http::Response refusal = error_response(*error);
        std::move(prepared->headers.begin(), prepared->headers.end(),
                  std::back_inserter(refusal.headers));
        return responder->send(std::move(refusal));
      }
      http::IoLoop& own_loop = responder->loop();
      const std::optional<std::string> ready = std::move(prepared->ready_answer);
      const auto generation = std::make_shared<Generation>(
          std::move(*prepared), std::move(responder), *serving.engine, clock(), std::move(ticket));
      if (ready) return generation->answer_at_once(*ready);
      hub_of(own_loop).start(generation);
    });
  };
  if (prep_->try_submit(std::move(task))) return count_accepted();
  gate_.note_refusal(RejectReason::kPrepQueue);
  call.responder->send(error_response(overloaded("Too many requests are waiting to be prepared.",
                                                 retry_after_ms(serving.engine->snapshot()))));
}

void ApiContext::run_answer(const http::Call& call, Answer answer) {
  if (serving() == nullptr) return call.responder->send(error_response(loading()));
  const ServedModel& model = serving()->model;
  http::Headers headers;
  const Caller caller = keys_.caller_of(*call.request);
  if (auto error = gate_.pass_without_work(caller, clock().now(), headers)) {
    http::Response refusal = error_response(*error);
    std::move(headers.begin(), headers.end(), std::back_inserter(refusal.headers));
    return call.responder->send(std::move(refusal));
  }
  auto task = [&model, request = call.request, responder = call.responder,
               answer = std::move(answer), headers = std::move(headers)]() mutable {
    http::Response response;
    if (auto error = guarded([&] { return answer(*request, model, response.body); })) {
      response = error_response(*error);
    }
    std::move(headers.begin(), headers.end(), std::back_inserter(response.headers));
    http::IoLoop& loop = responder->loop();
    loop.post([response = std::move(response), responder = std::move(responder)]() mutable {
      responder->send(std::move(response));
    });
  };
  if (prep_->try_submit(std::move(task))) return;
  gate_.note_refusal(RejectReason::kPrepQueue);
  call.responder->send(
      error_response(overloaded("Too many requests are waiting to be prepared.", 1000)));
}

void ApiContext::update_gate() {
  if (serving() != nullptr) gate_.update(serving()->engine->snapshot(), clock().now());
}

void ApiContext::tick_all() {
  std::lock_guard lock(mutex_);
  const Duration heartbeat = options_.heartbeat;
  for (const auto& [loop, hub] : hubs_) {
    loop->post([hub = hub.get(), heartbeat] { hub->tick(heartbeat); });
  }
}

MaybeError read_json_body(const http::Request& request, const ApiLimits& limits,
                          boost::json::object& body) {
  if (is_foreign_form(request)) {
    return http_error(415, "Send the body as application/json.");
  }
  auto parsed = parse_json(request.body, "request body",
                           {.max_depth = limits.max_json_depth,
                            .max_keys = limits.max_json_keys,
                            .max_number_bytes = limits.max_json_number_bytes,
                            .unique_keys = true});
  if (!parsed.ok()) return invalid_request("", parsed.message());
  if (!parsed->is_object()) return invalid_request("", "The request body must be a JSON object.");
  body = std::move(parsed->get_object());
  return std::nullopt;
}

}  // namespace sparrow::api
