#!/usr/bin/env bash
# Fuzzes every parser with libFuzzer under the address and undefined behaviour sanitizers.
#
#   dev/fuzz.sh [TARGET...]      each target (default: all) for FUZZ_SECONDS, FUZZ_JOBS at a time
#   dev/fuzz.sh --list           the targets
#   dev/fuzz.sh --clang          the compiler it would use
#   dev/fuzz.sh --keep           makes tests/fuzz/corpus of what the runs found, smallest first
#
# FUZZ_SECONDS (300), FUZZ_JOBS (2), CXX (the newest clang++ found). What a run learns stays in
# build/fuzz/corpus; an input that fails is kept in build/fuzz/findings/TARGET and makes the script
# fail. To repeat one: build/fuzz/…/fuzz_TARGET FILE. Fixed? Copy the input to
# tests/fuzz/corpus/TARGET, so that every build replays it.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/fuzz
seconds="${FUZZ_SECONDS:-300}"
jobs="${FUZZ_JOBS:-2}"
# An input may take a second; the sanitizers and a busy machine make it several.
timeout_s=10
memory_mb=2048
kept_bytes=16000  # of one corpus, and of one input a quarter of it

say() { printf 'fuzz: %s\n' "$*"; }

find_clang() {
  local candidate
  for candidate in "${CXX:-}" clang++ clang++-{19,18,17,16}; do
    case "$candidate" in *clang*) ;; *) continue ;; esac
    command -v "$candidate" >/dev/null || continue
    # Older ones know neither the coroutines of C++20 nor aggregates in parentheses.
    [ "$("$candidate" -dumpversion | cut -d. -f1)" -ge 16 ] || continue
    printf 'int main(){}' | "$candidate" -x c++ -fsanitize=fuzzer-no-link,address -o /dev/null - 2>/dev/null || continue
    echo "$candidate"
    return 0
  done
  say "no clang++ >= 16 with its sanitizers found: dev/setup.sh fuzz installs it"
  return 1
}

targets() { ls tests/fuzz/corpus; }
program_of() { find "$build" -type f -name "fuzz_$1" -perm -u+x -print -quit; }

build_targets() {
  local compiler
  compiler="$(find_clang)"
  cmake --preset fuzz -DCMAKE_CXX_COMPILER="$compiler" >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
  local wanted=()
  for target in "$@"; do wanted+=("fuzz_$target"); done
  cmake --build "$build" -j "$(nproc)" --target "${wanted[@]}"
}

# What an input may hold: of a model's files whole small ones must fit.
max_len_of() { case "$1" in model_files) echo 32768 ;; *) echo 8192 ;; esac }

# One run; its last words go to build/fuzz/logs/TARGET.
fuzz_one() {
  local target="$1"
  mkdir -p "$build/corpus/$target" "$build/findings/$target" "$build/logs"
  "$(program_of "$target")" "$build/corpus/$target" "tests/fuzz/corpus/$target" \
    -max_total_time="$seconds" -max_len="$(max_len_of "$target")" -timeout="$timeout_s" -rss_limit_mb="$memory_mb" -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target/" >"$build/logs/$target" 2>&1
}

summary() {
  local failed=0 log runs coverage inputs findings
  printf '%-14s %12s %10s %9s %9s\n' target runs coverage inputs findings
  for target in "$@"; do
    log="$build/logs/$target"
    runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    coverage="$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2 || true)"
    inputs="$(find "$build/corpus/$target" -type f | wc -l)"
    findings="$(find "$build/findings/$target" -type f | wc -l)"
    printf '%-14s %12s %10s %9s %9s\n' "$target" "${runs:-?}" "${coverage:-?}" "$inputs" "$findings"
    if [ "$findings" != 0 ] || [ -z "$runs" ]; then
      failed=1
      grep -m1 -E 'ERROR:|SUMMARY:|runtime error|check failed' "$log" | sed 's/^/    /' || true
    fi
  done
  return "$failed"
}

# The inputs that reach something new, smallest first, as far as the budget goes.
keep() {
  for target in "$@"; do
    local merged="$build/merged/$target" used=0 size
    rm -rf "$merged" && mkdir -p "$merged"
    "$(program_of "$target")" -merge=1 -max_len="$(max_len_of "$target")" -timeout="$timeout_s" \
      -rss_limit_mb="$memory_mb" "$merged" \
      "tests/fuzz/corpus/$target" "$build/corpus/$target" >"$build/logs/$target.merge" 2>&1
    while read -r size file; do
      [ "$size" -le $((kept_bytes / 4)) ] && [ $((used + size)) -le "$kept_bytes" ] || continue
      used=$((used + size))
      cp "$file" "tests/fuzz/corpus/$target/"
    done < <(find "$merged" -type f -printf '%s %p\n' | sort -n)
    say "$target: $used bytes kept"
  done
}

if [ "${1:-}" = --list ]; then targets; exit 0; fi
if [ "${1:-}" = --clang ]; then find_clang; exit; fi
case "${1:-}" in -h|--help) sed -n '2,14p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;; esac
mode=run
if [ "${1:-}" = --keep ]; then mode=keep; shift; fi
chosen=("$@")
[ "$#" -gt 0 ] || mapfile -t chosen < <(targets)
mkdir -p build
build_targets "${chosen[@]}"
if [ "$mode" = keep ]; then keep "${chosen[@]}"; exit 0; fi

say "${#chosen[@]} targets, $seconds s each, $jobs at a time"
for target in "${chosen[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
  fuzz_one "$target" &
done
wait || true
summary "${chosen[@]}"
