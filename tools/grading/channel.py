"""A channel on which the judge and the process of a learner's code call each other's functions.

Both ends are alike. A request names a function by its number and carries its arguments as plain
data (plain.py). Before the reply, the other end may send requests of its own: so the learner's
code calls a function that the check passed to it, and that function runs at the judge. A request
to *derive* asks for the derivatives of an earlier result by its arguments, so that gradients pass
through a function that runs elsewhere.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tools.grading.plain import Other, decode, encode

HEADER = struct.Struct("!I")  # the length of the message that follows, in bytes


class Ended(BaseException):
    """The other end answers no more; the message says why. `except Exception` misses it."""


class Died(Ended):
    """The other end closed the channel."""


class Channel:
    """One end of a channel.

    `encode_other` and `decode_other` pass what is no plain data. With `most`, the other end may
    send so many bytes in all; with `seconds`, its answers may take so long in all.
    """

    def __init__(
        self,
        connection: socket.socket,
        encode_other: Other,
        decode_other: Other,
        most: int = 2**32,
        seconds: float | None = None,
    ) -> None:
        """Take a connection to the other end."""
        self.connection = connection
        self.encode_other, self.decode_other = encode_other, decode_other
        self.left, self.allowed = most, seconds
        self.seconds, self.until = seconds, 0.0  # what is left, and until when it lasts
        self.functions: list[Callable[..., Any]] = []  # those that the other end may call
        self.results: list[tuple[list[Any], Any]] = []  # those that it may derive: inputs, output
        self.process, self.one_at_a_time = os.getpid(), threading.RLock()

    # --- asking the other end ---------------------------------------------------------------------

    def call(self, number: int, arguments: Sequence[Any]) -> Any:
        """Call the other end's function of this number; gradients pass through it."""
        torch = sys.modules.get("torch")
        if torch is not None and torch.is_grad_enabled():
            derived = [isinstance(a, torch.Tensor) and a.requires_grad for a in arguments]
            if any(derived):
                from tools.grading.elsewhere import call_with_derivatives

                return call_with_derivatives(self, number, arguments, derived)
        return self.evaluate(number, arguments)[0]

    def evaluate(self, number: int, arguments: Sequence[Any]) -> tuple[Any, int | None]:
        """Call a function of the other end; return its result, and the number to derive it by."""
        sent = [encode(argument, self.encode_other) for argument in arguments]
        reply = self.ask({"call": number, "arguments": sent})
        return self.read(reply["reply"]), reply.get("result")

    def derive(self, result: int, by: Any) -> list[Any]:
        """The derivatives of an earlier result by its inputs, multiplied by the tensor `by`."""
        asked = {"derive": result, "by": encode(by.detach(), self.encode_other)}
        return [self.read(one) for one in self.ask(asked)["reply"]]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request, and serve those of the other end until its reply is here."""
        with self.one_at_a_time:
            start = time.monotonic()
            if self.seconds is not None:
                self.until = start + self.seconds
            try:
                self.send(request)
                while not {"reply", "error", "stop"} & (message := self.receive()).keys():
                    self.send(self.serve(message))
            finally:
                if self.seconds is not None:
                    self.seconds -= time.monotonic() - start
        if "reply" not in message:
            raise read_error(message)
        return message

    def read(self, data: Any) -> Any:
        """A decoded value, or Ended if it cannot be decoded."""
        try:
            return decode(data, self.decode_other)
        except Exception as error:
            raise Ended(f"its answer cannot be read ({type(error).__name__})") from error

    # --- answering it -----------------------------------------------------------------------------

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request: a result, or the error that it raised."""
        torch = sys.modules.get("torch")
        # A request may come while this end computes without gradients, within a call of its own.
        gradients = torch.enable_grad() if torch is not None else contextlib.nullcontext()
        try:
            with gradients:
                if "derive" in request:
                    return self.serve_derivatives(request)
                return self.serve_call(request)
        except Exception as error:
            return {"error": type(error).__name__, "words": words_of(error)}

    def serve_call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Call one of the functions with copies of its arguments."""
        inputs, arguments = [], []
        for data in request["arguments"]:
            argument = decode(data, self.decode_other)
            if getattr(argument, "requires_grad", False) is True:
                inputs.append(argument)
                argument = argument.clone()  # so that it may be changed in place
            arguments.append(argument)
        result = self.functions[request["call"]](*arguments)
        reply = {"reply": encode(result, self.encode_other)}
        if inputs and getattr(result, "requires_grad", False) is True:
            self.results.append((inputs, result))
            reply["result"] = len(self.results) - 1
        return reply

    def serve_derivatives(self, request: dict[str, Any]) -> dict[str, Any]:
        """Derive an earlier result by its inputs."""
        import torch

        inputs, result = self.results[request["derive"]]
        by = decode(request["by"], self.decode_other)
        found = torch.autograd.grad(
            result, inputs, by, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return {"reply": [encode(one.detach(), self.encode_other) for one in found]}

    # --- messages ---------------------------------------------------------------------------------

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; a copy of this process that the learner's code made does not."""
        if os.getpid() != self.process:
            os._exit(0)
        text = json.dumps(message).encode("ascii")
        with self.limited():
            self.connection.sendall(HEADER.pack(len(text)) + text)

    def receive(self) -> dict[str, Any]:
        """The next message; raises Ended if none comes in time, or if it is none."""
        (length,) = HEADER.unpack(self.receive_bytes(HEADER.size))
        self.left -= length
        if self.left < 0:
            raise Ended("its answers are too large")
        try:
            message = json.loads(self.receive_bytes(length))
        except (ValueError, RecursionError) as error:
            raise Ended(f"its answer cannot be read ({type(error).__name__})") from error
        if not isinstance(message, dict):
            raise Ended("its answer cannot be read (no message)")
        return message

    def receive_bytes(self, count: int) -> bytes:
        """Exactly so many bytes."""
        parts = bytearray()
        while len(parts) < count:
            with self.limited():
                part = self.connection.recv(min(count - len(parts), 2**20))
            if not part:
                raise Died("the process ended before its time")
            parts += part
        return bytes(parts)

    @contextlib.contextmanager
    def limited(self) -> Iterator[None]:
        """Wait for the other end no longer than is left of its time."""
        try:
            if self.seconds is not None:
                left = self.until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.connection.settimeout(left)
            yield
        except TimeoutError:
            raise Ended(f"it did not end within {self.allowed:g} seconds") from None
        except OSError as error:
            raise Died("the process ended before its time") from error


def words_of(error: BaseException) -> str:
    """What an error says; errors of a learner's own classes may fail at that, too."""
    try:
        return str(error)
    except Exception as second:
        return type(second).__name__


def read_error(message: dict[str, Any]) -> BaseException:
    """The error of a reply: of the same name and words, but of no class of the other end."""
    name, words = str(message.get("error", message.get("stop"))), str(message.get("words"))
    if "error" not in message:
        return Ended(f"it stopped with {name}: {words}")
    for known in (NotImplementedError, MemoryError, RuntimeError, ValueError, TypeError):
        if name == known.__name__:
            return known(words)
    kind: type[Exception] = type(name if name.isidentifier() else "Error", (Exception,), {})
    return kind(words)
