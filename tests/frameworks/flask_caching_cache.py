"""Flask-Caching: views, memoized functions and values.

needs-pip: Flask-Caching==2.5.1 cachelib==0.17.0 Flask==3.1.3 Werkzeug==3.1.9 Jinja2==3.1.6
needs-pip: MarkupSafe==3.0.4 itsdangerous==2.2.0 click==8.5.1 blinker==1.9.0 redis==8.1.0
keeps: yes
"""
import time

from flask import Flask
from flask_caching import Cache

from check import PORT, equal, kept, run, work

app = Flask(__name__)
cache = Cache(
    app,
    config={
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_URL": f"redis://127.0.0.1:{PORT}/2",
        "CACHE_KEY_PREFIX": "shop:",
        "CACHE_DEFAULT_TIMEOUT": 600,
    },
)
calls = {"view": 0, "function": 0}


@app.route("/page")
@cache.cached(timeout=600, query_string=True)
def page():
    calls["view"] += 1
    return f"call {calls['view']}"


@cache.memoize(600)
def square(number):
    calls["function"] += 1
    return number * number


def view(path):
    return app.test_client().get(path).text


@work
def views():
    equal([view("/page?a=1"), view("/page?a=1"), view("/page?a=2")], ["call 1", "call 1", "call 2"])


@work
def memoized_functions():
    with app.app_context():
        equal([square(3), square(3), square(4)], [9, 9, 16])
        equal(calls["function"], 2)
        cache.delete_memoized(square, 3)
        equal([square(3), square(4), calls["function"]], [9, 16, 3])


@work
def values():
    with app.app_context():
        equal(cache.get("missing"), None)
        equal(cache.set("text", "v"), True)
        equal(cache.add("text", "w"), False)
        equal(cache.add("other", ["w", 1]), True)
        equal(cache.get_many("text", "missing", "other"), ["v", None, ["w", 1]])
        equal(cache.get_dict("text", "other"), {"text": "v", "other": ["w", 1]})
        equal(cache.has("text"), True)
        assert cache.set_many({f"many:{n}": n for n in range(100)}), "set_many"
        equal(cache.get("many:99"), 99)
        equal(cache.delete_many("many:1", "many:2"), ["many:1", "many:2"])
        equal(cache.has("many:1"), False)
        equal(cache.set("short", "v", timeout=1), True)
        end = time.time() + 5
        while cache.has("short"):
            assert time.time() < end, "a second takes longer than five"
            time.sleep(0.05)


@kept
def views_are_kept():
    equal(view("/page?a=1"), "call 1")
    equal(calls["view"], 0)


@kept
def functions_are_kept():
    with app.app_context():
        equal([square(3), square(4), calls["function"]], [9, 16, 0])


@kept
def clear_is_for_one_prefix():
    with app.app_context():
        client = cache.cache._write_client
        client.set("of somebody else", 1)
        equal(cache.get("text"), "v")
        equal(cache.clear(), True)
        equal(cache.get("text"), None)
        equal(client.keys("*"), [b"of somebody else"])


run("Flask-Caching")
