# What the scripts of test/ share. Sourced, never run:  source "$(dirname "$0")/common.sh"
#
# Root or not: as root, everything works, and the servers run as the account SERVER_USER, for PostgreSQL refuses to run
# as root. As an ordinary user, servers run as that user, and sudo is asked for only where root is unavoidable: packages
# and the server's own directories.

# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PG_CONFIG=${PG_CONFIG:-pg_config}
SERVER_USER=${SERVER_USER:-postgres}
JOBS=${JOBS:-$(nproc)}
PROGRAMS=$ROOT/build/programs # what test/install-dependencies takes out of packages

# A make above us (make test) must not speak through its environment to those below: its flags are for itself.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

as_root() {
    if is_root; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo; run as root: $*"
    fi
}

as_server_user() {
    if is_root; then
        runuser -u "$SERVER_USER" -- "$@"
    else
        "$@"
    fi
}

# make with this server and this compiler. A command-line variable, because PGXS overrides the environment's CXX.
build_make() {
    make -s --no-print-directory -j"$JOBS" PG_CONFIG="$(command -v "$PG_CONFIG")" ${CXX:+CXX="$CXX"} "$@"
}

# Makes $scratch: a directory below /tmp (the checkout may be unreadable for the server's account) which is removed, and
# whose servers are stopped, when the script ends in whatever way.
make_scratch() {
    scratch=$(mktemp -d /tmp/imagekit-test.XXXXXX)
    trap 'leave_scratch' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if is_root; then
        id "$SERVER_USER" >/dev/null 2>&1 || die "no account $SERVER_USER to run servers as; set SERVER_USER"
        chown "$SERVER_USER": "$scratch"
    fi
}

leave_scratch() {
    local pid_file
    # Ours, and those of TAP tests that were broken off.
    for pid_file in $(find "$scratch" -name postmaster.pid 2>/dev/null); do
        (cd "$scratch" && as_server_user "$(server_program pg_ctl)" -D "${pid_file%/*}" -m immediate stop) >/dev/null 2>&1 || true
    done
    rm -rf "$scratch"
}

server_program() { echo "$("$PG_CONFIG" --bindir)/$1"; }

# start_server SETTING=VALUE...: a new cluster in $scratch, its log in $scratch/server.log, reachable only through a
# socket in $scratch. Sets PGHOST, PGPORT and PGUSER for the clients that follow. INITDB_OPTIONS: more for initdb;
# SERVER_PROGRAM: what to start instead of postgres.
start_server() {
    local setting options="-c listen_addresses='' -k $scratch -c fsync=off"
    for setting in "$@"; do options+=" -c $setting"; done
    (
        cd "$scratch" # initdb and postgres want to return to where they started
        as_server_user "$(server_program initdb)" -D data -U postgres -A trust -E UTF8 --no-locale --no-sync \
            ${INITDB_OPTIONS:-} >initdb.log ||
            { cat initdb.log >&2; exit 1; }
        as_server_user "$(server_program pg_ctl)" -D data -l server.log -o "$options" \
            ${SERVER_PROGRAM:+-p "$SERVER_PROGRAM"} -w start >/dev/null ||
            { cat server.log >&2; exit 1; }
    )
    # The caller's own server, and how to reach it, is none of our business.
    for setting in $(compgen -e PG); do [ "$setting" = PG_CONFIG ] || unset "$setting"; done
    export PGHOST=$scratch PGPORT=5432 PGUSER=postgres
}

# Is what the server would load the same as MODULE, this checkout's control file and its SQL?
is_installed() {
    local extension module=$1
    extension=$("$PG_CONFIG" --sharedir)/extension
    cmp -s "$module" "$("$PG_CONFIG" --pkglibdir)/imagekit_cleanup.so" || return 1
    cmp -s "$ROOT/imagekit_cleanup.control" "$extension/imagekit_cleanup.control" || return 1
    cat "$ROOT"/sql/extension/*.sql | cmp -s - "$extension/imagekit_cleanup--1.0.sql"
}

# Tests against another build than the one at hand would prove nothing: exit status 77 says "skipped" to meson, and is
# a failure to test/run.
require_installed() {
    is_installed "$1" && return
    echo "not run: the extension installed in the server is not $1; install it first"
    exit 77
}
