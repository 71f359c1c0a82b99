"""Huey: results, retries, delays, pipelines, locks and priorities, with its consumer process.

needs-pip: huey==3.5.4 redis==8.1.0
keeps: yes
restarts: kill
"""
import logging
import sys
import time

from huey import PriorityRedisHuey, RedisHuey
from huey.exceptions import TaskException

from check import PART, PORT, Record, equal, kept, restart, run, some_held, until, work, worker

huey = RedisHuey("jobs", url=f"redis://127.0.0.1:{PORT}/8")
urgent = PriorityRedisHuey("urgent", url=f"redis://127.0.0.1:{PORT}/8")
record = Record()


@huey.task(name="add")
def add(a, b):
    return a + b


@huey.task(name="note")
def note(name, seconds=0.0):
    time.sleep(seconds)
    record.add(name)


@huey.task(name="again", retries=3)
def again():
    record.add("again")
    if record.runs().count("again") < 3:
        raise ValueError("not yet")
    return "at last"


@huey.task(name="broken")
def broken():
    raise ValueError("on purpose")


@huey.task(name="alone")
@huey.lock_task("alone")
def alone():
    time.sleep(0.5)
    return True


@urgent.task(name="ordered")
def ordered(name):
    record.add(name)


@work
def tasks_and_their_results():
    with worker("jobs"):
        results = [add(n, 1) for n in range(50)]
        equal([result(blocking=True, timeout=20) for result in results], list(range(1, 51)))
        retried = again()
        until(lambda: outcome(retried) == "at last")
        try:
            broken()(blocking=True, timeout=20)
        except TaskException as error:
            assert "on purpose" in str(error), error
        else:
            raise AssertionError("a failed task without an error")
        chain = huey.enqueue(add.s(1, 2).then(add, 3).then(add, 4))
        equal(chain.get(blocking=True, timeout=20), [3, 6, 10])


def outcome(result):
    # A task that will be tried again has its error for a result meanwhile.
    try:
        return huey.result(result.id, preserve=True)
    except TaskException:
        return None


@work
def delays_locks_revoked_tasks():
    with worker("jobs"):
        equal(add(1, 1)(blocking=True, timeout=20), 2)
        late = add.schedule((2, 3), delay=1)
        gone = note.schedule(("revoked",), delay=1)
        until(lambda: huey.scheduled_count() == 2)
        gone.revoke()
        both = [alone(), alone()]
        outcomes = []
        for result in both:
            try:
                outcomes.append(result(blocking=True, timeout=20))
            except TaskException as error:
                assert "Lock" in str(error), error
                outcomes.append(None)
        equal(sorted(outcomes, key=str), [None, True])
        equal(late(blocking=True, timeout=20), 5)
        until(lambda: huey.scheduled_count() == 0)
    equal("revoked" in record.runs(), False)
    with huey.lock_task("by hand"):
        equal(huey.is_locked("by hand"), True)
    equal(huey.is_locked("by hand"), False)


@work
def the_urgent_first():
    for priority in (1, 50, 10, 99, 25):
        task = ordered.s(f"urgent-{priority}")
        task.priority = priority
        urgent.enqueue(task)
    with worker("urgent"):
        until(lambda: "urgent-1" in record.runs())
    equal([name for name in record.runs() if name.startswith("urgent")],
          [f"urgent-{priority}" for priority in (99, 50, 25, 10, 1)])


@work
def the_server_is_killed():
    with worker("jobs"), worker("jobs"):
        names = some_held("task", 100)
        for name in names:
            note(name, 0.05)
        late = add.schedule((3, 4), delay=2)
        until(lambda: "task-9" in record.runs())
        restart()
        until(lambda: set(names) <= set(record.runs()), 30)
        equal(late(blocking=True, timeout=20), 7)
        equal(add(1, 1)(blocking=True, timeout=20), 2)


@work
def tasks_are_left_for_later():
    huey.flush()
    kept_task = add(20, 22)
    huey.put("kept", kept_task.id)
    huey.put("late", add.schedule((1, 2), delay=1).id)
    add.schedule((1, 2), delay=3600)
    equal(huey.pending_count(), 3)


@kept
def queued_and_delayed_tasks_are_kept():
    equal(huey.pending_count(), 3)
    ids = huey.get("kept"), huey.get("late")
    with worker("jobs"):
        equal([huey.result(id, blocking=True, timeout=20) for id in ids], [42, 3])
        until(lambda: huey.scheduled_count() == 1)
    equal(huey.flush_locks(), set())


def consume(queue, workers):
    logging.disable(logging.ERROR)
    queue.create_consumer(workers=workers, worker_type="thread", initial_delay=0.02, max_delay=0.2,
                          scheduler_interval=1).run()


if PART == "worker":
    consume(*{"jobs": (huey, 2), "urgent": (urgent, 1)}[sys.argv[3]])
else:
    run("Huey")
