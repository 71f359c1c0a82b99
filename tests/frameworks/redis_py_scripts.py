"""redis-py: scripts, functions, locks, transactions, and streams with consumer groups, in both protocols.

needs-pip: redis==8.1.0
keeps: yes
restarts: kill
"""
import functools
import threading
import time

from redis import Redis, ResponseError
from redis.backoff import ConstantBackoff
from redis.exceptions import LockError, LockNotOwnedError, NoScriptError, WatchError
from redis.retry import Retry

from check import PORT, between, equal, kept, restart, run, until, work

COMPARE_AND_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"
LIBRARY = """#!lua name=bank
redis.register_function('move', function(keys, args)
  local amount = tonumber(args[1])
  if tonumber(redis.call('GET', keys[1]) or 0) < amount then
    return redis.error_reply('POOR not enough')
  end
  redis.call('DECRBY', keys[1], amount)
  return redis.call('INCRBY', keys[2], amount)
end)
redis.register_function{
  function_name = 'balance',
  callback = function(keys) return tonumber(redis.call('GET', keys[1]) or 0) end,
  flags = {'no-writes'},
}
"""


def both(function):
    """Runs a test in RESP3 and in RESP2, in a database each."""
    @functools.wraps(function)
    def body():
        for protocol in 3, 2:
            client = Redis(port=PORT, db=protocol, protocol=protocol, decode_responses=True,
                           retry=Retry(ConstantBackoff(0.05), 100))
            try:
                function(client)
            finally:
                client.close()
    return body


def fails(function, *arguments, error=ResponseError, text=""):
    try:
        function(*arguments)
    except error as seen:
        assert text in str(seen), f"{seen}, expected {text}"
    else:
        raise AssertionError(f"no {error.__name__}")


@work
@both
def scripts_are_loaded_when_missing(client):
    client.script_flush()
    script = client.register_script(COMPARE_AND_DELETE)
    equal(client.script_exists(script.sha), [False])
    fails(client.evalsha, script.sha, 1, "a", "b", error=NoScriptError)
    client.set("a", "mine")
    equal((script(["a"], ["yours"]), script(["a"], ["mine"]), client.exists("a")), (0, 1, 0))
    equal(client.script_exists(script.sha, "0" * 40), [True, False])
    client.script_flush()
    client.mset({"a": 1, "b": 2, "c": 3})
    with client.pipeline() as pipe:
        for key, value in (("a", 1), ("b", 0), ("c", 3)):
            script([key], [value], client=pipe)
        pipe.dbsize()
        equal(pipe.execute(), [1, 0, 1, 1])


@work
@both
def values_go_both_ways(client):
    equal(client.eval("return {1, 'two', false, {3, {'four'}}, 5.9}", 0), [1, "two", None, [3, ["four"]], 5])
    equal(client.eval("return {KEYS[2], ARGV[1], #ARGV}", 2, "k1", "k2", "a", "b"), ["k2", "a", 2])
    equal(client.eval("return redis.status_reply('FINE')", 0), "FINE")
    fails(client.eval, "return redis.error_reply('BAD thing')", 0, text="BAD thing")
    fails(client.eval, "return redis.call('INCR', KEYS[1], 2)", 1, "x", text="Wrong number of args")
    fails(client.eval, "this is no script", 0, text="Error compiling script")
    fails(client.eval_ro, "return redis.call('SET', KEYS[1], 1)", 1, "x", text="Write commands are not allowed")
    equal(client.eval("return cjson.encode({a = {1, 2, cjson.null}})", 0), '{"a":[1,2,null]}')
    equal(client.eval("return cjson.decode(ARGV[1]).list[2].name", 0, '{"list":[1,{"name":"grüße"}]}'), "grüße")
    equal(client.eval("return cmsgpack.unpack(cmsgpack.pack({1, 'a'}))", 0), [1, "a"])
    equal(client.eval("return bit.band(struct.unpack('>I2', struct.pack('>I2', 4097)), 255)", 0), 1)
    equal(client.eval("return redis.sha1hex('')", 0), "da39a3ee5e6b4b0d3255bfef95601890afd80709")
    client.set("x", "one")
    equal(client.eval("return (redis.pcall('INCR', KEYS[1]).err)", 1, "x"),
          "ERR value is not an integer or out of range")


@work
@both
def functions(client):
    equal(client.function_load(LIBRARY), "bank")
    fails(client.function_load, LIBRARY, text="already exists")
    equal(client.function_load(LIBRARY, replace=True), "bank")
    client.set("ada", 100)
    equal((client.fcall("move", 2, "ada", "bob", 30), client.fcall("balance", 1, "ada")), (30, 70))
    equal(client.fcall_ro("balance", 1, "bob"), 30)
    fails(client.fcall, "move", 2, "ada", "bob", 1000, text="POOR")
    fails(client.fcall_ro, "move", 2, "ada", "bob", 1, text="Can not execute a script with write flag")
    fails(client.fcall, "missing", 0, text="Function not found")
    saved = Redis(port=PORT).function_dump()
    equal(client.function_flush(), True)
    equal(client.function_list(), [])
    equal(Redis(port=PORT).function_restore(saved), True)
    equal(client.fcall("balance", 1, "bob"), 30)
    equal(client.function_delete("bank"), True)


@work
@both
def locks(client):
    lock = client.lock("lock", timeout=10)
    equal((lock.acquire(), lock.locked(), lock.owned()), (True, True, True))
    equal(client.lock("lock", blocking=False).acquire(), False)
    equal(client.lock("lock", blocking_timeout=0.1).acquire(), False)
    equal((lock.extend(20), lock.reacquire()), (True, True))
    between(client.pttl("lock"), 9000, 10_000)
    client.set("lock", "taken away")
    fails(lock.release, error=LockNotOwnedError)
    client.delete("lock")
    total = [0]

    def add():
        for _ in range(10):
            with client.lock("counter", timeout=10, sleep=0.002):
                before = total[0]
                time.sleep(0.001)
                total[0] = before + 1
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal((total[0], client.exists("counter")), (40, 0))
    fails(client.lock("free").release, error=LockError)


@work
@both
def transactions(client):
    client.set("a", 1)
    with client.pipeline() as pipe:
        pipe.watch("a")
        client.incr("a")
        pipe.multi()
        pipe.set("a", 10)
        fails(pipe.execute, error=WatchError)
    equal(client.transaction(lambda pipe: (pipe.multi(), pipe.set("a", 10)), "a"), [True])
    with client.pipeline() as pipe:
        pipe.eval("return redis.call('INCRBY', KEYS[1], 5)", 1, "a").lpush("a", 1).get("a")
        got = pipe.execute(raise_on_error=False)
    equal((got[0], type(got[1]), got[2]), (15, ResponseError, "15"))


@work
@both
def streams(client):
    ids = [client.xadd("log", {"n": n}, id=f"{n + 1}-1") for n in range(10)]
    equal((client.xlen("log"), ids[0], ids[-1]), (10, "1-1", "10-1"))
    equal(client.xrange("log", "3-1", count=2), [("3-1", {"n": "2"}), ("4-1", {"n": "3"})])
    equal(client.xrevrange("log", count=1), [("10-1", {"n": "9"})])
    equal(client.xadd("log", {"n": 10}, maxlen=5, approximate=False, id="11-*"), "11-0")
    equal((client.xlen("log"), client.xdel("log", "11-0"), client.xtrim("log", minid="9-1", approximate=False)),
          (5, 1, 2))
    equal(client.xadd("none", {"a": 1}, nomkstream=True), None)
    fails(client.xadd, "log", {"n": 1}, "5-1", text="equal or smaller than the target stream top item")
    equal(entries(client.xread({"log": "9-1"})), [("10-1", {"n": "9"})])

    def later():
        time.sleep(0.1)
        Redis(port=PORT, db=client.connection_pool.connection_kwargs["db"]).xadd("log", {"n": 11}, id="12-1")
    thread = threading.Thread(target=later)
    thread.start()
    equal(entries(client.xread({"log": "$"}, block=5000)), [("12-1", {"n": "11"})])
    thread.join()
    info = client.xinfo_stream("log")
    equal((info["length"], info["last-generated-id"], info["entries-added"]), (3, "12-1", 12))


def entries(reply):
    """Of the one stream that was read; RESP3 has a map where RESP2 has a list of pairs."""
    values = list(reply.values()) if isinstance(reply, dict) else [value for _, value in reply]
    equal(len(values), 1)
    return [tuple(entry) for entry in (values[0][0] if isinstance(values[0][0], list) else values[0])]


@work
@both
def consumer_groups(client):
    for n in range(20):
        client.xadd("jobs", {"n": n}, id=f"{n + 1}-0")
    equal(client.xgroup_create("jobs", "workers", "0"), True)
    fails(client.xgroup_create, "jobs", "workers", "0", text="BUSYGROUP")
    one = entries(client.xreadgroup("workers", "one", {"jobs": ">"}, count=5))
    two = entries(client.xreadgroup("workers", "two", {"jobs": ">"}, count=5))
    equal([id for id, _ in one + two], [f"{n + 1}-0" for n in range(10)])
    equal(client.xack("jobs", "workers", "1-0", "2-0", "77-0"), 2)
    summary = client.xpending("jobs", "workers")
    equal((summary["pending"], summary["min"], summary["max"]), (8, "3-0", "10-0"))
    equal({c["name"]: int(c["pending"]) for c in summary["consumers"]}, {"one": 3, "two": 5})
    time.sleep(0.02)
    pending = client.xpending_range("jobs", "workers", "-", "+", 10, consumername="two", idle=10)
    equal([(p["message_id"], p["times_delivered"]) for p in pending], [(f"{n}-0", 1) for n in range(6, 11)])
    claimed = client.xclaim("jobs", "workers", "one", 0, ["6-0", "7-0"])
    equal([id for id, _ in claimed], ["6-0", "7-0"])
    client.xdel("jobs", "8-0")
    start, taken, deleted = client.xautoclaim("jobs", "workers", "three", 0, "8-0", count=10)
    equal((start, [id for id, _ in taken], deleted), ("0-0", ["9-0", "10-0"], ["8-0"]))
    equal([id for id, _ in entries(client.xreadgroup("workers", "three", {"jobs": "0"}))], ["9-0", "10-0"])
    group, = client.xinfo_groups("jobs")
    equal((group["consumers"], group["pending"], group["last-delivered-id"], group["lag"]), (3, 7, "10-0", 10))
    equal(client.xgroup_setid("jobs", "workers", "18-0"), True)
    equal([id for id, _ in entries(client.xreadgroup("workers", "one", {"jobs": ">"}, noack=True))], ["19-0", "20-0"])
    equal(client.xgroup_createconsumer("jobs", "workers", "four"), 1)
    equal(client.xgroup_delconsumer("jobs", "workers", "two"), 0)
    equal(sorted(c["name"] for c in client.xinfo_consumers("jobs", "workers")), ["four", "one", "three"])


@work
@both
def the_server_is_killed(client):
    client.xadd("kept", {"n": 1}, id="1-0")
    client.xgroup_create("kept", "group", "0", mkstream=True)
    client.xreadgroup("group", "one", {"kept": ">"})
    client.function_load(LIBRARY, replace=True)
    script = client.register_script(COMPARE_AND_DELETE)
    script(["none"], [""])
    held = client.lock("held", timeout=60)
    equal(held.acquire(), True)
    waiting = []
    reader = Redis(port=PORT, db=client.connection_pool.connection_kwargs["db"], decode_responses=True,
                   retry=Retry(ConstantBackoff(0.05), 200))
    thread = threading.Thread(target=lambda: waiting.extend(entries(reader.xread({"kept": "1-0"}, block=30_000))))
    thread.start()
    restart()
    client.xadd("kept", {"n": 2}, id="2-0")
    thread.join(20)
    equal(waiting, [("2-0", {"n": "2"})])
    equal((held.owned(), held.extend(20)), (True, True))
    held.release()
    equal(script(["none"], [""]), 0)
    equal(client.fcall("balance", 1, "nobody"), 0)
    equal(client.xpending("kept", "group")["pending"], 1)


@kept
@both
def streams_groups_and_functions_are_kept(client):
    until(client.ping)
    equal([id for id, _ in client.xrange("kept")], ["1-0", "2-0"])
    equal([id for id, _ in entries(client.xreadgroup("group", "one", {"kept": "0"}))], ["1-0"])
    equal([id for id, _ in entries(client.xreadgroup("group", "one", {"kept": ">"}))], ["2-0"])
    info = client.xinfo_stream("jobs", full=True)
    equal((info["length"], info["last-generated-id"], info["max-deleted-entry-id"]), (19, "20-0", "8-0"))
    equal(len(client.xpending_range("jobs", "workers", "-", "+", 10)), 7)
    library, = client.function_list()
    assert "bank" in str(library), library
    equal(client.fcall_ro("balance", 1, "nobody"), 0)


run("redis-py")
