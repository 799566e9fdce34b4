#include "api/endpoints/endpoints.h"
#include "api/request/completion_request.h"
#include "api/stream/completion_format.h"

namespace sparrow::api {
namespace {

Reply make_reply(ApiContext& context, const ServedModel& model, const CompletionRequest& asked) {
  const GenerationParams& params = asked.params;
  Reply reply;
  reply.id = context.make_reply_id("cmpl-");
  reply.created = unix_seconds();
  reply.model = model.name();
  reply.num_choices = params.num_choices * static_cast<int>(asked.prompts.size());
  reply.stream = params.stream;
  reply.include_usage = params.include_usage;
  reply.continuous_usage = params.continuous_usage;
  reply.logprobs = params.sampling.num_top_logprobs >= 0;
  reply.return_token_ids = params.return_token_ids;
  reply.warnings = params.warnings;
  reply.tokenizer = &model.tokenizer();
  return reply;
}

// One engine request per prompt. Thinking is not told apart here: the text is the model's own.
void add_requests(ApiContext& context, CompletionRequest& asked, const std::string& label,
                  PreparedGeneration& prepared) {
  uint64_t id = context.take_request_ids(asked.prompts.size());
  const TimePoint now = context.clock().now();
  for (CompletionPrompt& prompt : asked.prompts) {
    Request request;
    request.id = id++;
    request.label = label;
    request.sampling = asked.params.sampling;
    request.stop = asked.params.stop;
    request.num_choices = asked.params.num_choices;
    request.skip_special_tokens = asked.params.skip_special_tokens;
    request.speculative = asked.params.speculative;
    request.priority = asked.params.priority;
    request.fairness_key = asked.params.user;
    request.cache_salt = asked.params.cache_salt;
    request.arrival = now;
    request.prompt = std::move(prompt.tokens);
    prepared.requests.push_back(std::move(request));
  }
}

MaybeError prepare_completion(ApiContext& context, const http::Request& http_request,
                              const ServedModel& model, PreparedGeneration& prepared) {
  const ApiOptions& options = context.options();
  boost::json::object body;
  if (auto error = read_json_body(http_request, options.limits, body)) return error;
  CompletionRequest asked;
  if (auto error = parse_completion_request(body, model, options, asked)) return error;
  Reply reply = make_reply(context, model, asked);
  CompletionFormatOptions format;
  format.choices_per_prompt = asked.params.num_choices;
  for (CompletionPrompt& prompt : asked.prompts) {
    if (asked.echo) format.echo.push_back(std::move(prompt.text));
    if (reply.return_token_ids) reply.prompt_token_ids.push_back(prompt.tokens);
  }
  prepared.headers = reply_headers(reply.warnings);
  add_requests(context, asked, reply.id, prepared);
  prepared.shape.max_tokens_open = !asked.params.max_tokens;
  prepared.shape.temperature_open = !asked.params.temperature_given;
  prepared.shape.max_tokens = asked.params.stop.max_tokens;
  prepared.shape.temperature = asked.params.sampling.temperature;
  if (reply.stream) {
    prepared.format = std::make_unique<CompletionStreamFormat>(std::move(reply), std::move(format));
  } else {
    prepared.format = std::make_unique<CompletionWholeFormat>(std::move(reply), std::move(format));
  }
  return std::nullopt;
}

}  // namespace

void add_completions_endpoint(http::Router& router, ApiContext& context) {
  router.add("POST", "/v1/completions", [&context](const http::Call& call) {
    context.run_generation(call, [&context](const http::Request& request, const ServedModel& model,
                                            PreparedGeneration& prepared) {
      return prepare_completion(context, request, model, prepared);
    });
  });
}

}  // namespace sparrow::api
