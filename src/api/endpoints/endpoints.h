#pragma once
// The endpoints: each file adds its routes. The context outlives the router.

#include "api/api_context.h"
#include "http/router.h"

namespace sparrow::api {

void add_chat_endpoint(http::Router& router, ApiContext& context);
void add_completions_endpoint(http::Router& router, ApiContext& context);
void add_models_endpoints(http::Router& router, ApiContext& context);
void add_tokenize_endpoints(http::Router& router, ApiContext& context);
// /health /ping /livez /readyz: answered from atomics, without any lock of the engine.
void add_health_endpoints(http::Router& router, ApiContext& context);
void add_metrics_endpoint(http::Router& router, ApiContext& context);
// /version /load
void add_status_endpoints(http::Router& router, ApiContext& context);
// /docs lists what the router knows: call it last.
void add_docs_endpoint(http::Router& router);

// "x-sparrow-ignored", if fields had no effect.
http::Headers reply_headers(const std::vector<std::string>& warnings);

}  // namespace sparrow::api
