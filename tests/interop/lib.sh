# What the shell programs of the interop tests share. Source it; it needs bash.
#
# A test prints `ok NAME` or `not ok NAME` with what it saw, and `finish` sets the exit code.
# SERVER is the program under test; redis-server itself may be given, to check the tests.

set -uo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HERE=$ROOT/tests/interop
SERVER=${SERVER:-$ROOT/target/release/my_redis_server}
PYTHON=${PYTHON:-$ROOT/target/venv/bin/python}
FAILED=0
SERVER_PID=

ok() { echo "ok $1"; }

not_ok() {
    FAILED=$((FAILED + 1))
    echo "not ok $1"
    printf '%s\n' "${2:-}" | head -40 | sed 's/^/    /'
}

# equal NAME GOT EXPECTED
equal() {
    if [ "$2" = "$3" ]; then ok "$1"; else
        not_ok "$1" "got:
$2
expected:
$3"
    fi
}

# matches NAME GOT REGEX: the whole of GOT, however many lines, contains the regular expression.
matches() {
    if grep -qE -- "$3" <<<"$2"; then ok "$1"; else not_ok "$1" "no match for $3 in:
$2"; fi
}

finish() { exit $((FAILED > 0 ? 1 : 0)); }

is_redis() { [ "$(basename "$1")" = redis-server ]; }

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# in_lanes COUNT FUNCTION NAME...: calls FUNCTION NAME for each, COUNT of them at a time, each in a
# shell of its own with a server of its own. What one prints comes as a whole, when it has ended.
in_lanes() {
    local count=$1 work=$2 folder name running=0
    shift 2
    folder=$(mktemp -d)
    for name in "$@"; do
        if [ "$running" -ge "$count" ]; then
            wait -n || FAILED=$((FAILED + 1))
            running=$((running - 1))
        fi
        (
            # The traps and the server of the caller are not this shell's.
            SERVER_PID= FAILED=0
            trap 'stop KILL' EXIT
            "$work" "$name" >"$folder/${name//\//_}" 2>&1
            flock "$folder" cat "$folder/${name//\//_}"
            finish
        ) &
        running=$((running + 1))
    done
    for ((; running > 0; running--)); do
        wait -n || FAILED=$((FAILED + 1))
    done
    rm -rf "$folder"
}

# launch PROGRAM FOLDER [OPTION...]: starts it on $PORT with its dump in FOLDER, sets SERVER_PID.
# It saves at exit and when asked, and practically never on its own.
launch() {
    local program=$1 folder=$2
    shift 2
    local options=(--port "$PORT" --bind 127.0.0.1 --dir "$folder" --dbfilename dump.my_rdb)
    if is_redis "$program"; then
        options+=(--save "3600 1" --databases 1 --slowlog-log-slower-than -1 --daemonize no)
    else
        options+=(--save "3600 1")
    fi
    "$program" "${options[@]}" "$@" >>"$folder/server.log" 2>&1 </dev/null &
    SERVER_PID=$!
}

# wait_ready: true once the server on $PORT answers; false if it ends or takes over 30 s.
wait_ready() {
    local tries
    for ((tries = 0; tries < 1500; tries++)); do
        [ "$(redis-cli -p "$PORT" PING 2>/dev/null)" = PONG ] && return 0
        kill -0 "$SERVER_PID" 2>/dev/null || return 1
        sleep 0.02
    done
    return 1
}

# start PROGRAM FOLDER [OPTION...]: launch and wait; ends the whole program if that fails.
start() {
    launch "$@"
    if ! wait_ready; then
        not_ok "$(basename "$1") starts" "$(tail -20 "$2/server.log")"
        stop KILL
        finish
    fi
}

# stop SIGNAL: sends it and waits for the end; the exit code is left in EXIT_CODE.
stop() {
    local tries
    EXIT_CODE=
    [ -n "$SERVER_PID" ] || return 0
    if [ "$1" = KILL ]; then
        { kill -9 "$SERVER_PID" && wait "$SERVER_PID"; } 2>/dev/null
        SERVER_PID=
        return 0
    fi
    kill -s "$1" "$SERVER_PID" 2>/dev/null
    for ((tries = 0; tries < 1500; tries++)); do
        kill -0 "$SERVER_PID" 2>/dev/null || break
        sleep 0.02
    done
    kill -0 "$SERVER_PID" 2>/dev/null && { not_ok "the server ends at SIG$1"; kill -9 "$SERVER_PID"; }
    wait "$SERVER_PID" 2>/dev/null
    EXIT_CODE=$?
    SERVER_PID=
}
