"""SAQ: jobs with results, retries, delays and aborts, and its workers as processes.

needs-pip: saq==0.26.4 croniter==7.0.0 python-dateutil==4.0.0 tzdata==2026.6 redis==7.4.1
needs-pip: typing_extensions==4.16.0
keeps: yes
restarts: kill
"""
import asyncio
import logging
import sys
import time

from saq import CronJob, Queue, Status, Worker
from saq.queue.base import JobError

from check import PART, PORT, Record, equal, kept, restart, run, some_held, until, work, worker

URL = f"redis://127.0.0.1:{PORT}/11"
record = Record()


async def add(ctx, *, a, b):
    return a + b


async def note(ctx, *, name, seconds=0.0):
    await asyncio.sleep(seconds)
    await asyncio.to_thread(record.add, name)


async def again(ctx):
    if ctx["job"].attempts < 3:
        raise ValueError("not yet")
    return ctx["job"].attempts


async def broken(ctx):
    raise ValueError("on purpose")


async def endless(ctx):
    await asyncio.sleep(60)


async def tick(ctx):
    record.add("tick")


def asynchronous(function):
    def body():
        async def inside():
            queue = Queue.from_url(URL)
            try:
                await asyncio.wait_for(function(queue), 60)
            finally:
                await queue.disconnect()
        asyncio.run(inside())
    body.__name__ = function.__name__
    return body


async def soon(condition, seconds=20):
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(0.02)


@work
@asynchronous
async def jobs_and_their_results(queue):
    # Nobody sweeps for a minute.
    equal(await queue.sweep(lock=60), [])
    with worker("ticks"):
        equal(await queue.map("add", [{"a": n, "b": 1} for n in range(50)], timeout=20), list(range(1, 51)))
        equal(await queue.apply("again", retries=5, retry_delay=0.02, timeout=20), 3)
        try:
            await queue.apply("broken", retries=1)
        except JobError as error:
            assert "on purpose" in error.job.error, error
            equal(error.job.status, Status.FAILED)
        else:
            raise AssertionError("a failed job without an error")
        late = await queue.enqueue("add", a=2, b=3, scheduled=time.time() + 1)
        await late.refresh(until_complete=20)
        equal((late.status, late.result), (Status.COMPLETE, 5))
        # The worker's cron job of every second.
        until(lambda: record.runs().count("tick") >= 2)


@work
@asynchronous
async def keys_are_unique_and_jobs_are_aborted(queue):
    assert await queue.enqueue("add", a=1, b=1, key="once") is not None
    equal(await queue.enqueue("add", a=1, b=1, key="once"), None)
    equal(await queue.count("queued"), 1)
    with worker():
        job = await queue.enqueue("endless", timeout=30)

        async def active():
            await job.refresh()
            return job.status == Status.ACTIVE
        await soon(active)
        equal("endless" in [job["function"] for job in (await queue.info(jobs=True))["jobs"]], True)
        await job.abort("enough")
        await job.refresh(until_complete=20)
        equal((job.status, job.error), (Status.ABORTED, "enough"))


@work
@asynchronous
async def the_server_is_killed(queue):
    await queue.redis.delete(queue.namespace("sweep"))
    with worker("sweeps"), worker("sweeps"):
        names = some_held("job", 150)
        for name in names:
            # Stuck after two seconds, and then swept.
            await queue.enqueue("note", name=name, seconds=0.05, timeout=2, retries=5)
        until(lambda: "job-9" in record.runs())
        restart()
        until(lambda: set(names) <= set(record.runs()), 40)
        # They sweep away also what another one has taken at that moment.
        equal(await queue.apply("add", a=1, b=1, timeout=20, retries=5), 2)


@work
@asynchronous
async def jobs_are_left_for_later(queue):
    await queue.redis.flushdb()
    equal(await queue.sweep(lock=60), [])
    await queue.enqueue("add", a=20, b=22, key="kept")
    await queue.enqueue("add", a=1, b=2, key="late", scheduled=time.time() + 1)
    await queue.enqueue("add", a=1, b=2, key="far", scheduled=time.time() + 3600)
    equal((await queue.count("queued"), await queue.count("incomplete")), (1, 3))


@kept
@asynchronous
async def queued_and_delayed_jobs_are_kept(queue):
    equal((await queue.count("queued"), await queue.count("incomplete")), (1, 3))
    with worker():
        for key, result in ("kept", 42), ("late", 3):
            job = await queue.job(key)
            await job.refresh(until_complete=20)
            equal((job.status, job.result), (Status.COMPLETE, result))
    equal((await queue.job("far")).status, Status.QUEUED)


async def work_until_told_to_end(what):
    logging.basicConfig(level=logging.WARNING)
    ticks = [CronJob(tick, cron="* * * * * *")] if "ticks" in what else []
    timers = {"schedule": 1, "abort": 1, "sweep": 1 if "sweeps" in what else 60}
    await Worker(Queue.from_url(URL), functions=[add, note, again, broken, endless], cron_jobs=ticks,
                 concurrency=4, timers=timers).start()


if PART == "worker":
    asyncio.run(work_until_told_to_end(sys.argv[3:]))
else:
    run("SAQ")
