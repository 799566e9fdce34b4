#!/usr/bin/env bash
# Checks the engine on a machine with a GPU that has nvcc and CMake but no network and none of our
# libraries. docs/gpu.md tells what it proves and what a result holds.
#
#   dev/gpu_check.sh deps          where our packages are: collects what the other machine lacks in
#                                  .gpu_deps/, to be brought there beside the tree
#   dev/gpu_check.sh build [-D…]   there: configures build/gpu (the engine cut with CUDA) and builds it
#   dev/gpu_check.sh run [OPTION…] there: tests, sanitizers and benchmarks; one result file,
#                                  $OUT/gpu_check.json (OUT: build/gpu/out), and a table
#
# JOBS (all cores) bounds the build. Each of build and run is meant to take at most 8 minutes of 16
# cores. `run` without a GPU says so, runs the tests on the host's twin and skips the rest by name.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/gpu
deps=.gpu_deps

say() { printf 'gpu_check: %s\n' "$*"; }

# pip puts cmake, ctest and ninja where PATH may not reach, and nvcc often stands beside it too.
add_tools() {
  local folder
  for folder in ${CUDA_HOME:+"$CUDA_HOME/bin"} ${CUDA_PATH:+"$CUDA_PATH/bin"} \
                "$(python3 -m site --user-base 2>/dev/null)/bin" \
                "$(python3 -c 'import cmake; print(cmake.CMAKE_BIN_DIR)' 2>/dev/null)" \
                "$(python3 -c 'import ninja; print(ninja.BIN_DIR)' 2>/dev/null)"; do
    [ ! -d "$folder" ] || PATH="$PATH:$folder"
  done
  command -v cmake >/dev/null || { say "cmake not found on PATH nor among pip's packages"; exit 1; }
}

build_cut() {
  local begin generator=() bundle=()
  begin="$(date +%s)"
  # A folder configured elsewhere cannot be used again.
  if [ -e "$build/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$build/CMakeCache.txt"; then
    rm -rf "$build"
  fi
  [ -e "$build/CMakeCache.txt" ] || ! command -v ninja >/dev/null || generator=(-G Ninja)
  if [ -d "$deps" ]; then
    bundle=("-DSPARROW_DEPS_DIR=$deps")
  else
    say "no $deps/: libraries are those of this machine"
  fi
  mkdir -p "$build"
  cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DSPARROW_BUILD_TESTS=ON \
    -DSPARROW_CUT=engine -DSPARROW_WERROR=OFF -DSPARROW_CUDA=ON -DSPARROW_CUDA_ARCHITECTURES=90a \
    "${bundle[@]}" "$@"
  cmake --build "$build" --parallel "${JOBS:-$(nproc)}"
  echo "$(($(date +%s) - begin))" >"$build/build_seconds"
  say "built in $(cat "$build/build_seconds") s"
}

mode="${1:-}"
[ "$#" = 0 ] || shift
case "$mode" in
  deps) python3 dev/gpu/bundle.py "$deps" "$@" ;;
  build) add_tools; build_cut "$@" ;;
  run) add_tools; exec python3 dev/gpu/run.py --build "$build" --out "${OUT:-$build/out}" "$@" ;;
  *) sed -n '2,14p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
