#!/usr/bin/env bash
# What was written is there after a restart: restart.sh
#
# Starts and ends servers itself (SERVER, by default the release build): a clean stop by each
# signal and by SHUTDOWN, kill -9 in the middle of saves, dumps carried from this server to
# redis-server and back, and dumps that are damaged.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FOLDER=$(mktemp -d)
LAST_SAVED=$FOLDER/last-saved
SAVER=
trap '[ -z "$SAVER" ] || kill -9 "$SAVER" 2>/dev/null; stop KILL; rm -rf "$FOLDER"' EXIT
PORT=$(free_port)

cli() { timeout 30 redis-cli -p "$PORT" "$@" 2>&1 </dev/null; }
dataset() { timeout 60 "$PYTHON" "$HERE/dataset.py" "$PORT" "$1" 2>&1; }

# same NAME EXPECTED: the server on $PORT holds exactly this.
same() {
    local now
    now=$(dataset show)
    if [ "$now" = "$2" ]; then ok "$1"; else not_ok "$1" "$(diff <(echo "$2") <(echo "$now") | head -20)"; fi
}

# Every way of a clean stop.
mkdir "$FOLDER/clean"
start "$SERVER" "$FOLDER/clean"
dataset fill
content=$(dataset show)
matches "the data set is there" "$(cli DBSIZE)" "^5[0-9]{3}$"
for signal in INT TERM; do
    stop "$signal"
    equal "exit code 0 at SIG$signal" "$EXIT_CODE" 0
    start "$SERVER" "$FOLDER/clean"
    same "all there after SIG$signal" "$content"
done
cli SET after-save 1 >/dev/null
cli SHUTDOWN NOSAVE >/dev/null
wait "$SERVER_PID"
equal "exit code 0 at SHUTDOWN NOSAVE" "$?" 0
start "$SERVER" "$FOLDER/clean"
same "SHUTDOWN NOSAVE saved nothing" "$content"
cli SHUTDOWN SAVE >/dev/null
wait "$SERVER_PID"
start "$SERVER" "$FOLDER/clean"
same "all there after SHUTDOWN SAVE" "$content"
cli SET after-save 1 >/dev/null
equal "BGSAVE" "$(cli BGSAVE)" "Background saving started"
for _ in $(seq 200); do
    [[ $(cli INFO persistence) == *rdb_bgsave_in_progress:0* ]] && break
    sleep 0.05
done
stop KILL
start "$SERVER" "$FOLDER/clean"
equal "all there after BGSAVE and kill -9" "$(cli GET after-save)" 1
cli DEL after-save >/dev/null
equal "SAVE" "$(cli SAVE)" OK
stop TERM

# To redis-server and back.
matches "redis-check-rdb accepts the dump" "$(redis-check-rdb "$FOLDER/clean/dump.my_rdb")" "Checksum OK"
mkdir "$FOLDER/redis" "$FOLDER/back"
cp "$FOLDER/clean/dump.my_rdb" "$FOLDER/redis/"
start redis-server "$FOLDER/redis"
same "redis-server loads the dump" "$content"
stop TERM
cp "$FOLDER/redis/dump.my_rdb" "$FOLDER/back/"
start "$SERVER" "$FOLDER/back"
same "a dump of redis-server is loaded" "$content"
stop TERM
start "$SERVER" "$FOLDER/back"
same "and kept" "$content"
stop KILL
for options in "--rdbcompression no" "--rdbchecksum no" "--hash-max-listpack-entries 0 --list-max-listpack-size 1"; do
    rm -f "$FOLDER/redis/dump.my_rdb" "$FOLDER/back/dump.my_rdb"
    start redis-server "$FOLDER/redis" $options
    dataset fill
    stop TERM
    cp "$FOLDER/redis/dump.my_rdb" "$FOLDER/back/"
    start "$SERVER" "$FOLDER/back"
    same "a dump of redis-server $options is loaded" "$content"
    stop KILL
done

# kill -9 in a save loop: the dump is always one that was acknowledged, or the one after it.
mkdir "$FOLDER/killed"
start "$SERVER" "$FOLDER/killed"
dataset fill
cli SET generation 0 >/dev/null
cli SAVE >/dev/null
echo 0 >"$LAST_SAVED"
save_loop() {
    local generation=$1
    while [ "$(cli SET generation "$generation")" = OK ] && [ "$(cli SAVE)" = OK ]; do
        echo "$generation" >"$LAST_SAVED.new" && mv "$LAST_SAVED.new" "$LAST_SAVED"
        generation=$((generation + 1))
    done
}
good=0
rounds=20
for round in $(seq $rounds); do
    saved=$(cat "$LAST_SAVED")
    save_loop $((saved + 1)) 2>/dev/null &
    SAVER=$!
    sleep "0.$((RANDOM % 30 + 10))"
    stop KILL
    wait "$SAVER" 2>/dev/null
    SAVER=
    saved=$(cat "$LAST_SAVED")
    start "$SERVER" "$FOLDER/killed"
    generation=$(cli GET generation)
    if [ "$generation" = "$saved" ] || [ "$generation" = $((saved + 1)) ]; then
        good=$((good + 1))
    else
        not_ok "kill -9 round $round" "generation $generation, last acknowledged $saved"
    fi
done
equal "kill -9 while saving leaves a whole dump" "$good of $rounds" "$rounds of $rounds"
cli DEL generation >/dev/null
same "and all of the data" "$content"
if ! is_redis "$SERVER"; then
    # redis-server never removes what a kill left behind.
    left=$(find "$FOLDER/killed" -type f ! -name dump.my_rdb ! -name server.log -printf '%f\n' | grep -ciE 'te?mp')
    equal "no temporary files pile up" "$left" 0
fi
stop TERM

# Damaged dumps and other faults at start: one clear end, and the file is left alone.
mkdir "$FOLDER/broken"
dump=$FOLDER/broken/dump.my_rdb
size=$(stat -c %s "$FOLDER/clean/dump.my_rdb")
refused() {
    local before after
    before=$(sha256sum "$dump" 2>/dev/null)
    launch "$SERVER" "$FOLDER/broken"
    if wait_ready; then not_ok "$1" "the server started"; stop KILL; return; fi
    wait "$SERVER_PID"
    local code=$?
    SERVER_PID=
    after=$(sha256sum "$dump" 2>/dev/null)
    equal "$1: exit code, file" "$code $after" "1 $before"
}
for length in 0 5 100 $((size / 2)) $((size - 8)) $((size - 1)); do
    head -c "$length" "$FOLDER/clean/dump.my_rdb" >"$dump"
    refused "a dump cut after $length bytes is refused"
done
cp "$FOLDER/clean/dump.my_rdb" "$dump"
printf '\x5a' | dd of="$dump" bs=1 seek=$((size / 2)) conv=notrunc status=none
refused "a dump with a wrong byte is refused"
echo "not a dump at all, only text" >"$dump"
refused "a text file in the place of the dump is refused"
if ! is_redis "$SERVER"; then
    matches "the reason names the file" "$(tail -5 "$FOLDER/broken/server.log")" "dump\.my_rdb"
fi
rm -f "$dump"

start "$SERVER" "$FOLDER/clean"
busy=$(timeout 10 "$SERVER" --port "$PORT" --bind 127.0.0.1 --dir "$FOLDER/broken" 2>&1 </dev/null)
equal "a busy port: exit code" "$?" 1
matches "a busy port: the line says so" "$busy" "([Aa]ddress|port).*(in use|busy)"
stop TERM
finish
