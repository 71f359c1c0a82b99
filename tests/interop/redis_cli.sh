#!/usr/bin/env bash
# redis-cli against a running server: redis_cli.sh PORT
#
# Without a terminal redis-cli prints raw replies; --no-raw prints what a terminal would show.
# --memkeys and --hotkeys are not run: they need MEMORY USAGE and OBJECT FREQ, which this server
# does not have.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PORT=$1
cli() { timeout 20 redis-cli -p "$PORT" "$@" 2>&1 </dev/null; }
terminal() { cli --no-raw "$@"; }
# inline TEXT: sends the bytes (as printf reads them) and prints what comes until the close.
inline() {
    exec 3<>"/dev/tcp/127.0.0.1/$PORT"
    printf "$1" >&3
    timeout 10 cat <&3 | tr -d '\r'
    exec 3<&- 3>&-
}

cli FLUSHALL >/dev/null
equal "redis-cli set" "$(cli SET hello world)" OK
equal "redis-cli get raw" "$(cli GET hello)" world
equal "redis-cli get as on a terminal" "$(terminal GET hello)" '"world"'
equal "redis-cli nil" "$(terminal GET missing)" "(nil)"
equal "redis-cli nil in RESP3" "$(terminal -3 GET missing)" "(nil)"
equal "redis-cli integer" "$(terminal RPUSH list a b "c d")" "(integer) 3"
equal "redis-cli array" "$(terminal LRANGE list 0 -1)" '1) "a"
2) "b"
3) "c d"'
equal "redis-cli empty array" "$(terminal LRANGE missing 0 -1)" "(empty array)"
equal "redis-cli binary" "$(printf '\000\377\r\n' | timeout 10 redis-cli -p "$PORT" -x SET bin)" OK
equal "redis-cli binary shown" "$(terminal GET bin)" '"\x00\xff\r\n"'
equal "redis-cli map in RESP2" "$(cli HSET h f v >/dev/null; terminal HGETALL h)" '1) "f"
2) "v"'
equal "redis-cli map in RESP3" "$(terminal -3 HGETALL h)" '1# "f" => "v"'
equal "redis-cli empty map in RESP3" "$(terminal -3 HGETALL missing)" "(empty hash)"
equal "redis-cli error" "$(terminal LPUSH hello x)" \
    "(error) WRONGTYPE Operation against a key holding the wrong kind of value"
equal "redis-cli unknown command" "$(terminal NOSUCH a b)" \
    "(error) ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "
equal "redis-cli wrong arity" "$(terminal GET)" \
    "(error) ERR wrong number of arguments for 'get' command"
timeout 10 redis-cli -e -p "$PORT" NOSUCH >/dev/null 2>&1
equal "redis-cli -e exit code" "$?" 1
equal "redis-cli json" "$(cli --json HGETALL h)" '{"f":"v"}'
equal "redis-cli csv" "$(cli --csv LRANGE list 0 -1)" '"a","b","c d"'
equal "redis-cli repeat" "$(cli -r 3 INCR n)" "1
2
3"
equal "redis-cli commands from a file" "$(printf 'SET x 1\nINCR x\nGET x\n' | redis-cli -p "$PORT")" \
    "OK
2
2"
equal "redis-cli select 0" "$(cli -n 0 PING)" PONG
cli ACL SETUSER reader on '>secret' +get '~h*' >/dev/null
equal "redis-cli as a user" "$(cli --no-auth-warning --user reader --pass secret GET hello)" world
equal "redis-cli as a user who may not" \
    "$(cli --no-auth-warning --no-raw --user reader --pass secret GET list)" \
    "(error) NOPERM this user has no permissions to access one of the keys used as arguments"
matches "redis-cli with a wrong password" \
    "$(cli --no-auth-warning --user reader --pass wrong GET hello)" "^AUTH failed: WRONGPASS"
equal "redis-cli deletes the user" "$(cli ACL DELUSER reader)" 1
matches "redis-cli hello" "$(cli HELLO 3)" "^server redis"
matches "redis-cli info" "$(cli INFO server)" "^redis_version:7\.0\.15"
matches "redis-cli client list" "$(cli CLIENT LIST)" "^id=[0-9]+ addr=127\.0\.0\.1:"
matches "redis-cli command docs" "$(cli -3 COMMAND DOCS GET)" "summary"

# A keyspace with something of each type for the tools that walk it.
seq 1 2000 | awk '{print "SET key:" $1 " value:" $1}' | timeout 30 redis-cli -p "$PORT" >/dev/null
cli RPUSH biglist $(seq 1 500) >/dev/null
cli HSET bighash $(seq 1 400) >/dev/null
equal "redis-cli --scan" "$(cli --scan --pattern 'key:*' | sort | uniq | wc -l | tr -d ' ')" 2000
equal "redis-cli --scan finds all" "$(cli --scan | sort -u | wc -l)" "$(cli DBSIZE)"
bigkeys=$(cli --bigkeys)
matches "redis-cli --bigkeys list" "$bigkeys" 'Biggest +list found .*biglist.* has 500 items'
matches "redis-cli --bigkeys hash" "$bigkeys" 'Biggest +hash found .*bighash.* has 200 fields'
matches "redis-cli --bigkeys string" "$bigkeys" 'Biggest string found'

# It never ends by itself, and writes by the block unless told otherwise.
stat=$(timeout 3 stdbuf -oL redis-cli -p "$PORT" --stat -i 0.2 2>&1 </dev/null)
matches "redis-cli --stat" "$stat" "^$(cli DBSIZE) +[0-9.]+[KMG]? +[0-9]+"
matches "redis-cli --latency" "$(cli --latency -i 1 | tr '\r' '\n' | tail -1)" "^[0-9.]+ [0-9.]+ [0-9.]+ [0-9]+"
matches "redis-cli --intrinsic-latency needs no server" "$(cli --intrinsic-latency 1)" "total runs"

piped=$(seq 1 20000 | awk '{k = "p:" $1; printf "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n", length(k), k}' |
    timeout 60 redis-cli -p "$PORT" --pipe 2>&1)
matches "redis-cli --pipe" "$piped" "errors: 0, replies: 20000"
piped=$(printf '*1\r\n$4\r\nPING\r\n*1\r\n$5\r\nWRONG\r\n' | timeout 60 redis-cli -p "$PORT" --pipe 2>&1)
matches "redis-cli --pipe counts errors" "$piped" "errors: 1, replies: 2"
piped=$(printf 'SET inline:%d v\r\n' $(seq 1 1000) | timeout 60 redis-cli -p "$PORT" --pipe 2>&1)
matches "redis-cli --pipe of inline requests" "$piped" "errors: 0, replies: 1000"

equal "inline requests" "$(inline 'PING\r\nSET a "b c"\r\n\r\nGET a\nQUIT\r\n')" '+PONG
+OK
$3
b c
+OK'
equal "inline with unbalanced quotes" "$(inline 'SET a "b\r\n')" \
    "-ERR Protocol error: unbalanced quotes in request"
equal "a web page's request is not obeyed" "$(inline 'POST / HTTP/1.1\r\nHost: x\r\n\r\nSET evil 1\r\n')" ""
equal "a web page's request wrote nothing" "$(cli EXISTS evil)" 0
finish
