// Built instead of pull.cc when libcurl or OpenSSL was not found: says what is missing.

#include "tools/pull/pull.h"

namespace sparrow {
namespace {

Status missing() {
  return unimplemented(
      "this build cannot download: it was configured without " SPARROW_PULL_MISSING
      ". Run dev/setup.sh (or install the package) and build "
      "again; or download the model's files by other means and give their folder with --model");
}

}  // namespace

Result<PullSummary> pull_model(const PullOptions&, const PullEvents&) { return missing(); }

Result<PullCheck> check_model(const PullOptions&, const PullEvents&) { return missing(); }

}  // namespace sparrow
