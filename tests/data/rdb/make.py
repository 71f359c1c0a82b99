#!/usr/bin/env python3
"""Makes one sample dump and its transcript with a real server.

    make.py SERVER_BINARY PORT STEM VARIANT

writes STEM.rdb and STEM.txt into the current folder. VARIANT is one of
  both      low thresholds: small collections compact, larger ones plain; strings packed by LZF
  plain     every collection plain, nothing packed, no checksum
  nodes     lists of many nodes and of single large elements (needs DEBUG of Redis 7)
  lru, lfu  as both, but every key carries its idle time or its frequency
  stream, function, database, fields
            a key "before" and then one thing that is not supported; no transcript

The transcript is read back from the server by ordinary commands, never by DUMP: one line per key,
    TYPE DEADLINE_MS|- KEY ELEMENT...
where a byte outside of a small set is %XX, an empty string is %-, and N times the same byte is
=NxXX. A deadline is the one that was set, for servers before 7.0 cannot tell it.
"""
import os, random, shutil, socket, subprocess, sys, tempfile, time

SERVER, PORT, STEM, VARIANT = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


class Error(Exception):
    pass


class Wire:
    def __init__(self):
        self.file = socket.create_connection(("127.0.0.1", PORT)).makefile("rwb")

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        out = b"*%d\r\n" % len(words)
        out += b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
        self.file.write(out)
        self.file.flush()
        return self.reply()

    def reply(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise Error(line)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            return self.file.read(int(rest) + 2)[:-2]
        return [self.reply() for _ in range(int(rest))]


def token(raw):
    if not raw:
        return "%-"
    if len(raw) > 16 and raw == raw[:1] * len(raw):
        return "=%dx%02X" % (len(raw), raw[0])
    safe = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:+-"
    return "".join(chr(b) if b in safe else "%%%02X" % b for b in raw)


NUMBERS = sorted(
    {0, 1, 12, 13, 63, 64, 2**63 - 1, -(2**63)}
    | {s * (2**p) + d for p in (7, 8, 12, 15, 16, 23, 24, 31, 32, 62) for s in (1, -1) for d in (-1, 0, 1)}
)
NOISE = bytes(random.Random(7).randrange(256) for _ in range(300))
deadlines = {}


def strings(run):
    texts = [b"", b"-0", b"+1", b"007", b" 1", b"1 ", b"-", b"9223372036854775808", b"1e3", NOISE]
    texts += [b"a" * 20, b"a" * 21, b"ab" * 40, b"x" * 63, b"x" * 64, NOISE[:21]]
    if VARIANT != "plain":
        texts.append(b"x" * 16384)
    for i, text in enumerate(texts + [str(n).encode() for n in NUMBERS]):
        run("SET", b"string:%d" % i, text)
    for key in [b"", b"123", b"-1", b"2147483648", bytes(range(256)), b"\r\n", b"k" * 400, b"\xff\xfe"]:
        run("SET", key, b"a key of its own kind")


def lists(run):
    run("RPUSH", "list:numbers", *NUMBERS)
    run("RPUSH", "list:one", "only")
    run("RPUSH", "list:texts", "", "a", b"y" * 63, b"y" * 64, NOISE)
    run("RPUSH", "list:many", *[b"element %d" % i for i in range(40)])


def hashes(run):
    run("HSET", "hash:small", "field", "value")
    run("HSET", "hash:small", "", "")
    run("HSET", "hash:small", NOISE[:12], "-129")
    for i, n in enumerate(NUMBERS):
        run("HSET", "hash:many", "f%d" % i, n)
    run("HSET", "hash:long", "f", b"z" * 300)
    for i in range(4):
        run("HSET", "hash:edges", "w" * (61 + i), b"v" * (252 + i))


def sets(run):
    for name, bits in ("16", 15), ("32", 31), ("64", 63):
        for n in (0, -1, 5, 2**bits - 1, -(2**bits)):
            run("SADD", "set:int" + name, n)
    for member in (b"", b"a", b"17", NOISE[:30]):
        run("SADD", "set:small", member)
    for i in range(40):
        run("SADD", "set:many", "member %d" % i)


def zsets(run):
    scores = ["0", "1.5", "-1.5", "3", "-7", "inf", "-inf", "1e300", "0.1", "1e17", "5e-324", "4095", "70000"]
    for i, score in enumerate(scores):
        run("ZADD", "zset:many", score, "member %d" % i)
        if i < 8:
            run("ZADD", "zset:small", score, "m%d" % i)


def timed(run):
    def at(key, deadline_ms):
        try:
            run("PEXPIREAT", key, deadline_ms)
        except Error:
            deadline_ms = min(deadline_ms, 2_000_000_000_000) // 1000 * 1000
            run("EXPIREAT", key, deadline_ms // 1000)
        deadlines[key.encode()] = deadline_ms

    run("SET", "timed:string", "soon")
    at("timed:string", 4_102_444_800_123)
    run("RPUSH", "timed:list", "a", "b")
    at("timed:list", 2_000_000_000_001)
    run("HSET", "timed:hash", "f", "v")
    at("timed:hash", 9_999_999_999_999)


def nodes(run):
    run("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "200b")
    run("RPUSH", "list:nodes", *["node element %d" % (i * i) for i in range(60)])
    run("RPUSH", "list:plain", "first", b"p" * 300, "between", NOISE, b"q" * 5000, "-5", "last")
    run("RPUSH", "list:only plain", NOISE)


def wide(run):
    """Elements of every length class inside one compact encoding."""
    run("HSET", "wide:hash", "short", "s")
    for i, length in enumerate((63, 64, 253, 254, 255, 4095, 4096, 16383, 16384)):
        run("HSET", "wide:hash", "f%d" % i, b"h" * length)
        run("RPUSH", "wide:list", b"l" * length, str(i))


def tune(run, setting, value):
    try:
        run("CONFIG", "SET", setting, value)
    except Error:
        pass


def tune_all(run, entries, value):
    for family in ("zipmap", "ziplist", "listpack"):
        for kind in ("hash", "zset", "list", "set"):
            tune(run, f"{kind}-max-{family}-entries", entries)
            tune(run, f"{kind}-max-{family}-value", value)


def streams(run):
    run("XADD", "a stream", "1-1", "field", "value")
    run("CONFIG", "SET", "stream-node-max-entries", 7)
    for number in range(1, 41):
        other = ["other field", "x" * number] if number % 3 == 0 else ["number", number * number]
        run("XADD", "changed", f"{number}-{number % 4}", "field", "value", *other)
    run("XDEL", "changed", "20-0", "21-1", "39-3")
    run("XTRIM", "changed", "MAXLEN", 33)
    run("XGROUP", "CREATE", "changed", "readers", 0)
    run("XGROUP", "CREATE", "changed", "counted", "10-2", "ENTRIESREAD", 10)
    for consumer, count in (("alice", 9), ("bob", 12), ("alice", 3)):
        run("XREADGROUP", "GROUP", "readers", consumer, "COUNT", count, "STREAMS", "changed", ">")
    run("XACK", "changed", "readers", "9-1", "11-3", "22-2")
    run("XCLAIM", "changed", "readers", "carol", 0, "12-0", "13-1", "TIME", 1700000000000)
    run("XDEL", "changed", "13-1")
    run("XGROUP", "CREATECONSUMER", "changed", "readers", "dave")
    run("XGROUP", "CREATE", "empty", "waiting", "$", "MKSTREAM")


def refused(run):
    run("SET", "before", "value")
    if VARIANT == "stream":
        streams(run)
    elif VARIANT == "function":
        run("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() end)")
    elif VARIANT == "database":
        run("SELECT", 3)
        run("SET", "elsewhere", "value")
    else:
        run("HSET", "a hash", "field", "value")
        run("HEXPIRE", "a hash", 1_000_000_000, "FIELDS", 1, "field")


def fill(run):
    if VARIANT in ("stream", "function", "database", "fields"):
        return refused(run)
    if VARIANT == "nodes":
        tune(run, "list-max-listpack-size", 8)
        return nodes(run)
    if VARIANT == "plain":
        tune_all(run, 0, 0)
        tune(run, "set-max-intset-entries", 0)
        tune(run, "rdbcompression", "no")
    else:
        tune_all(run, 10, 60)
        tune(run, "list-max-ziplist-size", 16)
        tune(run, "list-max-listpack-size", 16)
    if VARIANT == "lru":
        tune(run, "maxmemory-policy", "allkeys-lru")
    if VARIANT == "lfu":
        tune(run, "maxmemory-policy", "allkeys-lfu")
    for part in (strings, lists, hashes, sets, zsets, timed):
        part(run)
    if VARIANT != "plain":
        tune_all(run, 64, 20000)
        tune(run, "list-max-ziplist-size", -5)
        tune(run, "list-max-listpack-size", -5)
        wide(run)


def line(run, key):
    kind = run("TYPE", key).decode()
    if kind == "string":
        words = [run("GET", key)]
    elif kind == "list":
        words = run("LRANGE", key, 0, -1)
    elif kind == "hash":
        words = run("HGETALL", key)
    elif kind == "set":
        words = sorted(run("SMEMBERS", key))
    else:
        words = run("ZRANGE", key, 0, -1, "WITHSCORES")
    if kind == "hash":
        pairs = sorted(zip(words[::2], words[1::2]))
        words = [word for pair in pairs for word in pair]
    deadline = deadlines.get(key, "-")
    return " ".join([kind, str(deadline), token(key)] + [token(w) for w in words])


def main():
    folder = tempfile.mkdtemp()
    config = os.path.join(folder, "conf")
    with open(config, "w") as file:
        file.write(f"port {PORT}\nbind 127.0.0.1\ndir {folder}\ndbfilename d.rdb\n")
        if VARIANT == "nodes":
            file.write("enable-debug-command yes\n")
        if VARIANT == "plain":
            file.write("rdbchecksum no\n")
    server = subprocess.Popen([SERVER, config], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                run = Wire()
                break
            except OSError:
                time.sleep(0.05)
        fill(run)
        lines = []
        if not STEM.startswith("refused"):
            lines = sorted(line(run, key) for key in run("KEYS", "*"))
        run("SAVE")
        shutil.copy(os.path.join(folder, "d.rdb"), STEM + ".rdb")
        if not STEM.startswith("refused"):
            with open(STEM + ".txt", "w") as file:
                file.write("\n".join(lines) + "\n")
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


main()
