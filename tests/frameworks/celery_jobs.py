"""Celery: broker and results on one server; retries, countdowns, groups, chains and chords.

needs-pip: celery==5.7.0 kombu==5.7.0 amqp==5.4.2 billiard==4.3.2 vine==5.1.0 redis==8.1.0 click==8.5.1
needs-pip: click-didyoumean==0.3.1 click-plugins==1.1.1.2 click-repl==0.4.1 packaging==26.3
needs-pip: prompt_toolkit==3.0.53 wcwidth==0.9.4 python-dateutil==2.9.0.post0 six==1.17.0
needs-pip: tzlocal==5.4.5 typing_extensions==4.16.0
keeps: yes
restarts: kill
"""
import time

from celery import Celery, chain, chord, group

from check import PART, PORT, Record, equal, kept, restart, run, some_held, until, work, worker

url = f"redis://127.0.0.1:{PORT}"
app = Celery("jobs", broker=f"{url}/0", backend=f"{url}/1")
app.conf.update(
    # How long a message may be in hand before another worker gets it.
    broker_transport_options={"visibility_timeout": 5, "unacked_mutex_expire": 1},
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)
record = Record()


@app.task(name="add")
def add(a, b):
    return a + b


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="note", ignore_result=True)
def note(name, seconds=0.0):
    time.sleep(seconds)
    record.add(name)


@app.task(name="again", bind=True, max_retries=3)
def again(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(name="broken")
def broken():
    raise ValueError("on purpose")


@work
def tasks_and_their_results():
    with worker():
        results = [add.delay(n, 1) for n in range(50)]
        equal([result.get(timeout=20) for result in results], list(range(1, 51)))
        equal(results[0].status, "SUCCESS")
        results[0].forget()
        equal(again.delay().get(timeout=20), 2)
        bad = broken.delay()
        try:
            bad.get(timeout=20)
        except ValueError as error:
            equal(str(error), "on purpose")
        else:
            raise AssertionError("a failed task without an error")
        equal(bad.status, "FAILURE")
        asked = time.monotonic()
        equal(add.apply_async((2, 3), countdown=1).get(timeout=20), 5)
        assert time.monotonic() - asked > 0.9
        equal(add.apply_async((2, 4), priority=6).get(timeout=20), 6)


@work
def groups_chains_chords():
    with worker():
        equal(group(add.s(n, n) for n in range(10))().get(timeout=20), [2 * n for n in range(10)])
        equal(chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=20), 10)
        equal(chord([add.s(n, 1) for n in range(20)], total.s())().get(timeout=20), 210)
        nested = chain(group(add.s(n, 0) for n in range(5)), total.s(), add.s(100))
        equal(nested().get(timeout=20), 110)
        spoiled = chord([add.s(1, 1), broken.s()], total.s())()
        try:
            spoiled.get(timeout=20)
        except Exception as error:
            assert "on purpose" in str(error), error
        else:
            raise AssertionError("a chord over a failed task has a result")


@work
def workers_are_asked_and_told():
    with worker():
        replies = []
        until(lambda: replies.extend(app.control.ping(timeout=0.5)) or replies)
        name, = replies[0]
        equal(sorted(app.control.inspect([name], timeout=1).registered()[name]),
              ["add", "again", "broken", "note", "total"])
        far = add.apply_async((1, 1), countdown=3600)
        until(lambda: app.control.inspect([name], timeout=0.5).scheduled()[name])
        far.revoke()
        until(lambda: app.control.inspect([name], timeout=0.5).revoked()[name])


@work
def the_server_is_killed():
    with worker(), worker():
        names = some_held("task", 80)
        for name in names:
            note.delay(name, 0.05)
        until(lambda: "task-9" in record.runs())
        restart()
        # What was in hand comes again when its time is over.
        until(lambda: set(names) <= set(record.runs()), 40)
        # Read, not waited for: the producer's subscription went with the server.
        for result, expected in ((add.delay(1, 1), 2), (chord([add.s(n, 1) for n in range(5)], total.s())(), 15)):
            until(result.ready)
            equal(result.result, expected)


@work
def tasks_are_left_for_later():
    app.control.purge()
    result = add.delay(20, 22)
    equal(result.status, "PENDING")
    app.backend.client.set("kept", result.id)


@kept
def queued_tasks_are_kept():
    result = app.AsyncResult(app.backend.client.get("kept").decode())
    equal(result.status, "PENDING")
    with worker():
        equal(result.get(timeout=20), 42)
        equal(result.status, "SUCCESS")


if PART == "worker":
    app.worker_main(["worker", "--concurrency=2", "--loglevel=WARNING", "--without-gossip",
                     "-n", f"worker-{time.time_ns()}@here"])
else:
    run("Celery")
