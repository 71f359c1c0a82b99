"""Dramatiq: actors, results, retries, delays, dead letters, groups, pipelines and rate limits.

needs-pip: dramatiq==2.2.1 redis==8.1.0
keeps: yes
restarts: kill
"""
import logging
import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.cli import main, make_argument_parser
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as RateLimits
from dramatiq.results import ResultMissing, Results
from dramatiq.results.backends import RedisBackend
from dramatiq.results.errors import ResultFailure

from check import PART, PORT, Record, equal, kept, restart, run, some_held, until, work, worker

logging.disable(logging.CRITICAL)
# For the worker processes: how long one waits to consume again after its connection is lost.
os.environ["dramatiq_restart_delay"] = "300"
# By default the client asks again after five seconds: for messages, of which it then has had some.
url = f"redis://127.0.0.1:{PORT}/9?socket_timeout=30"
results = RedisBackend(url=url)
limits = RateLimits(url=url)
# A message in hand is for others when its worker has not been heard for this long.
broker = RedisBroker(url=url, heartbeat_timeout=3000, maintenance_chance=1_000_000)
broker.add_middleware(Results(backend=results))
dramatiq.set_broker(broker)
record = Record()


@dramatiq.actor(store_results=True)
def add(a, b):
    return a + b


@dramatiq.actor
def note(name, seconds=0.0):
    time.sleep(seconds)
    record.add(name)


@dramatiq.actor(store_results=True, max_retries=5, min_backoff=10, max_backoff=20)
def again():
    record.add("again")
    if record.runs().count("again") < 3:
        raise ValueError("not yet")
    return "at last"


@dramatiq.actor(store_results=True, max_retries=0)
def broken():
    raise ValueError("on purpose")


@work
def actors_and_their_results():
    with worker():
        sent = [add.send(n, 1) for n in range(50)]
        equal([message.get_result(block=True, timeout=20_000) for message in sent], list(range(1, 51)))
        try:
            add.message(0, 0).get_result()
        except ResultMissing:
            pass
        else:
            raise AssertionError("a message that was not sent has a result")
        equal(again.send().get_result(block=True, timeout=20_000), "at last")
        bad = broken.send()
        try:
            bad.get_result(block=True, timeout=20_000)
        except ResultFailure as error:
            assert "on purpose" in str(error), error
        else:
            raise AssertionError("a failed message without an error")
        asked = time.monotonic()
        late = add.send_with_options(args=(2, 3), delay=1000)
        equal(late.get_result(block=True, timeout=20_000), 5)
        assert time.monotonic() - asked > 0.9
    # The dead letters.
    equal(broker.client.zrange("dramatiq:default.XQ", 0, -1), broker.client.hkeys("dramatiq:default.XQ.msgs"))
    equal(broker.client.zcard("dramatiq:default.XQ"), 1)


@work
def groups_and_pipelines():
    with worker():
        group = dramatiq.group([add.message(n, n) for n in range(10)]).run()
        equal(list(group.get_results(block=True, timeout=20_000)), [2 * n for n in range(10)])
        pipeline = (add.message(1, 2) | add.message(3) | add.message(4)).run()
        equal(pipeline.get_result(block=True, timeout=20_000), 10)


@work
def rates_and_barriers():
    bucket = BucketRateLimiter(limits, "bucket", limit=3, bucket=60_000)
    window = WindowRateLimiter(limits, "window", limit=4, window=60)
    concurrent = ConcurrentRateLimiter(limits, "concurrent", limit=2)
    for limiter, limit in (bucket, 3), (window, 4):
        taken = []
        for _ in range(6):
            with limiter.acquire(raise_on_failure=False) as got:
                taken.append(got)
        equal(taken, [True] * limit + [False] * (6 - limit))
    with concurrent.acquire(), concurrent.acquire(), concurrent.acquire(raise_on_failure=False) as third:
        equal(third, False)
    with concurrent.acquire(raise_on_failure=False) as free:
        equal(free, True)
    barrier = Barrier(limits, "barrier", ttl=30_000)
    equal((barrier.create(parties=2), barrier.create(parties=2)), (True, False))
    equal((barrier.wait(block=False), barrier.wait(block=False)), (False, True))


@work
def the_server_is_killed():
    with worker(), worker():
        names = some_held("message", 100)
        for name in names:
            note.send(name, 0.05)
        late = add.send_with_options(args=(3, 4), delay=2000)
        until(lambda: "message-9" in record.runs())
        restart()
        until(lambda: len(set(names) - set(record.runs())) < 10, 30)
    # What they had in hand, such as a delayed message, is taken from a worker that is gone.
    with worker():
        until(lambda: set(names) <= set(record.runs()), 30)
        equal(late.get_result(block=True, timeout=20_000), 7)
        equal(add.send(1, 1).get_result(block=True, timeout=20_000), 2)


@work
def messages_are_left_for_later():
    broker.flush_all()
    left = add.send(20, 22)
    late = add.send_with_options(args=(1, 2), delay=1000)
    broker.client.set("kept", left.encode())
    broker.client.set("late", late.encode())


@kept
def queued_and_delayed_messages_are_kept():
    left, late = (dramatiq.Message.decode(broker.client.get(key)) for key in ("kept", "late"))
    with worker():
        equal(left.get_result(block=True, timeout=20_000), 42)
        # A delayed message is stored under a new name.
        until(lambda: broker.client.hlen("dramatiq:default.DQ.msgs") == 0)
        until(lambda: broker.client.hlen("dramatiq:default.msgs") == 0)
    equal(late.actor_name, "add")


if __name__ == "__main__":
    if PART == "worker":
        arguments = ["dramatiq_jobs", "--processes", "1", "--threads", "2", "--skip-logging"]
        raise SystemExit(main(make_argument_parser().parse_args(arguments)))
    run("Dramatiq")
