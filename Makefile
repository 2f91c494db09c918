# imagekit_cleanup: PostgreSQL extension, built with PGXS.
#
#   make && make install && make installcheck   build, install, regression and isolation tests against a running server
#   make demo                                   the whole thing on a throw-away server, from nothing
#   make test                                   every test, from nothing
#   make bench-capture                          what capture costs, beside no trigger and hand-written ones; README
#   make bench-references                       what the check before a delete takes, on a million rows
#   make bench-drain                            how fast files leave, beside what an application would do; bench/README.md
#   make bench-audit                            an audit of a million files; bench/README.md
#   make lint                                   formatting and static analysis, as far as the tools are installed
#
# PG_CONFIG chooses the server; CXX the compiler (g++ or clang++).

EXTENSION = imagekit_cleanup
MODULE_big = imagekit_cleanup
# The script of the extension is its parts, one subject a file, in the order of their numbers.
SCRIPT = build/sql/imagekit_cleanup--1.0.sql
DATA_built = $(SCRIPT)
PGFILEDESC = "imagekit_cleanup - deletes ImageKit images that no row uses any more"

SOURCES = $(sort $(wildcard src/*.cpp src/*/*.cpp))
OBJS = $(SOURCES:.cpp=.o)

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
# What they print goes to build/, not beside the sources.
REGRESS_OPTS = --outputdir=build/regress
REGRESS_PREP = build/regress build/isolation

ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=build/isolation

PG_CONFIG ?= pg_config

# These install what is missing before there is a pg_config to ask.
ifneq ($(filter bench-audit bench-capture bench-drain bench-references demo test install-dependencies,$(MAKECMDGOALS)),)
include test/goals.mk
else

PKG_CONFIG ?= pkg-config
libraries = libcurl jsoncpp
# Used in its header alone.
headers = libxxhash
server_include := $(shell $(PG_CONFIG) --includedir-server)

# Server and library headers are system headers: warnings are ours alone.
PG_CPPFLAGS = -Isrc -isystem $(server_include) \
	$(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(libraries) $(headers)))
PG_CXXFLAGS = -std=c++17 -Wall -Wextra -Werror -fvisibility=hidden -fno-semantic-interposition -MMD -MP \
	$(unknown_warnings)
# PGXS brings the warning options of the compiler that built the server, and clang++ does not know all of g++'s.
unknown_warnings = $(if $(findstring clang,$(shell $(CXX) --version)),-Wno-unknown-warning-option)
SHLIB_LINK = $(shell $(PKG_CONFIG) --libs $(libraries)) -lstdc++ -Wl,--version-script=src/exports.map

EXTRA_CLEAN = $(SOURCES:.cpp=.d) build/sql build/regress build/isolation

# Bitcode serves to inline SQL-callable functions into JIT-compiled queries. Ours are triggers and administration.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The folder's time is that of the last file that came, went or was renamed.
$(SCRIPT): $(sort $(wildcard sql/extension/*.sql)) sql/extension
	@mkdir -p $(@D)
	cat $(filter %.sql,$^) > $@

build/regress build/isolation:
	@mkdir -p $@

.PHONY: lint
lint:
	@test/lib/lint $(PG_CPPFLAGS) -std=c++17

-include $(SOURCES:.cpp=.d)

endif
