#!/usr/bin/env bash
# redis-benchmark against a running server: redis_benchmark.sh PORT
#
# All its default tests whose commands this server has. Each must print its line, and nothing may
# print an error: redis-benchmark itself goes on after an error reply in some of its modes.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PORT=$1
TESTS=ping,set,get,incr,lpush,rpush,lpop,rpop,hset,lrange_100,lrange_300,lrange_500,lrange_600,mset
LINES=("PING_INLINE" "PING_MBULK" "SET" "GET" "INCR" "LPUSH" "RPUSH" "LPOP" "RPOP" "HSET"
    "LPUSH \(needed to benchmark LRANGE\)" "LRANGE_100 \(first 100 elements\)"
    "LRANGE_300 \(first 300 elements\)" "LRANGE_500 \(first 500 elements\)"
    "LRANGE_600 \(first 600 elements\)" "MSET \(10 keys\)")

# bench NAME REQUESTS OPTION...
bench() {
    local name=$1 requests=$2 output line
    shift 2
    redis-cli -p "$PORT" FLUSHALL >/dev/null
    output=$(timeout 120 redis-benchmark -p "$PORT" -q -n "$requests" -r 1000 -t "$TESTS" "$@" \
        2>&1 </dev/null | tr '\r' '\n' | grep -v '^WARNING: Keepalive disabled')
    if grep -iqE 'error|warning|refused|reset by peer' <<<"$output"; then
        not_ok "redis-benchmark $name without errors" "$(grep -iE 'error|warning|refused|reset' <<<"$output")"
    else
        ok "redis-benchmark $name without errors"
    fi
    for line in "${LINES[@]}"; do
        grep -qE "^$line: ([0-9.]+|inf) requests per second" <<<"$output" && continue
        not_ok "redis-benchmark $name $line" "$output"
        return
    done
    ok "redis-benchmark $name prints all ${#LINES[@]} lines"
}

bench "one request at a time" 3000
bench "pipeline 16" 6000 -P 16
bench "pipeline 16 with two threads" 6000 -P 16 --threads 2
bench "RESP3" 2000 -3
bench "RESP3 with pipeline 16" 6000 -3 -P 16
bench "new connections" 500 -k 0
bench "500 clients" 2000 -c 500
bench "values of 10 kB" 100 -d 10000 -P 4
redis-cli -p "$PORT" FLUSHALL >/dev/null
output=$(timeout 60 redis-benchmark -p "$PORT" -n 5000 -r 1000 --csv HSET key:__rand_int__ f v 2>&1)
matches "redis-benchmark of a command of one's own" "$output" '^"HSET key:__rand_int__ f v","[0-9.]+"'
equal "all keys are reachable after it" "$(redis-cli -p "$PORT" --scan | sort -u | wc -l)" \
    "$(redis-cli -p "$PORT" DBSIZE)"
finish
