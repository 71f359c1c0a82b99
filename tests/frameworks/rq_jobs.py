"""RQ: queues, results, retries, delays and dependencies, with worker processes that fork for each job.

needs-pip: rq==3.0.0 redis==8.1.0 click==8.5.1 croniter==7.0.0 python-dateutil==4.0.0 tzdata==2026.6
keeps: yes
restarts: kill
"""
import logging
import time
from datetime import timedelta

from redis import Redis
from rq import Callback, Queue, Retry, Worker
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry

from check import PART, PORT, Record, equal, kept, restart, run, some_held, until, work, worker

connection = Redis(port=PORT, db=6)
high = Queue("high", connection=connection)
low = Queue("low", connection=connection)
record = Record()


def add(a, b):
    return a + b


def note(name, seconds=0.0):
    time.sleep(seconds)
    record.add(name)


def again():
    record.add("again")
    if record.runs().count("again") < 3:
        raise ValueError("not yet")
    return "at last"


def broken():
    raise ValueError("on purpose")


def failed(job, connection, kind, error, trace):
    connection.set(f"failed:{job.id}", str(error))


def by_name(function):
    # A job is a function of this module, not of the program that is started.
    return f"rq_jobs.{function.__name__}"


def result(job, seconds=20):
    until(lambda: job.get_status() in (JobStatus.FINISHED, JobStatus.FAILED), seconds)
    return job.return_value()


@work
def jobs_are_queued_and_taken_out():
    jobs = low.enqueue_many([Queue.prepare_data(by_name(add), (n, 1), job_id=f"many-{n}") for n in range(20)])
    equal(low.job_ids, [f"many-{n}" for n in range(20)])
    equal(low.get_job_position("many-7"), 7)
    low.enqueue(by_name(add), 1, 2, job_id="first", at_front=True)
    equal(low.job_ids[0], "first")
    jobs[3].cancel()
    equal((len(low), jobs[3].get_status()), (20, JobStatus.CANCELED))
    # Both run a script.
    equal(low.empty(), 20)
    equal((len(low), Job.exists("many-4", connection)), (0, False))


@work
def jobs_run_and_leave_results():
    with worker():
        jobs = [high.enqueue(by_name(add), n, 1) for n in range(10)]
        equal([result(job) for job in jobs], list(range(1, 11)))
        equal(jobs[0].latest_result().type.name, "SUCCESSFUL")
        equal(len(FinishedJobRegistry(queue=high)), 10)
        waiting = high.enqueue(by_name(add), 20, 22)
        equal(waiting.latest_result(timeout=10).return_value, 42)
        worker_of = Worker.all(connection=connection)[0]
        equal(sorted(worker_of.queue_names()), ["high", "low"])
        until(lambda: Worker.all(connection=connection)[0].successful_job_count == 11)


@work
def failures_retries_delays_dependents():
    with worker():
        retried = low.enqueue(by_name(again), retry=Retry(max=3, interval=[0, 1]))
        bad = low.enqueue(by_name(broken), on_failure=Callback("rq_jobs.failed"))
        after = low.enqueue(by_name(note), "after", depends_on=retried)
        late = high.enqueue_in(timedelta(seconds=1), by_name(add), 2, 3)
        equal((late.get_status(), after.get_status()), (JobStatus.SCHEDULED, JobStatus.DEFERRED))
        equal(result(bad), None)
        assert "on purpose" in bad.latest_result().exc_string
        equal(FailedJobRegistry(queue=low).get_job_ids(), [bad.id])
        until(lambda: connection.get(f"failed:{bad.id}") == b"on purpose")
        equal(result(retried), "at last")
        equal(result(late), 5)
        result(after)
        equal(record.runs(), ["again"] * 3 + ["after"])


@work
def the_server_is_killed():
    with worker(), worker():
        names = some_held("job", 40)
        jobs = low.enqueue_many([Queue.prepare_data(by_name(note), (name, 0.05)) for name in names])
        until(lambda: "job-9" in record.runs())
        restart()
        # What a worker had in hand stays on RQ's books, which takes it up again after minutes.
        until(lambda: len(unfinished(jobs)) <= 2, 30)
        for job in unfinished(jobs):
            assert job.id in held(), f"{job.id} is {job.get_status()}, and nobody has it"
        finished = {job.args[0] for job in jobs if job not in unfinished(jobs)}
        equal(finished - set(record.runs()), set())
        equal(result(high.enqueue(by_name(add), 1, 1)), 2)


def unfinished(jobs):
    return [job for job in jobs if job.get_status() != JobStatus.FINISHED]


def held():
    started = low.started_job_registry.get_job_ids(cleanup=False)
    return started + low.intermediate_queue.get_job_ids() + low.job_ids


@work
def jobs_are_left_for_later():
    low.enqueue(by_name(add), 20, 22, job_id="kept")
    high.enqueue_in(timedelta(seconds=1), by_name(add), 1, 2, job_id="delayed")
    high.enqueue_in(timedelta(hours=1), by_name(add), 1, 2, job_id="far")


@kept
def queued_and_delayed_jobs_are_kept():
    equal(low.job_ids, ["kept"])
    equal(sorted(ScheduledJobRegistry(queue=high).get_job_ids()), ["delayed", "far"])
    with worker():
        equal(result(Job.fetch("kept", connection)), 42)
        equal(result(Job.fetch("delayed", connection)), 3)
    equal(Job.fetch("far", connection).get_status(), JobStatus.SCHEDULED)
    equal(FailedJobRegistry(queue=low).count, 1)


def work_until_told_to_end():
    logging.basicConfig(level=logging.WARNING)
    Worker([high, low], connection=connection).work(with_scheduler=True, logging_level="WARNING")


if __name__ == "__main__":
    if PART == "worker":
        work_until_told_to_end()
    else:
        run("RQ")
