#!/usr/bin/env python3
"""A data set that is hard to keep: dataset.py PORT fill | show

`fill` writes strings, lists and hashes of every size and encoding a dump knows, with and without
deadlines, the same at every call. `show` prints everything a server holds, deadlines included,
sorted, so that two servers with equal output hold equal data.
"""
import hashlib
import random
import sys

import redis

NUMBERS = [0, 1, -1, 63, 64, 127, 128, -128, -129, 255, 256, 16383, 16384, 32767, 32768, -32768, -32769,
           2**31 - 1, 2**31, -2**31, -2**31 - 1, 2**32, 2**63 - 1, -2**63]


def values():
    chance = random.Random(7)
    yield from (str(n).encode() for n in NUMBERS)
    yield from (b"", b"a", b"0x10", b"01", b" 1", b"-0", b"1.5", bytes(range(256)), b"\r\n")
    for length in (11, 12, 20, 44, 45, 63, 64, 65, 252, 253, 254, 4095, 4096, 16383, 16384, 70_000):
        yield bytes(chance.randrange(256) for _ in range(length))
        yield b"compressible " * (length // 13)


def fill(r):
    everything = list(values())
    pipe = r.pipeline(transaction=False)
    for number, value in enumerate(everything):
        pipe.set(f"string:{number}", value)
        pipe.set(b"key:" + value[:5000], value[:10])
        pipe.rpush("list:of-all", value)
        pipe.hset("hash:of-all", value[:5000], value)
    for size in (1, 2, 127, 128, 129, 511, 512, 513, 3_000):
        pipe.rpush(f"list:{size}", *(f"item:{n}" for n in range(size)))
        pipe.hset(f"hash:{size}", mapping={f"field:{n}": n for n in range(size)})
        pipe.rpush(f"list:large:{size}", *(b"%d" % n * 70 for n in range(size)))
    for number in range(5_000):
        pipe.set(f"plain:{number}", number)
    for number, deadline in enumerate((4_102_444_800_000, 4_102_444_800_499, 9_999_999_999_999)):
        for key in ("s", "l", "h"):
            name = f"deadline:{key}:{number}"
            pipe.set(name, "v") if key == "s" else None
            pipe.rpush(name, "a", "b") if key == "l" else None
            pipe.hset(name, "f", "v") if key == "h" else None
            pipe.pexpireat(name, deadline)
    pipe.execute()


def show(r):
    keys = sorted(r.keys("*"))
    pipe = r.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
        pipe.pexpiretime(key)
    facts = pipe.execute()
    types, deadlines = facts[::2], facts[1::2]
    for key, kind in zip(keys, types):
        {b"string": pipe.get, b"list": lambda k: pipe.lrange(k, 0, -1), b"hash": pipe.hgetall}[kind](key)
    for key, kind, deadline, value in zip(keys, types, deadlines, pipe.execute()):
        value = sorted(value.items()) if isinstance(value, dict) else value
        print(key, kind.decode(), deadline, hashlib.sha256(repr(value).encode()).hexdigest(), repr(value)[:60])


def main():
    r = redis.Redis(port=int(sys.argv[1]))
    {"fill": fill, "show": show}[sys.argv[2]](r)


if __name__ == "__main__":
    main()
