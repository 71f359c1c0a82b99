"""django-redis: a cache with scripts, patterns, compression and locks, and sessions in it.

needs-pip: django-redis==7.0.0 Django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1
needs-pip: typing_extensions==4.16.0 redis==8.1.0
keeps: yes
restarts: kill
"""
import threading
import time

import django
from django.conf import settings

from check import PORT, between, equal, kept, restart, run, work

settings.configure(
    CACHES={
        name: {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{PORT}/{db}",
            "OPTIONS": options,
            "KEY_PREFIX": name,
        }
        for name, db, options in [
            ("default", 1, {"CLIENT_CLASS": "django_redis.client.DefaultClient"}),
            ("packed", 2, {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor",
                           "SERIALIZER": "django_redis.serializers.json.JSONSerializer"}),
        ]
    },
    SECRET_KEY="a test",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import caches  # noqa: E402
from django_redis import get_redis_connection  # noqa: E402
from redis.exceptions import LockNotOwnedError  # noqa: E402

cache = caches["default"]
packed = caches["packed"]


@work
def values_and_deadlines():
    for store in cache, packed:
        store.set("object", {"list": [1, 2.5, None], "text": "grüße" * 100}, None)
        equal(store.get("object"), {"list": [1, 2.5, None], "text": "grüße" * 100})
        equal((store.add("object", 1), store.add("added", 1, 100), store.delete("added")), (False, True, True))
        store.set_many({f"many:{n}": n for n in range(100)}, 1000)
        equal(store.get_many([f"many:{n}" for n in range(3)]), {f"many:{n}": n for n in range(3)})
    equal(cache.set("object", 1, nx=True), False)
    between(cache.ttl("many:1"), 900, 1000)
    equal((cache.ttl("missing"), cache.ttl("object")), (0, None))
    equal((cache.persist("many:1"), cache.ttl("many:1")), (True, None))
    equal((cache.expire("many:2", 50), cache.pexpire("many:3", 90_000)), (True, True))
    between(cache.pttl("many:3"), 80_000, 90_000)
    cache.set("short", 1, 1)
    time.sleep(1.1)
    equal((cache.get("short"), cache.touch("short")), (None, False))


@work
def counters_by_script():
    cache.set("n", 41, 100)
    equal((cache.incr("n"), cache.incr("n", 10), cache.decr("n", 2)), (42, 52, 50))
    between(cache.ttl("n"), 90, 100)
    try:
        cache.incr("missing")
    except ValueError:
        pass
    else:
        raise AssertionError("a missing counter was counted")
    equal(cache.incr("fresh", ignore_key_check=True), 1)
    threads = [threading.Thread(target=lambda: [cache.incr("n") for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(cache.get("n"), 250)


@work
def patterns():
    equal(sorted(cache.keys("many:9*")), sorted(f"many:{n}" for n in [9, *range(90, 100)]))
    equal(len(list(cache.iter_keys("many:*", itersize=7))), 100)
    equal(cache.delete_pattern("many:1*"), 11)
    equal(len(cache.keys("many:*")), 89)
    equal(cache.delete_many(["many:2", "many:3", "missing"]), 2)


@work
def locks():
    with cache.lock("lock", timeout=10):
        equal(cache.lock("lock", blocking=False).acquire(), False)
    equal(cache.lock("lock", timeout=10).acquire(blocking=False), True)
    get_redis_connection("default").flushdb()
    lost = cache.lock("lock", timeout=0.05)
    lost.acquire()
    time.sleep(0.08)
    try:
        lost.release()
    except LockNotOwnedError:
        pass
    else:
        raise AssertionError("a lock was given back after its time")
    total = []

    def add():
        for _ in range(5):
            with cache.lock("counter", timeout=10, sleep=0.002):
                before = len(total)
                time.sleep(0.002)
                equal(len(total), before)
                total.append(1)
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(len(total), 20)


@work
def sets_hashes_sorted_sets():
    equal((cache.sadd("s", 1, "two", 3.5), cache.smembers("s"), cache.sismember("s", "two")),
          (3, {1, "two", 3.5}, True))
    cache.sadd("t", 1)
    equal((cache.sdiff("s", "t"), cache.smove("s", "t", "two"), cache.scard("t")), ({"two", 3.5}, True, 2))
    equal((cache.hset("h", "f", 1), cache.hexists("h", "f"), cache.hlen("h")), (1, True, 1))
    equal(cache.zadd("z", {"a": 1, "b": 2, "c": 3}), 3)
    equal((cache.zrange("z", 0, -1), cache.zpopmax("z"), cache.zincrby("z", 5, "a")),
          (["a", "b", "c"], ("c", 3.0), 6.0))


@work
def the_server_is_killed():
    cache.set("n", 1, None)
    cache.set("left", {"a": 1}, 3600)
    packed.set("left", [1, 2], None)
    lock = cache.lock("held", timeout=60)
    equal(lock.acquire(), True)
    restart()
    equal((cache.get("left"), cache.incr("n"), cache.lock("held", blocking=False).acquire()), ({"a": 1}, 2, False))
    # By a script that the server before had in memory.
    lock.release()
    with cache.lock("held", blocking=False, timeout=5):
        pass


@work
def sessions():
    session = SessionStore()
    session["user"] = 7
    session.save()
    cache.set("cookie", session.session_key)


@kept
def values_and_sessions_are_kept():
    equal((cache.get("left"), packed.get("left"), cache.incr("n")), ({"a": 1}, [1, 2], 3))
    between(cache.ttl("left"), 3500, 3600)
    equal(SessionStore(cache.get("cookie"))["user"], 7)
    cache.clear()
    equal((cache.get("left"), packed.get("left")), (None, [1, 2]))


run("django-redis")
