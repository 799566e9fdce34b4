#include "api/endpoints/endpoints.h"
#include "api/stream/reply.h"
#include "base/json.h"

namespace sparrow::api {
namespace {

void append_model(std::string& out, const ServedModel& model, const std::string& name) {
  out += R"({"id":)";
  append_json_string(out, name);
  out += R"(,"object":"model","created":)";
  append_integer(out, model.created());
  out += R"(,"owned_by":"sparrow","root":)";
  append_json_string(out, model.root().empty() ? name : model.root());
  out += R"(,"parent":null,"max_model_len":)";
  append_integer(out, model.max_model_len());
  out += R"(,"permission":[]})";
}

// Answered without the engine, also while the model loads: pages ask at every load.
void list_models(const http::Call& call, const Serving* serving) {
  http::Response response;
  response.body = R"({"object":"list","data":[)";
  if (serving != nullptr) {
    bool first = true;
    for (const std::string& name : serving->model.names()) {
      if (!std::exchange(first, false)) response.body += ',';
      append_model(response.body, serving->model, name);
    }
  }
  response.body += "]}";
  call.responder->send(std::move(response));
}

void show_model(const http::Call& call, const Serving* serving) {
  if (serving == nullptr) return call.responder->send(error_response(loading()));
  const std::string_view id = call.parameter("id");
  if (!serving->model.answers_to(id)) {
    return call.responder->send(error_response(model_not_found(id)));
  }
  http::Response response;
  append_model(response.body, serving->model, serving->model.name());
  call.responder->send(std::move(response));
}

}  // namespace

void add_models_endpoints(http::Router& router, ApiContext& context) {
  router.add("GET", "/v1/models",
             [&context](const http::Call& call) { list_models(call, context.serving()); });
  router.add("GET", "/v1/models/{id*}",
             [&context](const http::Call& call) { show_model(call, context.serving()); });
}

}  // namespace sparrow::api
