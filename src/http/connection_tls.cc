// The part of Connection that speaks TLS: what a session says, in the words of a plain socket.
#include <boost/asio/error.hpp>

#include "base/log.h"
#include "http/connection.h"

namespace sparrow::http {

namespace asio = boost::asio;
using boost::system::error_code;

size_t Connection::receive_tls(error_code& error) {
  size_t num_bytes = 0;
  auto& scratch = context_->scratch;
  switch (tls_->read(scratch.data(), scratch.size(), num_bytes)) {
    case TlsResult::kDone:
      return num_bytes;
    case TlsResult::kWantRead:
      error = asio::error::would_block;
      return 0;
    case TlsResult::kWantWrite:
      handshake_blocked_ = true;
      arm_write();
      error = asio::error::would_block;
      return 0;
    case TlsResult::kEnd:
      error = asio::error::eof;
      return 0;
    case TlsResult::kPlainHttp:
      // Whoever typed http:// is told so, in plain.
      tls_.reset();
      answer_protocol_error(400, "this port speaks TLS: use https://");
      error = asio::error::would_block;
      return 0;
    case TlsResult::kFailed:
      break;
  }
  log_debug("http: {}: TLS failed: {}", remote_address_, tls_->error());
  error = asio::error::connection_aborted;
  return 0;
}

size_t Connection::transmit_tls(std::string_view bytes, error_code& error) {
  size_t num_bytes = 0;
  const TlsResult result = tls_->write(bytes, num_bytes);
  if (result == TlsResult::kDone) return num_bytes;
  // There is nothing to say before the handshake, so a write never waits for the client's bytes.
  error = result == TlsResult::kWantWrite ? error_code(asio::error::would_block)
                                          : error_code(asio::error::connection_aborted);
  return 0;
}

}  // namespace sparrow::http
