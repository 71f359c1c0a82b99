#!/usr/bin/env python3
"""redis-py against a running server: redis_py.py PORT

Every command family through the client's own methods, because they parse what the server says:
a reply of another type than Redis sends shows here as a wrong value or an exception. All tests
run in RESP3 (the client's default) and in RESP2, on an empty database each. The last test shuts
the server down.
"""
import sys
import threading
import time
import traceback
import warnings

import redis
from redis.exceptions import ConnectionError, DataError, InvalidResponse, ResponseError

# The commands under test include those that clients call deprecated.
warnings.simplefilter("ignore", DeprecationWarning)

HOST = "127.0.0.1"
BINARY = bytes(range(256)) + b"\r\n$5\r\n"
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def equal(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"
    assert type(got) is type(expected), f"got {type(got)}, expected {type(expected)}"


def refuses(text, action, kind=ResponseError):
    try:
        got = action()
    except kind as error:
        assert text in str(error), f"error {error!s}, expected {text}"
    else:
        raise AssertionError(f"no error but {got!r}, expected {text}")


@test
def connect_and_greet(r):
    equal(r.ping(), True)
    equal(r.echo("hello"), b"hello")
    equal(r.echo(BINARY), BINARY)
    hello = r.execute_command("HELLO")
    if isinstance(hello, list):
        hello = dict(zip(hello[::2], hello[1::2]))
    equal(hello[b"server"], b"redis")
    equal(hello[b"version"], b"7.0.15")
    equal(hello[b"proto"], PROTOCOL)
    equal(hello[b"mode"], b"standalone")
    equal(hello[b"role"], b"master")
    equal(hello[b"modules"], [])


@test
def strings(r):
    equal(r.set("s", "v"), True)
    equal(r.get("s"), b"v")
    equal(r.get("missing"), None)
    equal(r.set("s", "w", nx=True), None)
    equal(r.set("s", "w", xx=True), True)
    equal(r.set("s", "x", get=True), b"w")
    equal(r.set("bin", BINARY), True)
    equal(r.get("bin"), BINARY)
    equal(r.set(BINARY, ""), True)
    equal(r.get(BINARY), b"")
    equal(r.append("s", "yz"), 3)
    equal(r.strlen("s"), 3)
    equal(r.mset({"a": 1, "b": 2}), True)
    equal(r.mget("a", "missing", "b"), [b"1", None, b"2"])
    equal(r.incr("a"), 2)
    equal(r.incrby("a", 10), 12)
    equal(r.decr("a"), 11)
    equal(r.decrby("a", 100), -89)


@test
def keys(r):
    r.mset({"k1": 1, "k2": 2, "other": 3})
    equal(sorted(r.keys("k*")), [b"k1", b"k2"])
    equal(r.exists("k1", "k2", "k1", "missing"), 3)
    equal(r.type("k1"), b"string")
    equal(r.type("missing"), b"none")
    equal(r.rename("k1", "k3"), True)
    refuses("no such key", lambda: r.rename("missing", "x"))
    equal(r.delete("k2", "k3", "missing"), 2)
    equal(r.unlink("other"), 1)
    equal(r.dbsize(), 0)
    r.set("x", 1)
    equal(r.flushdb(), True)
    equal(r.dbsize(), 0)
    equal(r.flushall(asynchronous=True), True)


@test
def deadlines(r):
    r.set("k", 1)
    equal(r.ttl("k"), -1)
    equal(r.pttl("missing"), -2)
    equal(r.expire("k", 100), True)
    assert 98 <= r.ttl("k") <= 100
    assert 98_000 <= r.pttl("k") <= 100_000
    equal(r.expire("k", 50, gt=True), False)
    equal(r.expire("k", 50, lt=True), True)
    equal(r.expire("k", 50, nx=True), False)
    equal(r.pexpire("k", 90_000, xx=True), True)
    equal(r.expireat("k", 4_102_444_800), True)
    equal(r.expiretime("k"), 4_102_444_800)
    equal(r.pexpireat("k", 4_102_444_800_499), True)
    equal(r.pexpiretime("k"), 4_102_444_800_499)
    equal(r.persist("k"), True)
    equal(r.persist("k"), False)
    equal(r.expire("missing", 1), False)
    equal(r.expire("k", -1), True)
    equal(r.exists("k"), 0)
    r.set("t", "v", ex=100)
    r.set("t", "w", keepttl=True)
    assert r.ttl("t") > 0
    r.set("t", "w")
    equal(r.ttl("t"), -1)
    r.set("soon", "v", px=30)
    time.sleep(0.05)
    equal(r.get("soon"), None)


@test
def lists(r):
    equal(r.rpush("l", "a", "b", "c"), 3)
    equal(r.lpush("l", "z", BINARY), 5)
    equal(r.lrange("l", 0, -1), [BINARY, b"z", b"a", b"b", b"c"])
    equal(r.lrange("missing", 0, -1), [])
    equal(r.llen("l"), 5)
    equal(r.lindex("l", -1), b"c")
    equal(r.lindex("l", 99), None)
    equal(r.lset("l", 1, "Z"), True)
    refuses("index out of range", lambda: r.lset("l", 99, "x"))
    refuses("no such key", lambda: r.lset("missing", 0, "x"))
    equal(r.lrem("l", 0, "Z"), 1)
    equal(r.lpop("l"), BINARY)
    equal(r.rpop("l", 2), [b"c", b"b"])
    equal(r.lpop("l", 10), [b"a"])
    equal(r.lpop("l"), None)
    equal(r.lpop("l", 3), None)
    equal(r.exists("l"), 0)


@test
def hashes(r):
    equal(r.hset("h", "f", "v"), 1)
    equal(r.hset("h", mapping={"f": "w", "g": 1, BINARY: BINARY}), 2)
    equal(r.hget("h", "f"), b"w")
    equal(r.hget("h", "missing"), None)
    equal(r.hgetall("h"), {b"f": b"w", b"g": b"1", BINARY: BINARY})
    equal(r.hgetall("missing"), {})
    equal(sorted(r.hkeys("h")), sorted([b"f", b"g", BINARY]))
    equal(sorted(r.hvals("h")), sorted([b"w", b"1", BINARY]))
    equal(r.hlen("h"), 3)
    equal(r.hexists("h", "f"), True)
    equal(r.hexists("h", "missing"), False)
    equal(r.hmget("h", "f", "missing"), [b"w", None])
    equal(r.hincrby("h", "g", 41), 42)
    refuses("hash value is not an integer", lambda: r.hincrby("h", "f", 1))
    equal(r.hmset("h", {"x": "y"}), True)
    equal(r.hdel("h", "x", "f", "missing"), 2)
    equal(r.hdel("h", "g", BINARY), 2)
    equal(r.exists("h"), 0)


@test
def scans(r):
    names = {f"key:{n}".encode() for n in range(1500)}
    with r.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(name, 1)
        pipe.execute()
    equal(sorted(r.scan_iter(count=100)), sorted(names))
    equal(len(list(r.scan_iter(match="key:1?", count=1000))), 10)
    equal(list(r.scan_iter(_type="list")), [])
    cursor, part = r.scan(count=10)
    assert isinstance(cursor, int) and isinstance(part, list)
    fields = {f"field:{n}": "x" * 70 for n in range(1000)}
    r.hset("hash", mapping=fields)
    found = dict(r.hscan_iter("hash", count=50))
    equal(found, {name.encode(): value.encode() for name, value in fields.items()})
    equal(r.hscan("missing"), (0, {}))
    refuses("invalid cursor", lambda: r.execute_command("SCAN", "x"))


@test
def pipelines(r):
    pipe = r.pipeline(transaction=False)
    pipe.set("a", 1).incr("a").get("a").lpush("l", "x").hset("h", "f", "v").hgetall("h")
    equal(pipe.execute(), [True, 2, b"2", 1, 1, {b"f": b"v"}])
    for n in range(10_000):
        pipe.set(f"k{n}", n)
    equal(pipe.execute(), [True] * 10_000)
    pipe.get("a").lpush("a", "x").get("a")
    got = pipe.execute(raise_on_error=False)
    equal((got[0], got[2]), (b"2", b"2"))
    assert isinstance(got[1], ResponseError) and str(got[1]).startswith("WRONGTYPE"), got


@test
def errors(r):
    r.set("s", "text")
    wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
    refuses(wrong, lambda: r.lpush("s", 1))
    refuses(wrong, lambda: r.hget("s", "f"))
    refuses("value is not an integer or out of range", lambda: r.incr("s"))
    r.set("n", 2**63 - 1)
    refuses("increment or decrement would overflow", lambda: r.incr("n"))
    refuses("unknown command 'NOSUCH', with args beginning with: 'a' 'b'",
            lambda: r.execute_command("NOSUCH", "a", "b"))
    refuses("wrong number of arguments for 'get' command", lambda: r.execute_command("GET"))
    refuses("syntax error", lambda: r.execute_command("SET", "k", "v", "nonsense"))
    refuses("invalid expire time in 'set' command", lambda: r.execute_command("SET", "k", 1, "EX", 0))
    refuses("DB index is out of range", lambda: r.execute_command("SELECT", 9_999_999))
    refuses("", lambda: r.set("k", {}), DataError)
    equal(r.ping(), True)


@test
def decoded_responses(r):
    decoded = client(decode_responses=True)
    decoded.set("naïve", "ключ ✓")
    equal(decoded.get("naïve"), "ключ ✓")
    decoded.hset("h", "f", "v")
    equal(decoded.hgetall("h"), {"f": "v"})
    equal(sorted(decoded.scan_iter()), ["h", "naïve"])
    equal(decoded.type("h"), "hash")
    decoded.close()


@test
def large_values(r):
    value = b"0123456789abcdef" * (1 << 20)
    r.set("large", value)
    equal(r.strlen("large"), 16 << 20)
    equal(r.get("large"), value)
    r.rpush("many", *range(50_000))
    equal(r.lrange("many", 0, -1), [b"%d" % n for n in range(50_000)])


@test
def client_commands(r):
    named = client(client_name="worker-1")
    assert named.client_getname() in (b"worker-1", "worker-1")
    equal(named.client_setname("worker-2"), True)
    refuses("Client names cannot contain spaces", lambda: named.client_setname("a b"))
    number = named.client_id()
    assert isinstance(number, int)
    info = named.client_info()
    equal((int(info["id"]), info["name"]), (number, "worker-2"))
    rows = r.client_list()
    row = [row for row in rows if row["id"] == str(number)][0]
    for field in ("addr", "laddr", "fd", "name", "age", "idle", "flags", "db", "sub", "psub", "multi",
                  "qbuf", "qbuf-free", "argv-mem", "obl", "oll", "omem", "tot-mem", "events", "cmd",
                  "user", "resp"):
        assert field in row, f"CLIENT LIST has no {field}: {row}"
    equal(row["resp"], str(PROTOCOL))
    equal(len(r.client_list(client_id=[number])), 1)
    equal(r.client_no_evict("ON"), b"OK")
    equal(r.client_no_evict("OFF"), b"OK")
    equal(r.client_kill_filter(_id=str(number)), 1)
    refuses("No such client", lambda: r.client_kill("127.0.0.1:1"))
    equal(r.select(0), True)
    named.close()


@test
def configuration(r):
    got = r.config_get("maxmemory")
    equal(got, {"maxmemory": "0"})
    equal(r.config_get("maxmemory-policy"), {"maxmemory-policy": "noeviction"})
    equal(r.config_get("appendonly"), {"appendonly": "no"})
    assert "save" in r.config_get("save")
    assert {"maxmemory", "timeout", "databases"} <= set(r.config_get())
    equal(r.config_set("timeout", 0), True)
    refuses("Unknown option", lambda: r.config_set("nosuch-option", 1))


@test
def server_information(r):
    info = r.info()
    equal(info["redis_version"], "7.0.15")
    equal(info["redis_mode"], "standalone")
    equal(info["loading"], 0)
    equal(info["role"], "master")
    equal(info["tcp_port"], PORT)
    for field in ("process_id", "uptime_in_seconds", "connected_clients", "maxclients", "used_memory",
                  "used_memory_human", "used_memory_rss", "used_memory_peak", "maxmemory",
                  "maxmemory_policy", "rdb_changes_since_last_save", "rdb_bgsave_in_progress",
                  "rdb_last_save_time", "rdb_last_bgsave_status", "aof_enabled",
                  "total_connections_received", "total_commands_processed",
                  "instantaneous_ops_per_sec", "rejected_connections", "expired_keys", "evicted_keys",
                  "keyspace_hits", "keyspace_misses", "used_cpu_sys", "used_cpu_user",
                  "connected_slaves", "cluster_enabled"):
        assert field in info, f"INFO has no {field}"
    assert "redis_version" not in r.info("clients")
    assert "db0" not in r.info("keyspace")
    r.set("a", 1)
    r.set("b", 1, ex=1000)
    equal(r.info("keyspace")["db0"]["keys"], 2)
    equal(r.info("keyspace")["db0"]["expires"], 1)
    hits = r.info("stats")["keyspace_hits"]
    r.get("a")
    equal(r.info("stats")["keyspace_hits"], hits + 1)
    seconds, micros = r.time()
    assert abs(seconds - time.time()) < 5 and 0 <= micros < 1_000_000


@test
def command_table(r):
    count = r.command_count()
    commands = r.command()
    equal(len(commands), count)
    equal(commands["get"]["arity"], 2)
    equal(commands["get"]["first_key_pos"], 1)
    assert "readonly" in {str(flag) for flag in commands["get"]["flags"]}, commands["get"]
    listed = {name.decode() for name in r.command_list()}
    assert set(commands) <= listed, set(commands) - listed
    equal(r.command_getkeys("MSET", "a", 1, "b", 2), ["a", "b"])
    # The client's own parser takes every COMMAND reply for the table: read this one by hand.
    connection = r.connection_pool.get_connection()
    connection.send_command("COMMAND", "DOCS", "GET", "SET")
    docs = connection.read_response()
    r.connection_pool.release(connection)
    docs = docs if isinstance(docs, dict) else dict(zip(docs[::2], docs[1::2]))
    equal(sorted(docs), [b"get", b"set"])


@test
def without_cluster_and_modules(r):
    refuses("cluster support disabled", lambda: r.execute_command("CLUSTER", "INFO"))
    equal(r.module_list(), [])
    equal(r.function_list(), [])


@test
def observation(r):
    r.config_set("slowlog-log-slower-than", 0)
    r.slowlog_reset()
    r.set("k", "v")
    r.config_set("slowlog-log-slower-than", -1)
    commands = [entry["command"] for entry in r.slowlog_get()]
    assert b"SET k v" in commands, commands
    assert r.slowlog_len() >= 2
    equal(r.latency_latest(), [])
    assert r.info("commandstats")["cmdstat_set"]["calls"] >= 1
    assert r.info("latencystats")["latency_percentiles_usec_set"]["p50"] > 0


@test
def many_connections(r):
    def work(number):
        own = client()
        for _ in range(200):
            own.incr("counter")
            own.rpush("list", number)
        own.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(r.get("counter"), b"3200")
    equal(r.llen("list"), 3200)


@test
def saving(r):
    r.set("k", "v")
    before = r.lastsave()
    time.sleep(1.1)
    equal(r.save(), True)
    assert r.lastsave() > before, "SAVE did not move LASTSAVE"
    before = r.lastsave()
    time.sleep(1.1)
    assert r.bgsave() in (True, b"Background saving started"), "BGSAVE"
    end = time.time() + 10
    while r.lastsave() <= before:
        assert time.time() < end, "BGSAVE did not end"
        time.sleep(0.02)
    equal(r.info("persistence")["rdb_last_bgsave_status"], "ok")


def client(**options):
    options = {"protocol": PROTOCOL, **options} if PROTOCOL == 2 else options
    return redis.Redis(host=HOST, port=PORT, socket_timeout=30, **options)


def run(function, name):
    r = client()
    r.flushall()
    try:
        function(r)
    except Exception:
        print(f"not ok {name}\n{traceback.format_exc()}", flush=True)
        return False
    finally:
        r.close()
    print(f"ok {name}", flush=True)
    return True


def shutdown(r):
    r.shutdown(nosave=True)
    refuses("", lambda: redis.Redis(host=HOST, port=PORT, retry=None).ping(), ConnectionError)


PORT = int(sys.argv[1])
PROTOCOL = 3
good = True
for PROTOCOL in (3, 2):
    for function in TESTS:
        good &= run(function, f"redis-py RESP{PROTOCOL} {function.__name__}")
good &= run(shutdown, "redis-py shutdown")
sys.exit(0 if good else 1)
