#include "cmd/version.h"

namespace sparrow {

const char kVersion[] = SPARROW_VERSION;

}  // namespace sparrow
