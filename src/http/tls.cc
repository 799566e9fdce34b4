#include "http/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/file.h"
#include "base/log.h"

namespace sparrow::http {
namespace {

constexpr size_t kMaxPemBytes = 1u << 20;
// TLS 1.2 only with forward secrecy and authenticated encryption; 1.3 has nothing else.
constexpr const char* kCiphers12 = "ECDHE+AESGCM:ECDHE+CHACHA20";

// Of the calling thread's error queue, which is left empty.
std::string take_openssl_error() {
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown error" : reason;
}

class OpenSslSession final : public TlsSession {
 public:
  OpenSslSession(SSL_CTX* context, int descriptor) : ssl_(SSL_new(context), &SSL_free) {
    if (ssl_ != nullptr && SSL_set_fd(ssl_.get(), descriptor) == 1) {
      SSL_set_accept_state(ssl_.get());
    } else {
      ssl_.reset();
      error_ = "out of memory";
    }
  }

  TlsResult read(char* bytes, size_t size, size_t& num_read) override {
    if (ssl_ == nullptr) return TlsResult::kFailed;
    ERR_clear_error();
    num_read = 0;
    const int done = SSL_read_ex(ssl_.get(), bytes, size, &num_read);
    return done == 1 ? TlsResult::kDone : result_of(done);
  }

  TlsResult write(std::string_view bytes, size_t& num_written) override {
    if (ssl_ == nullptr) return TlsResult::kFailed;
    ERR_clear_error();
    num_written = 0;
    const int done = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &num_written);
    return done == 1 ? TlsResult::kDone : result_of(done);
  }

  void finish_sending() override {
    if (ssl_ == nullptr || SSL_in_init(ssl_.get()) != 0) return;
    ERR_clear_error();
    (void)SSL_shutdown(ssl_.get());
  }

  std::string error() const override { return error_; }

 private:
  TlsResult result_of(int done) {
    switch (SSL_get_error(ssl_.get(), done)) {
      case SSL_ERROR_WANT_READ:
        return TlsResult::kWantRead;
      case SSL_ERROR_WANT_WRITE:
        return TlsResult::kWantWrite;
      case SSL_ERROR_ZERO_RETURN:
        return TlsResult::kEnd;
      default:
        break;
    }
    const int reason = ERR_GET_REASON(ERR_peek_error());
    const bool is_http = reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST;
    error_ = take_openssl_error();
    ssl_.reset();  // after a fatal error nothing may be called but free
    return is_http ? TlsResult::kPlainHttp : TlsResult::kFailed;
  }

  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  std::string error_;
};

using SslContext = std::shared_ptr<SSL_CTX>;

SslContext new_context() {
  SslContext made(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  CHECK(made != nullptr);
  SSL_CTX* context = made.get();
  CHECK(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1);
  CHECK(SSL_CTX_set_cipher_list(context, kCiphers12) == 1);
  uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION;
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
  // HTTP frames its messages itself: a client that only closes its socket is no error.
  options |= SSL_OP_IGNORE_UNEXPECTED_EOF;
#endif
  SSL_CTX_set_options(context, options);
  // Output is a growing string that may move between two attempts; idle connections hold no
  // record buffers.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets need no memory here
  // Never asks on the terminal.
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return 0; });
  return made;
}

Status check_readable(const char* option, const std::string& path) {
  const Result<std::string> content = read_file(path, kMaxPemBytes);
  if (content.ok()) return ok_status();
  return Status(content.status().code(), fmt::format("{} {}", option, content.message()));
}

Status load_pair(SSL_CTX* context, const std::string& certificate_file,
                 const std::string& key_file) {
  RETURN_IF_ERROR(check_readable("--ssl-certfile", certificate_file));
  RETURN_IF_ERROR(check_readable("--ssl-keyfile", key_file));
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, certificate_file.c_str()) != 1) {
    return invalid_argument(fmt::format("--ssl-certfile {}: not a certificate in PEM ({})",
                                        certificate_file, take_openssl_error()));
  }
  if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) == 1) {
    return ok_status();
  }
  if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH) {
    ERR_clear_error();
    return invalid_argument(
        fmt::format("--ssl-keyfile {}: this is not the key of the certificate in {}", key_file,
                    certificate_file));
  }
  return invalid_argument(
      fmt::format("--ssl-keyfile {}: no private key in PEM that can be read without a password "
                  "({}); `openssl pkey -in {} -out plain.pem` takes a password off",
                  key_file, take_openssl_error(), key_file));
}

class OpenSslContext final : public TlsContext {
 public:
  OpenSslContext(std::string certificate_file, std::string key_file)
      : certificate_file_(std::move(certificate_file)), key_file_(std::move(key_file)) {}

  Status load() {
    // The stamps first: a file that changes while it is read is read again.
    loaded_ = seen_ = stamps();
    SslContext next = new_context();
    RETURN_IF_ERROR(load_pair(next.get(), certificate_file_, key_file_));
    std::lock_guard lock(mutex_);
    context_ = std::move(next);
    return ok_status();
  }

  void reload_if_changed() override {
    const Stamps now = stamps();
    const bool has_settled = now == seen_;
    seen_ = now;
    // One that is gone for a moment is being replaced.
    if (now == loaded_ || !has_settled || !now.certificate || !now.key) return;
    const Status status = load();
    if (status.ok()) {
      log_info("{} was read again: new connections get this certificate", certificate_file_);
    } else {
      log_error("{}; the certificate stays as it was", status.message());
    }
  }

  std::unique_ptr<TlsSession> accept(int descriptor) override {
    std::lock_guard lock(mutex_);
    return std::make_unique<OpenSslSession>(context_.get(), descriptor);  // counts as its owner
  }

 private:
  struct Stamps {
    std::optional<FileStamp> certificate, key;
    bool operator==(const Stamps&) const = default;
  };
  static std::optional<FileStamp> stamp_of(const std::string& path) {
    const Result<FileStamp> stamp = file_stamp(path);
    return stamp.ok() ? std::optional<FileStamp>(*stamp) : std::nullopt;
  }
  Stamps stamps() const { return {stamp_of(certificate_file_), stamp_of(key_file_)}; }

  const std::string certificate_file_, key_file_;
  Stamps loaded_, seen_;  // of the thread that reloads
  std::mutex mutex_;
  SslContext context_;  // guarded by mutex_
};

}  // namespace

Result<std::unique_ptr<TlsContext>> make_tls_context(const std::string& certificate_file,
                                                     const std::string& key_file) {
  const std::string& key = key_file.empty() ? certificate_file : key_file;
  auto context = std::make_unique<OpenSslContext>(certificate_file, key);
  RETURN_IF_ERROR(context->load());
  const Result<FileStamp> stamp = file_stamp(key);
  if (stamp.ok() && stamp->world_readable) {
    log_warning("{} holds the private key and everybody on this machine can read it: chmod 600",
                key);
  }
  return std::unique_ptr<TlsContext>(std::move(context));
}

}  // namespace sparrow::http
