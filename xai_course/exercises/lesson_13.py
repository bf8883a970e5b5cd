"""Checks of lesson 13, Explanations under attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, check


def _alarm(clean: Tensor, suspect: Tensor, level: float) -> Tensor:
    """Return where one method sounds the alarm, each with this level of false alarms."""
    return suspect > clean.quantile(1 - level, dim=1, keepdim=True)


@check
def check_alarm(answer: Callable[..., Any]) -> str:
    """`answer(clean, suspect, false_alarms)` says where at least one method sounds the alarm."""
    for methods, share in ((2, 0.1), (4, 0.2), (1, 0.05)):
        scale = torch.arange(1.0, methods + 1)[:, None]  # maps of one method are larger throughout
        clean = scale * torch.rand(methods, 50)
        suspect = scale * (0.6 + 0.6 * torch.rand(methods, 80))
        given = (clean, suspect, share)
        right = _alarm(clean, suspect, share / methods)
        got = ask(answer, *given)
        if not isinstance(got, Tensor):
            raise Wrong("It returns {kind}, and should return a tensor.", kind=type(got).__name__)
        if tuple(got.shape) != (80,):
            raise Wrong(
                "It returns shape {shape}, and should return (80,): a picture.",
                shape=tuple(got.shape),
            )
        got = got.bool()
        if got.equal(right.any(0)):
            continue
        if got.equal(_alarm(clean, suspect, share).any(0)):
            raise Wrong(
                "Each method alone has {share:.0%} false alarms, so {methods} methods have "
                "more. Divide by their number.",
                share=share,
                methods=methods,
            )
        if got.equal(right.all(0)):
            raise Wrong("This asks for an alarm of every method. One is enough.")
        if got.equal(~right.any(0)):
            raise Wrong("True where no alarm sounds; it should be the other way round.")
        pooled = suspect > clean.flatten().quantile(1 - share / methods)
        if got.equal(pooled.any(0)):
            raise Wrong("This is one limit for all methods. Each has its own: dim=1.")
        if got.equal((suspect > clean.quantile(share / methods, dim=1, keepdim=True)).any(0)):
            raise Wrong("The limit is at the lower end of the clean shares; take the upper one.")
        raise Wrong(
            "Of 80 pictures {expected} should sound the alarm, with you {got}; {wrong} are wrong.",
            expected=int(right.any(0).sum()),
            got=int(got.sum()),
            wrong=int((got != right.any(0)).sum()),
        )
    return translate("One alarm is enough, and all methods together keep the rate of false alarms.")


@check
def check_auroc(answer: Callable[..., Any]) -> str:
    """`answer(strange, known)` gives the area under the ROC curve; a tie counts half."""
    for count, ties in ((7, False), (40, False), (12, True)):
        strange, known = torch.randn(count) + 0.5, torch.randn(2 * count + 1)
        if ties:
            strange, known = strange.round(), known.round()
        got = ask(answer, strange, known)
        if isinstance(got, bool) or not isinstance(got, int | float | Tensor):
            raise Wrong("It returns {kind}, and should return one number.", kind=type(got).__name__)
        if isinstance(got, Tensor) and got.numel() != 1:
            raise Wrong(
                "It returns shape {shape}, and should return one number.", shape=tuple(got.shape)
            )
        value, larger = float(got), (strange[:, None] > known).double().mean().item()
        equal = (strange[:, None] == known).double().mean().item()
        right = larger + equal / 2
        if abs(value - right) < 1e-5:
            continue
        if abs(value - (1 - right)) < 1e-5:
            raise Wrong("You count the pairs in which the known image has the larger score.")
        if abs(value - larger) < 1e-5 or abs(value - larger - equal) < 1e-5:
            raise Wrong(
                "In {equal:.0%} of the pairs the two scores are equal. Such a pair counts half.",
                equal=equal,
            )
        if abs(value - right * len(strange) * len(known)) < 1e-2:
            raise Wrong("This is the number of pairs. Divide by the number of all pairs.")
        threshold = known.double().quantile(0.95)
        if abs(value - (strange > threshold).double().mean().item()) < 1e-5:
            raise Wrong("This is the share above one threshold. The area uses all thresholds.")
        raise Wrong(
            "For {strange} strange and {known} known scores you return {value:.3f}; the "
            "strange one is larger in {right:.3f} of the pairs.",
            strange=len(strange),
            known=len(known),
            value=value,
            right=right,
        )
    return translate(
        "The share of pairs in which the strange image has the larger score: 0.5 is a coin."
    )
