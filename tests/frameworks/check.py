"""What the Python programs of this folder share: named tests, strict comparison, workers, restarts.

A program that needs workers is called by itself as `NAME PORT worker ...`, which is not a part.
"""
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

PORT = int(sys.argv[1])
PART = sys.argv[2]
_tests = {"work": [], "kept": []}


def work(function):
    """Marks a test of the first call of the program."""
    _tests["work"].append(function)
    return function


def kept(function):
    """Marks a test of the second call, when another server has loaded the dump of the first."""
    _tests["kept"].append(function)
    return function


def equal(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"
    assert type(got) is type(expected), f"got {type(got)}, expected {type(expected)}"


def between(got, low, high):
    assert low <= got <= high, f"got {got!r}, expected {low} to {high}"


def until(condition, seconds=20):
    """Waits until the condition is true, or no longer than this."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def restart():
    """Has the server save, killed, and another one started; returns when that one answers."""
    file = os.environ["RESTART"]
    open(file, "x").close()
    until(lambda: not os.path.exists(file), 60)


@contextlib.contextmanager
def worker(*arguments):
    """A worker process: this program as `NAME PORT worker ARGUMENT...`, told to end afterwards.

    What it prints is shown only if the test fails.
    """
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, sys.argv[0], str(PORT), "worker", *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        except BaseException:
            output.seek(0)
            print(output.read().decode(errors="replace")[-8000:], flush=True)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def some_held(job, count, held=10):
    """Names of so many jobs, the last of which are held."""
    return [f"{job}-{n}" for n in range(count - held)] + [f"held-{job}-{n}" for n in range(held)]


class Record:
    """A file beside the server's that says which jobs ran; every line is one run of a job.

    Jobs whose name begins with `held` do not end while the server is being killed, so that however
    slow the machine is, there is work on both sides of the kill.
    """

    path = f"{os.environ['RESTART']}.record"

    def add(self, job):
        if job.startswith("held"):
            until(lambda: not os.path.exists(os.environ["RESTART"]), 60)
        with open(self.path, "a") as file:
            file.write(f"{job}\n")

    def runs(self):
        try:
            with open(self.path) as file:
                return file.read().split()
        except FileNotFoundError:
            return []


def run(program):
    """Runs the tests of this part in their order and ends the program."""
    good = True
    for function in _tests[PART]:
        name = f"{program} {PART}: {function.__name__.replace('_', ' ')}"
        try:
            function()
        except Exception:
            print(f"not ok {name}\n{traceback.format_exc()}", flush=True)
            good = False
        else:
            print(f"ok {name}", flush=True)
    # At once: what still lives, such as a result that would unsubscribe, has nobody left to tell.
    sys.stdout.flush()
    os._exit(0 if good else 1)
