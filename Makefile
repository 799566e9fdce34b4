# Sparrow's everyday commands. Each installs what it misses (dev/setup.sh) and works again offline.
#
#   make serve    build, then serve the best model found on http://127.0.0.1:8000
#   make test     every test that needs no GPU
#   make check    the quick tier: unit, golden, tidy
#   make bench    speed of the engine, with its share of the machine's limit
#   make lint     format and structure checks
#   make asan     kernel, quant, model, kv and sampling tests under the address and undefined
#                 behaviour sanitizers (the kernels take minutes to build)
#   make tsan     the tests in which threads meet (API storm, engine faults, compute pool, inbox,
#                 HTTP limits) under the thread sanitizer
#   make fuzz     every parser under libFuzzer, FUZZ_SECONDS each (needs clang)
#   make build    the release binary, build/release/sparrow

.DEFAULT_GOAL := help
.PHONY: help setup setup-test configure-test build serve test check bench lint asan tsan fuzz format clean
BUILD := build/release
JOBS ?= $(shell nproc)
ARGS ?=

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

setup:
	@dev/setup.sh build

setup-test:
	@dev/setup.sh test

$(BUILD)/build.ninja: | setup
	cmake --preset release

build: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target sparrow starter_model -j $(JOBS)

serve: build
	@exec $(BUILD)/sparrow serve $(ARGS)

configure-test: setup-test
	@mkdir -p build
	@cmake --preset release -DSPARROW_BUILD_TESTS=ON > $(BUILD)-configure.log 2>&1 || { cat $(BUILD)-configure.log; exit 1; }

test: configure-test
	@cmake --build $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

check: configure-test
	@cmake --build $(BUILD) -j $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -L 'unit|golden|tidy'

bench: build
	@$(BUILD)/sparrow bench $(ARGS)

lint: configure-test
	@ctest --test-dir $(BUILD) --output-on-failure -L tidy

ASAN_FOLDERS := tensor quant kernels kv sampling model
empty :=
space := $(empty) $(empty)
asan: setup-test
	@mkdir -p build
	@cmake --preset asan -DSPARROW_BUILD_TESTS=ON > build/asan-configure.log 2>&1 || { cat build/asan-configure.log; exit 1; }
	@cmake --build build/asan -j $(JOBS) --target $(ASAN_FOLDERS:%=tests_%)
	@ctest --test-dir build/asan --output-on-failure -j $(JOBS) -R '^($(subst $(space),|,$(ASAN_FOLDERS)))_'

TSAN_TESTS := base_compute_pool_test engine_inbox_test engine_engine_faults_test http_http_limits_test api_api_storm_test \
              api_engine_group_test
tsan: setup-test
	@mkdir -p build
	@cmake --preset tsan -DSPARROW_BUILD_TESTS=ON > build/tsan-configure.log 2>&1 || { cat build/tsan-configure.log; exit 1; }
	@cmake --build build/tsan -j $(JOBS) --target $(TSAN_TESTS)
	@ctest --test-dir build/tsan --output-on-failure -R '^($(subst $(space),|,$(TSAN_TESTS)))$$'

fuzz:
	@dev/setup.sh fuzz
	@dev/fuzz.sh $(ARGS)

format:
	@git ls-files '*.cc' '*.h' '*.cu' '*.cuh' | xargs clang-format-14 -i

clean:
	rm -rf build
