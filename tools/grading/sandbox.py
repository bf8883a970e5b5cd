"""Runs the checks on one learner's functions, in a process of its own that grade.py starts.

Reads the request from standard input and answers on what was standard output, with a line of JSON
for each exercise. First the checks are loaded, then the limits are set, then the learner's code
runs, in a new namespace for each exercise. After each call of the learner's function, the functions
that the checks rely on are compared with what they were before.
"""

import functools
import importlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any

ROUNDS = 3  # a check draws new inputs each time; a wrong answer can be right once by chance
WATCHED = ("builtins", "random", "math", "torch", "torch.nn", "torch.nn.functional", "numpy")

TRUSTED = ("torch", "numpy", "xai_course", "collections")  # whose objects an answer may return
HEAP_TYPE = 1 << 9  # the flag of classes that were made by a class statement


class OutOfTime(BaseException):
    """The time for an exercise is over; `except Exception` in the learner's code misses it."""


class Tampered(BaseException):
    """The learner's code changed what the checks rely on, or returned an untrusted object."""


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.read())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what the learner's code prints is dropped
        os.dup2(nowhere, stream)

    def answer(**words: Any) -> None:
        answers.write(json.dumps({"secret": request["secret"], **words}) + "\n")
        answers.flush()

    checks = [getattr(importlib.import_module(j["room"]), j["check"]) for j in request["jobs"]]
    same_inputs_each_time()
    rooms = {job["room"] for job in request["jobs"]}
    before = dict(watched_functions(rooms))
    set_limits(request["memory"], request["seconds"] * len(checks))
    for job, check in zip(request["jobs"], checks, strict=True):
        unchanged = functools.partial(check_unchanged, rooms, before)
        status, words = examine(job, check, request["seconds"], unchanged)
        answer(number=job["number"], status=status, words=words)
    answer(end=True)
    answers.close()
    os._exit(0)  # no code of the learner runs after this


def examine(
    job: dict[str, Any], check: Callable[..., Any], seconds: float, unchanged: Callable[[], None]
) -> tuple[str, str]:
    """Run one learner's code and its check; return the status and the words."""
    space: dict[str, Any] = {"__name__": "__submission__"}
    try:
        with_alarm(seconds)
        try:
            exec(compile(job["source"], "notebook", "exec"), space)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            return "error", f"the code that it needs stopped with {type(error).__name__}: {first}"
        function = space[job["function"]]
        guarded = guard(function, unchanged) if callable(function) else function
        for _ in range(ROUNDS):
            unchanged()
            feedback = check(guarded)
            if feedback.status != "yes":
                break
        return feedback.status, feedback.words
    except OutOfTime:
        return "error", f"it did not end within {seconds:g} seconds"
    except Tampered as tampered:
        return "error", f"{tampered}: look at this notebook yourself"
    except BaseException as error:  # also SystemExit, and what the check does not expect
        return "error", f"the check stopped with {type(error).__name__}: {error}"
    finally:
        with_alarm(0)


# --- limits ---------------------------------------------------------------------------------------


def set_limits(memory: int, seconds: float) -> None:
    """Limit memory to what is used now and `memory` MB more, and processor time.

    Windows has no such limits, and macOS none on memory; there only the clock ends a process.
    """
    if sys.platform == "win32":
        return
    import resource

    total = int(seconds) + 1
    used = sum(os.times()[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + total, int(used) + total + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**8, 10**8))
    if sys.platform == "linux":
        with open("/proc/self/statm") as statm:
            taken = int(statm.read().split()[0]) * resource.getpagesize()
        most = taken + memory * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def with_alarm(seconds: float) -> None:
    """Raise OutOfTime after this many seconds; 0: never."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, time_is_over)
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0 if seconds else 0)


def time_is_over(number: int, frame: FrameType | None) -> None:
    """Raise OutOfTime in the running code; the alarm repeats each second until it stops."""
    raise OutOfTime


def same_inputs_each_time() -> None:
    """Give the checks known seeds, so that a notebook gets the same sentence each time."""
    if (torch := sys.modules.get("torch")) is not None:
        seeds = itertools.count()
        torch.seed = lambda: torch.manual_seed(next(seeds)).initial_seed()


# --- learner's code that changes the checks -------------------------------------------------------


def watched_functions(rooms: set[str]) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a check may call, with their code if written in Python."""
    for name, module in list(sys.modules.items()):
        if name in WATCHED or name in rooms or name.split(".")[0] == "xai_course":
            yield from callables(name, module)
    if (torch := sys.modules.get("torch")) is not None:
        yield from callables("torch.Tensor", torch.Tensor)


def callables(name: str, owner: ModuleType | type) -> Iterator[tuple[str, Any]]:
    """Each callable of a module or class, by its full name."""
    for key, value in list(vars(owner).items()):
        if callable(value):
            yield f"{name}.{key}", (value, getattr(value, "__code__", None))


def check_unchanged(rooms: set[str], before: dict[str, Any]) -> None:
    """Raise Tampered if one of the functions is not what it was before."""
    now = dict(watched_functions(rooms))
    for name, (value, code) in before.items():
        value_now, code_now = now.get(name, (None, None))
        if value_now is not value or code_now is not code:
            raise Tampered(f"it changed {name}, on which the checks rely")


def guard(function: Callable[..., Any], unchanged: Callable[[], None]) -> Callable[..., Any]:
    """The learner's function, with a test after each call that the checks are unchanged."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        unchanged()
        check_trusted(result)
        return result

    return guarded


def check_trusted(result: Any) -> None:
    """Raise Tampered for an object of an untrusted class, which could claim to equal anything."""
    kind = type(result)
    if kind.__flags__ & HEAP_TYPE:  # not one of the interpreter's own
        registered: Any = sys.modules.get(kind.__module__)  # the class of that name
        for part in kind.__qualname__.split("."):
            registered = getattr(registered, part, None)
        if registered is not kind or kind.__module__.split(".")[0] not in TRUSTED:
            raise Tampered(f"it returns an object of the class {kind.__name__}")
    if isinstance(result, list | tuple | dict):
        for item in result.values() if isinstance(result, dict) else result:
            check_trusted(item)


if __name__ == "__main__":
    main()
