#pragma once
// What the API must know of a loaded model, as serve and cache warm tell it. Stateless.

#include "api/api_options.h"
#include "base/options.h"
#include "cmd/model_session.h"

namespace sparrow {

api::ModelInfo served_model_info(const OptionValues& values, const ModelSession& session);

}  // namespace sparrow
