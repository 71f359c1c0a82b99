#!/usr/bin/env bash
# prometheus-redis-exporter: reads INFO, CONFIG, SLOWLOG, LATENCY and keys without an error.
#
# needs-apt: prometheus-redis-exporter curl
# keeps: no

. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"

PORT=$1
WEB=$(free_port)
FOLDER=$(mktemp -d)
cli() { redis-cli -p "$PORT" "$@" >/dev/null; }
cli CONFIG SET slowlog-log-slower-than 0
cli CONFIG SET latency-monitor-threshold 1
cli SET counter 41
cli INCR counter
cli RPUSH list a b c
cli -n 3 HSET hash f v g w
cli -n 3 SET deadline v EX 1000
cli NOSUCH

prometheus-redis-exporter -redis.addr "redis://127.0.0.1:$PORT" -web.listen-address "127.0.0.1:$WEB" \
    -check-keys 'db0=*' -check-single-keys 'db0=counter,db3=hash' -count-keys 'db0=*,db3=*' \
    -include-system-metrics -export-client-list -debug >"$FOLDER/log" 2>&1 &
EXPORTER=$!
trap 'kill "$EXPORTER" 2>/dev/null; rm -rf "$FOLDER"' EXIT

# value METRIC: the number that the exporter tells for it.
value() { awk -v name="redis_$1" 'substr($0, 1, length(name) + 1) == name " " {print $NF}' "$FOLDER/metrics"; }

for _ in $(seq 100); do
    curl -fsS "http://127.0.0.1:$WEB/metrics" >"$FOLDER/metrics" 2>/dev/null && break
    sleep 0.1
done
curl -fsS "http://127.0.0.1:$WEB/metrics" >"$FOLDER/metrics"
equal "exporter: the server is up" "$(value up)" 1
equal "exporter: no error" "$(value exporter_last_scrape_error'{err=""}')" 0
# It asks for the size of a string as if it were a HyperLogLog, and takes the error as an answer.
equal "exporter: no error in its log" "$(grep -E 'level=(error|warning|fatal)|msg="[^"]*[Ee]rr(or)?: ' "$FOLDER/log" |
    grep -v 'not a valid HyperLogLog' | cut -c 1-200)" ""
equal "exporter: keys of a database" "$(value 'db_keys{db="db3"}') $(value 'db_keys_expiring{db="db3"}')" "2 1"
equal "exporter: counted keys" "$(value 'keys_count{db="db0",key="*"}') $(value 'keys_count{db="db3",key="*"}')" "2 2"
equal "exporter: value and sizes of keys" "$(value 'key_value{db="db0",key="counter"}') \
$(value 'key_size{db="db0",key="list"}') $(value 'key_size{db="db3",key="hash"}')" "42 3 2"
matches "exporter: slow log" "$(value slowlog_length) $(value slowlog_last_id)" '^[1-9][0-9]* [1-9][0-9]*$'
matches "exporter: calls of a command" "$(value 'commands_total{cmd="incr"}')" '^[1-9][0-9]*$'
matches "exporter: settings" "$(value config_maxclients) $(value config_key_value'{key="slowlog-max-len"}' || true)" '^10000'
matches "exporter: memory, clients, uptime" \
    "$(value memory_used_bytes) $(value connected_clients) $(value start_time_seconds)" \
    '^[1-9][0-9.e+]* [1-9][0-9]* [1-9][0-9.e+]*$'
matches "exporter: instance" "$(grep '^redis_instance_info' "$FOLDER/metrics")" 'redis_version="7\.0\.15"'
matches "exporter: errors by kind" "$(grep '^redis_errors_total' "$FOLDER/metrics")" 'err="ERR"'
matches "exporter: clients" "$(grep '^redis_connected_clients_details' "$FOLDER/metrics")" 'name="redis_exporter"'
finish
