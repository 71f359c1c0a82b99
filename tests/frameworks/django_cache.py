"""Django's own RedisCache, and its sessions in that cache.

needs-pip: Django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1 redis==8.1.0
keeps: yes
"""
import datetime
import time

import django
from django.conf import settings

from check import PORT, between, equal, kept, run, work

settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{PORT}",
        },
        "second": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{PORT}/1",
            "KEY_PREFIX": "app",
        },
    },
    SECRET_KEY="a test",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import caches  # noqa: E402

cache = caches["default"]
second = caches["second"]
OBJECT = {"list": [1, 2.5, None], "when": datetime.datetime(2026, 1, 2), "text": "grüße", "bytes": b"\0\xff"}


@work
def get_and_set():
    equal(cache.get("missing"), None)
    equal(cache.get("missing", "default"), "default")
    cache.set("object", OBJECT, None)
    equal(cache.get("object"), OBJECT)
    cache.set("number", 41)
    equal(cache.get("number"), 41)
    equal(cache.add("number", 1), False)
    equal(cache.add("added", 1), True)
    equal(cache.has_key("added"), True)
    equal(cache.delete("added"), True)
    equal(cache.delete("added"), False)
    equal(cache.get_or_set("computed", lambda: "once"), "once")
    equal(cache.get_or_set("computed", lambda: "twice"), "once")


@work
def counters():
    equal(cache.incr("number"), 42)
    equal(cache.incr("number", 10), 52)
    equal(cache.decr("number", 2), 50)
    try:
        cache.incr("missing")
    except ValueError:
        pass
    else:
        raise AssertionError("incr of what is not there")


@work
def many_at_once():
    values = {f"many:{n}": n for n in range(500)}
    equal(cache.set_many(values, 3600), [])
    equal(cache.get_many([*values, "missing"]), values)
    cache.delete_many([f"many:{n}" for n in range(250)])
    equal(len(cache.get_many(values)), 250)


@work
def deadlines():
    cache.set("short", "v", 1)
    cache.set("touched", "v", 1)
    equal(cache.touch("touched", 3600), True)
    equal(cache.touch("missing"), False)
    cache.set("negative", "v", 0)
    equal(cache.get("negative"), None)
    end = time.time() + 5
    while cache.get("short") is not None:
        assert time.time() < end, "a second takes longer than five"
        time.sleep(0.05)
    equal(cache.get("touched"), "v")
    cache.set("touched", "v", 1)
    equal(cache.touch("touched", None), True)
    client = cache._cache.get_client()
    equal(client.ttl(cache.make_key("touched")), -1)
    cache.set("hour", "v", 3600)


@work
def versions_and_databases():
    cache.set("versioned", 1, version=1)
    cache.set("versioned", 2, version=2)
    equal(cache.get("versioned", version=2), 2)
    equal(cache.incr_version("versioned"), 2)
    second.set("number", "of the other database", None)
    equal(cache.get("number"), 50)
    second.set("gone", 1)
    caches["default"].set("stays", 1, None)


@work
def sessions():
    session = SessionStore()
    session["user"] = 7
    session.set_expiry(3600)
    session.create()
    session.save()
    equal(SessionStore(session.session_key)["user"], 7)
    cache.set("cookie", session.session_key)
    gone = SessionStore()
    gone.create()
    equal(gone.exists(gone.session_key), True)
    gone.delete()
    equal(gone.exists(gone.session_key), False)


@kept
def values_are_kept():
    equal(cache.get("object"), OBJECT)
    equal(cache.get("number"), 50)
    equal(cache.incr("number"), 51)
    equal(second.get("number"), "of the other database")
    equal(len(cache.get_many([f"many:{n}" for n in range(500)])), 250)


@kept
def deadlines_are_kept():
    client = cache._cache.get_client()
    between(client.ttl(cache.make_key("hour")), 3500, 3600)
    equal(client.ttl(cache.make_key("stays")), -1)


@kept
def sessions_are_kept():
    key = cache.get("cookie")
    session = SessionStore(key)
    equal(session["user"], 7)
    session.flush()
    equal(SessionStore(key).get("user"), None)


@kept
def clear_is_for_one_database():
    equal(second.clear(), True)
    equal(second.get("number"), None)
    equal(cache.get("stays"), 1)


run("Django RedisCache")
