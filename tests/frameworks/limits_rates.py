"""limits: every strategy, on Redis alone and in asyncio, by its scripts.

needs-pip: limits==5.8.0 Deprecated==1.3.1 wrapt==2.5.2 packaging==26.3 typing_extensions==4.16.0
needs-pip: redis==7.4.1
keeps: yes
restarts: kill
"""
import asyncio
import threading
import time

from limits import RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage as AsyncStorage
from limits.aio.strategies import MovingWindowRateLimiter as AsyncMovingWindow
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from check import PORT, between, equal, kept, restart, run, work

URL = f"redis://127.0.0.1:{PORT}/3"
storage = RedisStorage(URL)
fixed, moving, sliding = (kind(storage) for kind in (
    FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter))
strategies = {"fixed": fixed, "moving": moving, "sliding": sliding}


@work
def so_many_and_no_more():
    equal(storage.check(), True)
    limit = RateLimitItemPerHour(10)
    for name, strategy in strategies.items():
        equal([strategy.hit(limit, name, "ada") for _ in range(12)], [True] * 10 + [False] * 2)
        equal((strategy.test(limit, name, "ada"), strategy.test(limit, name, "bob")), (False, True))
        equal((strategy.hit(limit, name, "bob", cost=7), strategy.hit(limit, name, "bob", cost=7)), (True, False))
        reset, remaining = strategy.get_window_stats(limit, name, "ada")
        equal(remaining, 0)
        # The sliding window takes the time it has left modulo its length: none in the millisecond in
        # which it began, and this line is a little later.
        between(reset - time.time(), -0.1, 7201)
        strategy.clear(limit, name, "ada")
        equal(strategy.hit(limit, name, "ada"), True)


@work
def windows_pass():
    limit = RateLimitItemPerSecond(3)
    for name, strategy in strategies.items():
        while strategy.hit(limit, name, "passes"):
            pass
        time.sleep(1.05 if name != "sliding" else 2.05)
        equal([strategy.hit(limit, name, "passes") for _ in range(3)], [True] * 3)


@work
def many_at_once():
    for name, strategy in strategies.items():
        admitted = []

        def hit():
            for _ in range(30):
                if strategy.hit(RateLimitItemPerDay(50), name, "crowd"):
                    admitted.append(1)
        threads = [threading.Thread(target=hit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # The fixed window counts and then looks: it never admits more.
        equal(len(admitted), 50)


@work
def in_asyncio():
    async def body():
        # Its default client is another one than redis-py.
        limiter = AsyncMovingWindow(AsyncStorage(f"async+{URL}", implementation="redispy"))
        got = await asyncio.gather(*[limiter.hit(RateLimitItemPerDay(5), "async") for _ in range(20)])
        equal((got.count(True), len(got)), (5, 20))
    asyncio.run(body())


@work
def reset_by_a_script():
    fixed.hit(RateLimitItemPerDay(1), "gone")
    assert storage.reset() > 0
    equal((fixed.hit(RateLimitItemPerDay(1), "gone"), storage.storage.dbsize()), (True, 1))


@work
def the_server_is_killed():
    limit = RateLimitItemPerHour(5)
    for name, strategy in strategies.items():
        equal([strategy.hit(limit, name, "kept") for _ in range(3)], [True] * 3)
    restart()
    # By scripts that the server before had in memory.
    for name, strategy in strategies.items():
        equal(strategy.get_window_stats(limit, name, "kept").remaining, 2)
        equal(strategy.hit(limit, name, "kept"), True)


@kept
def what_was_used_is_kept():
    limit = RateLimitItemPerHour(5)
    for name, strategy in strategies.items():
        equal(strategy.get_window_stats(limit, name, "kept").remaining, 1)
        equal([strategy.hit(limit, name, "kept") for _ in range(2)], [True, False])
    equal(fixed.hit(RateLimitItemPerMinute(1), "new"), True)


run("limits")
