"""Judges a learner's answers: draws the inputs, asks the sandbox for answers, and calls the check.

The learner's code runs in a process of its own (sandbox.py). A check of the course is called here,
with a function that sends its arguments there and brings the result back as plain data. So the
check, PyTorch and the right answers are out of the learner's reach.
"""

import base64
import contextlib
import functools
import hashlib
import importlib
import itertools
import json
import os
import pickle
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tools.grading.channel import Channel, Died, Ended
from tools.grading.confine import SUBREAPER, control_process
from tools.grading.plain import decode_items
from tools.grading.sandbox import ANSWER, LOAD, MEASURE
from tools.lessons.outputs import ROOT

ROUNDS = 3  # a check draws new inputs each time; a wrong answer can be right once by chance
LARGEST_ANSWERS = 20_000_000  # bytes that one exercise may send to the judge
LARGEST_MEASURED = 100_000_000  # bytes
PROCESSES = 32  # that one exercise may start
SHORTLY, PATIENCE = 0.5, 3.0  # seconds to wait for a process to end


@dataclass(frozen=True)
class Limits:
    """What one exercise may use: seconds, and MB beyond what the checks themselves use.

    `starting`: seconds that the process has to load PyTorch and the checks.
    """

    seconds: float = 20
    memory: int = 2000
    starting: float = 60


# --- an exercise ----------------------------------------------------------------------------------


def judge(job: dict[str, Any], limits: Limits, sandbox: "Sandbox") -> tuple[str, str]:
    """Run one exercise; return its status and the words.

    The job names the learner's `function`, the `source` that it needs, and its `check` in a `room`.
    """
    check = getattr(importlib.import_module(job["room"]), job["check"])
    try:
        with sandbox.process(job["room"], limits) as connection:
            channel = Judge(connection, limits.seconds)
            return examine(job, check, channel)
    except Ended as ended:
        return "error", str(ended)


def examine(job: dict[str, Any], check: Callable[..., Any], channel: "Judge") -> tuple[str, str]:
    """Load the learner's code in the sandbox, and call the check in rounds until one fails."""
    try:
        answer = channel.call(LOAD, [job["source"], job["function"]])
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return "error", f"the code that it needs stopped with {type(error).__name__}: {first}"
    try:
        with known_inputs(job["source"]):
            for _ in range(ROUNDS):
                feedback = check(channel.answer if answer is ... else answer)
                if feedback.status != "yes":
                    break
    except Exception as error:  # what the check does not expect of an answer
        return "error", f"the check stopped with {type(error).__name__}: {error}"
    return feedback.status, feedback.words


@contextlib.contextmanager
def known_inputs(source: str) -> Iterator[None]:
    """Give the checks seeds that depend on the learner's code.

    So a notebook gets the same sentence each time, and nobody can write down the right answers:
    with them the inputs would be others.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    seeds = itertools.count(int(hashlib.sha256(source.encode()).hexdigest()[:8], 16))
    real = torch.seed
    torch.seed = lambda: torch.manual_seed(next(seeds)).initial_seed()
    try:
        yield
    finally:
        torch.seed = real


class Judge(Channel):
    """The judge's end of the channel: what it reads is limited in time and size, and never runs."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        """Take a connection to the sandbox."""
        super().__init__(connection, self.encode_other, self.decode_other, LARGEST_ANSWERS, seconds)

    def answer(self, *arguments: Any) -> Any:
        """The learner's function, as the check sees it."""
        if not tracemalloc.is_tracing():
            return self.call(ANSWER, arguments)
        result, used = self.call(MEASURE, arguments)
        bytearray(min(used, LARGEST_MEASURED))  # the check measures this process: it sees as much
        return result

    def encode_other(self, value: Any) -> dict[str, Any]:
        """A function stays here. So does a model whose passes the check counts; others are copied.

        A copy may be pickled: pickle is unsafe to read, and it is only read at the other end.
        """
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.nn.Module):
            if not value._forward_hooks:
                data = base64.b64encode(pickle.dumps(value)).decode("ascii")
                return {"kind": "pickle", "data": data}
            weights = list(value.parameters())
            return {
                "kind": "model",
                "number": self.offer(value),
                "report": self.offer(lambda states: take_states(weights, states)),
                "shapes": [list(weight.shape) for weight in weights],
                "frozen": [not weight.requires_grad for weight in weights],
                "training": value.training,
            }
        if callable(value):
            return {"kind": "function", "number": self.offer(value)}
        raise TypeError(f"value: got {type(value).__name__}; must be plain data, or callable.")

    def offer(self, function: Callable[..., Any]) -> int:
        """Let the other end call a function; return its number."""
        self.functions.append(function)
        return len(self.functions) - 1

    def decode_other(self, data: dict[str, Any]) -> Any:
        """What is no plain data: an object that has a type's name, and gives out some items."""
        name = data["name"] if data["name"].isidentifier() else "object"
        members: dict[str, Any] = {"__repr__": lambda self: f"<{name}>"}
        if data["items"] is not None:
            items = decode_items(data["items"], self.decode_other)
            members["__iter__"] = lambda self: iter(items)
        return type(name, (), members)()


def take_states(weights: list[Any], states: list[list[bool]]) -> None:
    """Set of a model's weights, as the learner's copy has them, which have gradients."""
    for weight, (has_gradient, requires_grad) in zip(weights, states, strict=True):
        weight.grad = weight.new_zeros(weight.shape) if has_gradient else None
        weight.requires_grad_(bool(requires_grad))


# --- the process ----------------------------------------------------------------------------------


class Sandbox:
    """The process that runs learners' code, started when it is needed: use it in a `with`.

    With `confined`, each exercise is shut off from the machine (confine.py), and from the folder of
    submissions. With `fork`, the process copies itself for each exercise; without, a new one is
    started each time.
    """

    def __init__(
        self,
        confined: bool | None = None,
        fork: bool = sys.platform == "linux",
        submissions: Path | None = None,
    ) -> None:
        """Say how exercises are to run; nothing is started."""
        self.confined = can_confine() if confined is None else confined
        self.fork = fork
        self.hidden = [str(place) for place in places_of_answers(submissions)]
        self.running: subprocess.Popen[str] | None = None
        self.code: int | None = None  # how the current exercise's process ended
        self.too_many = False  # whether it was ended since it started too many others

    def __enter__(self) -> "Sandbox":
        """Note which processes there are, so that others can be ended."""
        control_process(SUBREAPER, 1)  # an orphan in whatever session becomes a child of this one
        self.others = set(psutil.Process().children(recursive=True))
        return self

    def __exit__(self, *error: object) -> None:
        """End all others."""
        self.stop()
        control_process(SUBREAPER, 0)

    @contextlib.contextmanager
    def process(self, room: str, limits: Limits) -> Iterator[socket.socket]:
        """A connection to a process for one exercise; at the end, all that it started is ended."""
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            socket.create_server(("127.0.0.1", 0)) as server,
        ):
            token = secrets.token_hex(16)
            request = {"room": room, "token": token, "port": server.getsockname()[1]}
            request |= {"folder": folder, "hidden": self.hidden, "memory": limits.memory}
            over = threading.Event()
            watch = threading.Thread(target=self.watch, args=[over])
            watch.start()
            try:
                self.send(request | {"fork": self.fork, "confined": self.confined})
                with self.connected(server, token, limits.starting) as connection:
                    yield connection
            except Died as died:
                raise Ended(f"{died}: {self.how_it_ended()}") from None
            finally:
                over.set()
                watch.join()
                self.status(SHORTLY)  # it ends by itself, unless the learner's code runs on
                self.end_others()
                if self.status(PATIENCE) is None:
                    self.stop()

    def send(self, request: dict[str, Any]) -> None:
        """Send a request to the process, which is started if there is none."""
        if self.running is None or self.running.poll() is not None:
            self.stop()
            self.running = start([sys.executable, "-P", "-m", "tools.grading.sandbox"])
        assert self.running.stdin is not None
        self.code, self.too_many = None, False
        self.running.stdin.write(json.dumps(request) + "\n")
        self.running.stdin.flush()

    def connected(self, server: socket.socket, token: str, seconds: float) -> socket.socket:
        """The connection that shows the token."""
        until = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while (left := until - time.monotonic()) > 0:
                server.settimeout(left)
                connection, _ = server.accept()
                connection.settimeout(left)
                if connection.recv(len(token), socket.MSG_WAITALL) == token.encode():
                    return connection
                connection.close()
                if self.status(SHORTLY) is not None:
                    raise Died("the process ended before its time")
        raise Ended(f"its process did not start within {seconds:g} seconds")

    def status(self, seconds: float) -> int | None:
        """How the exercise's process ended; None if it does not end within these seconds."""
        if self.code is None and self.running is not None and self.running.stdout is not None:
            if not self.fork:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.code = self.running.wait(seconds)
            elif select.select([self.running.stdout], [], [], seconds)[0]:
                told = self.running.stdout.readline()
                self.code = int(told) if told else self.running.wait(PATIENCE)
        return self.code

    def how_it_ended(self) -> str:
        """How the exercise's process ended, in words."""
        code = self.status(PATIENCE)
        if self.too_many:
            return f"it started more than {PROCESSES} processes"
        if code is None or code >= 0:
            return f"status {code}"
        name = signal.Signals(-code).name
        return "killed from outside" if name == "SIGKILL" else name

    def watch(self, over: threading.Event) -> None:
        """End an exercise that starts too many processes, however fast it does."""
        while not over.wait(SHORTLY / 2):
            if len(self.started()) > PROCESSES:
                self.too_many = True
                self.end_others()

    def started(self) -> set[psutil.Process]:
        """The processes of the current exercise: all of this one's but those that are to go on."""
        kept = set(self.others)
        if self.fork and self.running is not None:
            with contextlib.suppress(psutil.Error):
                kept.add(psutil.Process(self.running.pid))
        return set(psutil.Process().children(recursive=True)) - kept

    def end_others(self) -> None:
        """End the processes of the current exercise."""
        until = time.monotonic() + PATIENCE
        while left := self.started():
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=0.05)
            if time.monotonic() > until:
                break

    def stop(self) -> None:
        """End the process, and all that it started."""
        if self.running is not None:
            self.running.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.running.wait(PATIENCE)
            for pipe in (self.running.stdin, self.running.stdout):
                if pipe is not None:
                    pipe.close()
            self.running = None
        self.end_others()


def places_of_answers(submissions: Path | None) -> Iterator[Path]:
    """The folders from which an answer could be taken, and which no answer needs."""
    answers = ("lessons", "notebooks", "build", "tests", ".git", "xai_course/exercises")
    yield from (ROOT / name for name in answers if (ROOT / name).is_dir())
    needed = [Path(place).resolve() for place in (ROOT, sys.prefix, sys.base_prefix)]
    if submissions is not None:
        submissions = submissions.resolve()
        if not any(submissions == place or submissions in place.parents for place in needed):
            yield submissions


def start(command: list[str]) -> "subprocess.Popen[str]":
    """Start a process of the sandbox: one thread, no GPU, no window."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg", "PYTHONPATH": paths}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
        env=environment,
        text=True,
        start_new_session=True,
    )


@functools.cache
def can_confine() -> bool:
    """Say whether a process can be shut off from this machine."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "tools.grading.confine", folder]
        with start(command) as process:
            return process.wait(60) == 0
