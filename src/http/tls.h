#pragma once
// TLS over the sockets of connections, by OpenSSL. TlsContext: certificate, key and settings of a
// server, shared by all its connections; renewed when its files change. TlsSession: one connection;
// it reads and writes the descriptor itself, never blocks, and shakes hands inside read() and
// write(). A session belongs to its connection's loop. Internal to http/.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow::http {

enum class TlsResult {
  kDone,       // some bytes were moved
  kWantRead,   // nothing was: wait until the socket is readable
  kWantWrite,  // nothing was: wait until the socket is writable
  kEnd,        // the client sends no more
  kPlainHttp,  // the first bytes are an HTTP request, not a handshake
  kFailed,     // nothing more can be read or written; error() says why
};

class TlsSession {
 public:
  virtual ~TlsSession() = default;
  virtual TlsResult read(char* bytes, size_t size, size_t& num_read) = 0;
  virtual TlsResult write(std::string_view bytes, size_t& num_written) = 0;
  // Tells the client that nothing follows (close_notify), if it can be told now.
  virtual void finish_sending() = 0;
  virtual std::string error() const = 0;
};

class TlsContext {
 public:
  virtual ~TlsContext() = default;
  // Any thread. Running sessions keep the certificate they began with.
  virtual std::unique_ptr<TlsSession> accept(int descriptor) = 0;
  // Reads the files again if they have changed and then stayed as they are since the last call (a
  // certificate and its key are replaced one after the other). Files that are broken, or not a
  // pair, change nothing and are logged once. One thread.
  virtual void reload_if_changed() = 0;
};

// From PEM files; an empty key_file means the certificate's. The error names file, cause and what
// to do, also when this build has no TLS.
Result<std::unique_ptr<TlsContext>> make_tls_context(const std::string& certificate_file,
                                                     const std::string& key_file);

}  // namespace sparrow::http
