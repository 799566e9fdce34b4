#!/usr/bin/env bash
# Installs what Sparrow needs to build (`build`) and to test (`test`), and says what it installs.
#
#   dev/setup.sh build     compiler, CMake, Ninja and the libraries of the server
#   dev/setup.sh test      the same, and GoogleTest, clang-format, a private Python venv, npm packages;
#                          if it can, the cross compiler and qemu for the tests of the ARM kernels
#   dev/setup.sh fuzz      what test needs to build, and clang with libFuzzer, for dev/fuzz.sh
#
# Safe to run again: what is there is left alone, and then no network is needed. Packages are
# installed with --no-remove, so nothing of yours is ever removed; a library whose package would
# conflict (or when you have no root) is unpacked under .deps/ instead. sudo is asked for first;
# SPARROW_SETUP_YES=1 answers yes.
set -euo pipefail
cd "$(dirname "$0")/.."

mode="${1:-build}"
case "$mode" in
  build|test|fuzz) ;;
  *) sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac

tools=(g++ cmake ninja-build ccache mold make pkg-config ca-certificates)
libraries=(libboost1.81-dev libpcre2-dev libutf8proc-dev libfmt-dev libspdlog-dev libcurl4-openssl-dev libssl-dev libsqlite3-dev)
# Without these `sparrow pull` (the first two), TLS and key files of `sparrow serve` (the second), or
# the answer cache (the third) are left out of the build; without the rest the tests of the ARM kernels.
optional=(libcurl4-openssl-dev libssl-dev libsqlite3-dev g++-aarch64-linux-gnu qemu-user-static googletest)
test_libraries=(libgtest-dev libbenchmark-dev)
test_tools=(clang-format-14 python3 python3-venv binutils)
arm_test_tools=(g++-aarch64-linux-gnu qemu-user-static googletest)
fuzz_tools=(clang-16 libclang-rt-16-dev)

say() { printf 'setup: %s\n' "$*"; }
installed() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }
unpacked() { [ -e ".deps/stamp/$1" ]; }
without() {
  case "$1" in
    libsqlite3-dev) printf 'the answer cache is not built without it' ;;
    g++-aarch64-linux-gnu|qemu-user-static|googletest) printf 'the ARM kernels are not tested without it' ;;
    *) printf "'sparrow pull' is not built without it" ;;
  esac
}
is_optional() { [[ " ${optional[*]} " == *" $1 "* ]]; }
# Other packages bring the same library: libcurl for another TLS library is as good.
have_library() {
  installed "$1" || unpacked "$1" && return 0
  [ "$1" = libcurl4-openssl-dev ] || return 1
  installed libcurl4-gnutls-dev || installed libcurl4-nss-dev
}

# Any clang that dev/fuzz.sh would take.
any_clang() { dev/fuzz.sh --clang >/dev/null; }

# A command found on PATH counts, whoever installed it.
have_tool() {
  case "$1" in
    ninja-build) command -v ninja >/dev/null ;;
    libclang-rt-16-dev) installed "$1" || any_clang ;;
    clang-16) any_clang ;;
    g++-aarch64-linux-gnu) command -v aarch64-linux-gnu-g++ >/dev/null ;;
    qemu-user-static) command -v qemu-aarch64-static >/dev/null || command -v qemu-aarch64 >/dev/null ;;
    googletest) [ -e /usr/src/googletest/googletest/src/gtest-all.cc ] ;;
    ca-certificates|python3-venv|binutils) installed "$1" || { [ "$1" = python3-venv ] && python3 -c 'import venv, ensurepip' 2>/dev/null; } ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=()
want_tools=("${tools[@]}"); want_libraries=("${libraries[@]}")
if [ "$mode" = test ]; then
  want_tools+=("${test_tools[@]}"); want_libraries+=("${test_libraries[@]}")
  # Where such CPUs are emulated: on ARM itself the ordinary tests run these kernels.
  [ "$(uname -m)" != x86_64 ] || want_tools+=("${arm_test_tools[@]}")
fi
if [ "$mode" = fuzz ]; then
  want_tools+=("${fuzz_tools[@]}"); want_libraries+=("${test_libraries[@]}")
fi
for package in "${want_tools[@]}"; do have_tool "$package" || missing+=("$package"); done
for package in "${want_libraries[@]}"; do
  have_library "$package" || missing+=("$package")
done

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

may_use_root() {
  [ "$(id -u)" = 0 ] && return 0
  command -v sudo >/dev/null || return 1
  [ "${SPARROW_SETUP_YES:-0}" = 1 ] && return 0
  [ -t 0 ] || return 1
  read -r -p "setup: run 'sudo apt-get install ${missing[*]}'? [y/N] " answer
  [ "$answer" = y ] || [ "$answer" = Y ]
}

# Headers and static libraries of one package under .deps/, for machines without root or where the
# package would push out another one.
unpack() {
  local package="$1" folder=".deps/prefix"
  say "unpacking $package under $folder/"
  mkdir -p "$folder" .deps/archives .deps/stamp
  (cd .deps/archives && apt-get download -q "$package" >/dev/null)
  dpkg-deb -x .deps/archives/"${package}"_*.deb "$folder"
  touch ".deps/stamp/$package"
}

install_packages() {
  say "installing with apt-get: $*"
  export DEBIAN_FRONTEND=noninteractive
  if ! apt-cache show "$1" >/dev/null 2>&1; then as_root apt-get update -q; fi
  if as_root apt-get install -y -q --no-remove --no-install-recommends "$@"; then return 0; fi
  # Lists may be old (404): once more with new ones.
  as_root apt-get update -q && as_root apt-get install -y -q --no-remove --no-install-recommends "$@"
}

if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || {
    say "apt-get not found. Please install the equivalents of: ${missing[*]}"; exit 1; }
  if may_use_root; then
    plain=()
    for package in "${missing[@]}"; do
      [ "$package" = libboost1.81-dev ] || is_optional "$package" || plain+=("$package")
    done
    [ "${#plain[@]}" = 0 ] || install_packages "${plain[@]}"
    for package in "${missing[@]}"; do
      if [ "$package" = libboost1.81-dev ]; then
        # Conflicts with libboost1.74-dev: --no-remove makes apt refuse rather than remove that.
        install_packages libboost1.81-dev || unpack libboost1.81-dev
      elif is_optional "$package"; then
        install_packages "$package" || say "$package is missing (optional): $(without "$package")"
      fi
    done
  else
    say "no root: libraries are unpacked under .deps/"
    for package in "${missing[@]}"; do
      case "$package" in
        libcurl4-openssl-dev|libssl-dev|libsqlite3-dev|g++-aarch64-linux-gnu|qemu-user-static|googletest) say "$package is missing (optional): $(without "$package")" ;;
        lib*) unpack "$package" ;;
        ccache|mold|pkg-config|ca-certificates) say "$package is missing (optional): builds are slower without it" ;;
        *) say "$package is missing and needs root: sudo apt-get install $package"; exit 1 ;;
      esac
    done
  fi
fi

if [ "$mode" = test ]; then
  requirements=tests/e2e/requirements.txt
  stamp=.venv/.installed
  if ! cmp -s "$requirements" "$stamp"; then
    say "creating .venv with pip: $(grep -v '^#' "$requirements" | tr '\n' ' ')"
    python3 -m venv .venv
    .venv/bin/pip install -qq --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$stamp"
  fi
  if command -v npm >/dev/null; then
    stamp=tests/e2e/js/node_modules/.installed
    if ! cmp -s tests/e2e/js/package-lock.json "$stamp"; then
      say "npm ci in tests/e2e/js"
      (cd tests/e2e/js && npm ci --silent --no-audit --no-fund --ignore-scripts)
      cp tests/e2e/js/package-lock.json "$stamp"
    fi
  else
    say "npm not found: the tests with the JavaScript client will be skipped by name"
  fi
fi
