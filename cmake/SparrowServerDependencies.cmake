# What only the server and its commands use; each may be missing, and then one feature is.
# `sparrow pull` needs both; without them the rest builds and the command says what is missing. The
# check links: an unpacked package may be there without the library it points to.
option(SPARROW_WITH_PULL "Build `sparrow pull` (needs libcurl and OpenSSL)" ON)
set(SPARROW_PULL_MISSING "")
if(SPARROW_WITH_PULL)
  find_package(CURL 7.61 QUIET)
  find_package(OpenSSL 1.1.1 QUIET COMPONENTS Crypto)
  if(NOT CURL_FOUND)
    set(SPARROW_PULL_MISSING "libcurl (package libcurl4-openssl-dev)")
  elseif(NOT OPENSSL_FOUND)
    set(SPARROW_PULL_MISSING "OpenSSL (package libssl-dev)")
  else()
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_LIBRARIES CURL::libcurl OpenSSL::Crypto)
    check_cxx_source_compiles("
      #include <curl/curl.h>
      #include <openssl/evp.h>
      int main() { curl_url_cleanup(curl_url()); return EVP_sha256() == nullptr; }"
      SPARROW_PULL_LINKS)
    unset(CMAKE_REQUIRED_LIBRARIES)
    if(NOT SPARROW_PULL_LINKS)
      set(SPARROW_PULL_MISSING "a libcurl and OpenSSL that link (libcurl4-openssl-dev, libssl-dev)")
    endif()
  endif()
else()
  set(SPARROW_PULL_MISSING "libcurl (turned off by SPARROW_WITH_PULL)")
endif()
if(SPARROW_PULL_MISSING)
  message(STATUS "`sparrow pull` is off, without ${SPARROW_PULL_MISSING}; dev/setup.sh installs it")
endif()

# The answer cache needs SQLite; without it the rest builds and --answer-cache says what is missing.
option(SPARROW_WITH_SQLITE "Build the answer cache (needs SQLite)" ON)
set(SPARROW_SQLITE_MISSING TRUE)
if(SPARROW_WITH_SQLITE)
  find_package(SQLite3 3.35 QUIET)
  if(SQLite3_FOUND)
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_LIBRARIES SQLite::SQLite3)
    check_cxx_source_compiles("
      #include <sqlite3.h>
      int main() { return sqlite3_libversion_number() == 0; }"
      SPARROW_SQLITE_LINKS)
    unset(CMAKE_REQUIRED_LIBRARIES)
    if(SPARROW_SQLITE_LINKS)
      set(SPARROW_SQLITE_MISSING FALSE)
    endif()
  endif()
endif()
if(SPARROW_SQLITE_MISSING)
  message(STATUS "The answer cache is off, without SQLite (package libsqlite3-dev); dev/setup.sh installs it")
endif()

# TLS of the server and hashed API keys. The check links, for the same reason.
option(SPARROW_WITH_TLS "TLS and hashed API keys in `sparrow serve` (needs OpenSSL)" ON)
set(SPARROW_OPENSSL_FOUND FALSE)
if(SPARROW_WITH_TLS)
  find_package(OpenSSL 1.1.1 QUIET COMPONENTS SSL Crypto)
  if(OPENSSL_FOUND)
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_LIBRARIES OpenSSL::SSL OpenSSL::Crypto)
    check_cxx_source_compiles("
      #include <openssl/ssl.h>
      int main() { return SSL_CTX_new(TLS_server_method()) == nullptr; }"
      SPARROW_TLS_LINKS)
    unset(CMAKE_REQUIRED_LIBRARIES)
    set(SPARROW_OPENSSL_FOUND ${SPARROW_TLS_LINKS})
  endif()
endif()
if(NOT SPARROW_OPENSSL_FOUND)
  message(STATUS "`sparrow serve` has no TLS and no key files, without OpenSSL (package libssl-dev)")
endif()
