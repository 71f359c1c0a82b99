"""What the Python programs of this folder share: named tests, strict comparison, an exit code."""
import sys
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
    sys.exit(0 if good else 1)
