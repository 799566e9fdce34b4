// Stands in for tls.cc where OpenSSL was not found.
#include "http/tls.h"

namespace sparrow::http {

Result<std::unique_ptr<TlsContext>> make_tls_context(const std::string&, const std::string&) {
  return unimplemented(
      "--ssl-certfile: this build has no TLS: it was configured without OpenSSL (package "
      "libssl-dev; dev/setup.sh installs it)");
}

}  // namespace sparrow::http
