"""arq: jobs that are queued, delayed, retried and aborted; its results and its worker.

needs-pip: arq==0.28.0 redis==5.3.1 hiredis==3.5.0 click==8.5.1 PyJWT==2.15.1
keeps: yes
"""
import asyncio
import logging

import arq
from arq import Retry
from arq.connections import RedisSettings, create_pool
from arq.jobs import Job, JobStatus
from arq.worker import Worker

from check import PORT, equal, kept, run, work

# A job that fails on purpose is logged with its whole traceback.
logging.disable(logging.WARNING)
SETTINGS = RedisSettings(port=PORT, database=4)


async def add(ctx, a, b):
    return a + b


async def again(ctx):
    if ctx["job_try"] < 3:
        raise Retry(defer=0.01)
    return ctx["job_try"]


async def broken(ctx):
    raise ValueError("on purpose")


async def endless(ctx):
    await asyncio.sleep(60)


async def burst(pool, **options):
    worker = Worker([add, again, broken, endless], redis_pool=pool, burst=True, poll_delay=0.02,
                    handle_signals=False, keep_result=3600, **options)
    await worker.main()
    return worker


def asynchronous(function):
    def body():
        async def inside():
            pool = await create_pool(SETTINGS)
            try:
                await asyncio.wait_for(function(pool), 60)
            finally:
                await pool.aclose()
        asyncio.run(inside())
    body.__name__ = function.__name__
    return body


@work
@asynchronous
async def jobs_run_and_leave_results(pool):
    jobs = [await pool.enqueue_job("add", n, 1) for n in range(50)]
    job = jobs[7]
    equal(await job.status(), JobStatus.queued)
    equal(len(await pool.queued_jobs()), 50)
    worker = await burst(pool)
    equal(worker.jobs_complete, 50)
    equal([await job.result(timeout=5) for job in jobs], list(range(1, 51)))
    equal(await job.status(), JobStatus.complete)
    equal(len(await pool.all_job_results()), 50)


@work
@asynchronous
async def a_name_is_given_once(pool):
    assert await pool.enqueue_job("add", 1, 1, _job_id="once") is not None
    equal(await pool.enqueue_job("add", 1, 1, _job_id="once"), None)
    equal((await burst(pool)).jobs_complete, 1)


@work
@asynchronous
async def retries_and_failures(pool):
    retried = await pool.enqueue_job("again")
    failed = await pool.enqueue_job("broken")
    worker = await burst(pool)
    equal((worker.jobs_complete, worker.jobs_retried, worker.jobs_failed), (1, 2, 1))
    equal(await retried.result(timeout=5), 3)
    try:
        await failed.result(timeout=5)
    except ValueError as error:
        equal(str(error), "on purpose")
    else:
        raise AssertionError("a failed job without an error")


@work
@asynchronous
async def a_running_job_is_aborted(pool):
    job = await pool.enqueue_job("endless")
    worker = asyncio.create_task(burst(pool, allow_abort_jobs=True))
    while await job.status() != JobStatus.in_progress:
        await asyncio.sleep(0.02)
    equal(await job.abort(timeout=10), True)
    equal((await worker).jobs_failed, 1)


@work
@asynchronous
async def two_workers_share_the_jobs(pool):
    jobs = [await pool.enqueue_job("add", n, n) for n in range(100)]
    workers = await asyncio.gather(burst(pool), burst(pool))
    equal(sum(worker.jobs_complete for worker in workers), 100)
    equal([await job.result(timeout=5) for job in jobs], [2 * n for n in range(100)])


@work
@asynchronous
async def jobs_are_left_for_later(pool):
    await pool.enqueue_job("add", 20, 22, _job_id="kept")
    await pool.enqueue_job("add", 1, 2, _job_id="delayed", _defer_by=1)
    await pool.enqueue_job("add", 1, 2, _job_id="far", _defer_by=3600)
    equal(await Job("far", pool).status(), JobStatus.deferred)


@kept
@asynchronous
async def queued_and_delayed_jobs_are_kept(pool):
    equal(sorted(job.job_id for job in await pool.queued_jobs()), ["delayed", "far", "kept"])
    equal(await Job("once", pool).result(timeout=5), 2)
    await pool.zrem(arq.constants.default_queue_name, "far")
    equal((await burst(pool)).jobs_complete, 2)
    equal(await Job("kept", pool).result(timeout=5), 42)
    equal(await Job("delayed", pool).result(timeout=5), 3)


run("arq")
