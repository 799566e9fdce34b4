# Sparrow's everyday commands. Each installs what it misses (dev/setup.sh) and works again offline.
#
#   make serve    build, then serve the best model found on http://127.0.0.1:8000
#   make test     every test that needs no GPU
#   make check    the quick tier: unit, golden, tidy
#   make bench    speed of the engine, with its share of the machine's limit
#   make lint     format and structure checks
#   make fuzz     every parser under libFuzzer, FUZZ_SECONDS each (needs clang)
#   make build    the release binary, build/release/sparrow

.DEFAULT_GOAL := help
.PHONY: help setup setup-test configure-test build serve test check bench lint fuzz format clean
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

fuzz:
	@dev/setup.sh fuzz
	@dev/fuzz.sh $(ARGS)

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format-14 -i

clean:
	rm -rf build
