#pragma once
// What a shortening (DegradationLadder) changes in a request. Stateless.

#include "admission/degradation.h"
#include "core/request.h"

namespace sparrow {

// What the client wrote about the least number of tokens stands.
void shorten(const Shortening& shortening, Request& request);

}  // namespace sparrow
