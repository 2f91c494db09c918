# The goals that work on a bare machine: they install what is missing first, so nothing may be asked of pg_config before.
# Included by the Makefile of the project when one of them is called.
#
#   make test                         everything
#   make test STAGES="unit regress"   only these; test/run --list names them
#   make demo                         see demo/run
#   make bench-capture                what capture costs; about 20 minutes
#   make bench-drain                  how fast files leave, and beside what an application would do; about 20 minutes
#   make bench-references             the check before a delete, on a million rows; about 2 minutes
#   make bench-audit                  an audit of a million files; about 5 minutes
#   make bench-capture BENCH_OPTIONS="--quick --cases bulk"    bench/run and bench/drain --help name the options

export PG_CONFIG
# Only what was asked for: make's own default is not the user's wish.
ifneq ($(origin CXX),default)
export CXX
endif

STAGES =
BENCH_OPTIONS =

.PHONY: install-dependencies test demo bench-audit bench-capture bench-drain bench-references

install-dependencies:
	@test/install-dependencies test

test: install-dependencies
	@test/run $(STAGES)

demo:
	@test/install-dependencies demo
	@test/lib/install-extension
	@$(MAKE) -s --no-print-directory -C test/emulator
	@demo/run

bench-capture:
	@test/install-dependencies bench
	@test/lib/install-extension
	@bench/run $(BENCH_OPTIONS)

bench-drain:
	@test/install-dependencies bench
	@test/lib/install-extension
	@$(MAKE) -s --no-print-directory -C test/emulator
	@bench/drain $(BENCH_OPTIONS)

bench-references:
	@test/install-dependencies bench
	@test/lib/install-extension
	@$(MAKE) -s --no-print-directory -C test/emulator
	@bench/references

bench-audit:
	@test/install-dependencies bench
	@test/lib/install-extension
	@$(MAKE) -s --no-print-directory -C test/emulator
	@bench/audit $(BENCH_OPTIONS)
