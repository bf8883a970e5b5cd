"""What the checks of exercises share: a check tries the learner's function on random inputs.

A check takes the learner's function and returns a `Feedback`. It never raises an error for the
learner: a stub gives *not yet*, an error in the learner's code gives *no* with the message of that
error. The random inputs are new at every call; the learner's own random state stays as it was.
"""

from __future__ import annotations

import dis
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import message, translate

STUB = message("Replace the dots in the cell above, run it, then this one.")
MARKS = {
    "yes": message("✅ **Yes.**"),
    "not yet": message("⏳ **Not yet.**"),
    "no": message("❌ **No.**"),
}
STATUS = {"yes": message("yes"), "not yet": message("not yet"), "no": message("no")}


@dataclass(frozen=True)
class Feedback:
    """The result of a check: `status` is "yes", "not yet" or "no"; `words` explain it."""

    status: str
    words: str

    def _repr_markdown_(self) -> str:
        return f"{translate(MARKS[self.status])} {self.words}"

    def __repr__(self) -> str:
        """Return the feedback as a line of plain text."""
        return translate(
            "{status}: {words}", status=translate(STATUS[self.status]), words=self.words
        )


class InWords(Exception):
    """A result of a check, in the learner's language."""

    def __init__(self, text: str, /, **values: Any) -> None:
        """Take an English text and its values, as `translate` does."""
        super().__init__(translate(text, **values))


class Unanswered(InWords):
    """There is no answer to check yet; the message says what to do."""


class Wrong(InWords):
    """The answer is wrong; the message says what is wrong with it."""


Check = Callable[[Callable[..., Any]], Feedback]


def check(examine: Callable[[Callable[..., Any]], str]) -> Check:
    """Make a check of a function that examines an answer: it returns praise, or raises `Wrong`."""

    @wraps(examine)
    def checked(answer: Callable[..., Any]) -> Feedback:
        if not callable(answer):
            words = translate(
                "this is {kind}; pass the function itself, without ().", kind=type(answer).__name__
            )
            return Feedback("no", words)
        state = random.getstate()
        try:
            with torch.random.fork_rng(devices=[]):
                random.seed(torch.seed())
                return Feedback("yes", examine(answer))
        except Unanswered as unanswered:
            return Feedback("not yet", str(unanswered))
        except Wrong as wrong:
            return Feedback("no", str(wrong))
        finally:
            random.setstate(state)

    return checked


def ask(answer: Callable[..., Any], *arguments: Any) -> Any:
    """Call the learner's function on copies; a stub and an error in it become feedback."""
    copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        result = answer(*copies)
    except Exception as error:
        if isinstance(error, NotImplementedError) and _is_raised_by_a_stub(error):
            raise Unanswered(STUB) from None
        # Whatever the learner's code can raise is something for the learner to read.
        raise Wrong(
            "Your function stopped with {kind}: {error}", kind=type(error).__name__, error=error
        ) from error
    if result is ...:
        raise Unanswered(STUB)
    if result is None:
        raise Unanswered("Your function returns nothing: does it end with `return`?")
    return result


def _is_raised_by_a_stub(error: NotImplementedError) -> bool:
    """Tell a `raise` in the learner's code from an operation that PyTorch does not have."""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    step = dis.opname[frame.f_code.co_code[trace.tb_lasti]]  # what it did last
    library = str(frame.f_globals.get("__name__")).partition(".")[0]
    return step == "RAISE_VARARGS" and library not in ("torch", "torchvision", "numpy")


def ask_tensor(answer: Callable[..., Any], shape: tuple[int, ...], *arguments: Any) -> Tensor:
    """Call the learner's function, which is to return a tensor of this shape."""
    result = ask(answer, *arguments)
    if not isinstance(result, Tensor):
        how = (
            translate(" (torch.from_numpy converts it)")
            if type(result).__name__ == "ndarray"
            else ""
        )
        raise Wrong(
            "It returns {kind}, and should return a tensor{how}.",
            kind=type(result).__name__,
            how=how,
        )
    if tuple(result.shape) != shape:
        raise Wrong(
            "It returns shape {shape}, and should return {wanted}.",
            shape=tuple(result.shape),
            wanted=shape,
        )
    return result.detach()


def close(first: Tensor, second: Tensor, within: float = 1e-4) -> bool:
    """Say whether two tensors agree, relative to the second one's largest value."""
    first, second = first.detach(), second.detach()
    scale = max(float(second.abs().max()), 1e-12)
    return (
        bool(torch.isfinite(first).all()) and float((first - second).abs().max()) < within * scale
    )
