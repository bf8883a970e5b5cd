"""Runs a learner's code, and judges nothing: judge.py starts it and asks it for answers.

The process loads PyTorch and what the checks load, once. For each exercise it makes a copy of
itself (a new process, where the system cannot copy one), which is shut off from the machine
(confine.py), sets its limits, runs the learner's code and answers the judge's calls.
"""

import base64
import importlib
import json
import os
import pickle
import socket
import sys
import tracemalloc
from collections.abc import Iterable
from typing import Any

from tools.grading.channel import Channel, Died, words_of
from tools.grading.confine import DEATH_SIGNAL, confine, control_process
from tools.grading.plain import encode

LOAD, ANSWER, MEASURE = range(3)  # the functions that the judge calls

# The learner's code may change these modules; what is measured is measured with their own.
trace_memory, stop_tracing = tracemalloc.start, tracemalloc.stop
traced_memory, is_tracing = tracemalloc.get_traced_memory, tracemalloc.is_tracing


def main() -> None:
    """Serve the judge's requests, a line each: run one exercise, and say how its process ended."""
    control_process(DEATH_SIGNAL, 9)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # what modules and the learner's code print is dropped
        os.dup2(nowhere, stream)
    for line in sys.stdin:
        request = json.loads(line)
        importlib.import_module(request["room"])
        if not request["fork"] or (child := os.fork()) == 0:
            run(request)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code if code <= 128 else 128 - code, file=answers, flush=True)


def run(request: dict[str, Any]) -> None:
    """Run one exercise in this process; never returns."""
    try:
        if sys.platform == "linux":
            control_process(DEATH_SIGNAL, 9)
            os.closerange(3, 2**16)
        os.dup2(1, 0)
        connection = socket.create_connection(("127.0.0.1", request["port"]))
        os.chdir(request["folder"])
        if request["confined"]:
            confine(request["folder"], request["hidden"])
        forget_checks()
        os.environ["TMPDIR"] = request["folder"]
        set_limits(request["memory"])
        connection.sendall(request["token"].encode("ascii"))
        Learner(connection).serve_all()
    finally:
        os._exit(1)  # no code of the learner runs after this


class Learner(Channel):
    """The end of the channel at which the learner's code runs."""

    def __init__(self, connection: socket.socket) -> None:
        """Take a connection to the judge."""
        super().__init__(connection, encode_other, self.decode_given)
        self.functions = [self.load]
        self.models: list[tuple[int, Any]] = []  # of the current call that stay at the judge

    def serve_all(self) -> None:
        """Answer the judge's calls, for as long as it calls."""
        while True:
            self.send(self.serve(self.receive()))

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request; also where it stops with SystemExit and the like."""
        try:
            return super().serve(request)
        except Died:
            os._exit(1)
        except BaseException as error:
            return {"stop": type(error).__name__, "words": words_of(error)}

    def load(self, source: str, name: str) -> Any:
        """Run the learner's code; return dots if the name is now a function, else its value."""
        space: dict[str, Any] = {"__name__": "__submission__"}
        exec(compile(source, "notebook", "exec"), space)
        function = space[name]
        if not callable(function):
            return function

        def answer(*arguments: Any) -> Any:
            models, self.models = self.models, []
            result = function(*arguments)
            for report, model in models:
                states = [[w.grad is not None, w.requires_grad] for w in model.parameters()]
                self.evaluate(report, [states])
            return result

        self.functions = [self.load, answer, lambda *arguments: measured(answer, arguments)]
        return ...

    def decode_given(self, data: dict[str, Any]) -> Any:
        """What the judge passes: a function or a model that stays there, or a model's copy."""
        if data["kind"] == "pickle":  # from the judge, so it may be trusted; none goes back
            return pickle.loads(base64.b64decode(data["data"]))

        def call(*arguments: Any) -> Any:
            return self.call(data["number"], arguments)

        if data["kind"] == "function":
            return call
        from tools.grading.elsewhere import ModelElsewhere

        model = ModelElsewhere(call, data["shapes"], data["frozen"], data["training"])
        self.models.append((data["report"], model))
        return model


def measured(answer: Any, arguments: Iterable[Any]) -> tuple[Any, int]:
    """An answer, and the most memory that Python used for it, in bytes."""
    trace_memory()
    before = traced_memory()[0]
    try:
        result = answer(*arguments)
        return result, traced_memory()[1] - before if is_tracing() else sys.maxsize
    finally:
        stop_tracing()


def encode_other(value: Any) -> dict[str, Any]:
    """What is no plain data, as the judge is told of it: its type's name, and what it gives out."""
    items = None
    if isinstance(value, Iterable) and not hasattr(value, "__len__"):  # a generator, map or zip
        items = [encode(item, encode_other) for item in value]
    return {"kind": "object", "name": type(value).__name__, "items": items}


def forget_checks() -> None:
    """Remove the checks from this process: their references are right answers."""
    for name in [name for name in sys.modules if name.startswith("xai_course.exercises")]:
        vars(sys.modules.pop(name)).clear()
    if "xai_course" in sys.modules:
        vars(sys.modules["xai_course"]).pop("exercises", None)


def set_limits(memory: int) -> None:
    """Limit memory to what is used now and `memory` MB more, and files to 100 MB.

    Windows has no such limits, and macOS none on memory.
    """
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (10**8, 10**8))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as statm:
            taken = int(statm.read().split()[0]) * resource.getpagesize()
        most = taken + memory * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
