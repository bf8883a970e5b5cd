"""Checks of lesson 11, Deeper and larger."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.beetlebox.scene import SPECIES
from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close
from xai_course.experiments.scaling import slope_per_doubling


def _number(got: Any, asked: str) -> float:
    """Return an answer as a number, or raise Wrong if it is none."""
    if isinstance(got, Tensor) and got.numel() == 1:
        return float(got)
    if isinstance(got, bool) or not isinstance(got, int | float):
        raise Wrong("{asked} you return {got!r}; return one number.", asked=asked, got=got)
    return float(got)


@check
def check_slope(answer: Callable[..., Any]) -> str:
    """`answer(x, y)` gives the least squares rise of y for each doubling of x."""
    for size in (2, 3, 6):
        x = [float(2**k) for k in torch.randperm(10)[:size].tolist()]
        y = torch.randn(size).tolist()
        asked = translate("For x = {x} and y = {y}", x=x, y=[round(v, 2) for v in y])
        got, right = _number(ask(answer, x, y), asked), slope_per_doubling(x, y)
        if abs(got - right) < 1e-4:
            continue
        if abs(got * math.log(2) - right) < 1e-4 or abs(got * math.log10(2) - right) < 1e-4:
            raise Wrong("{asked} this is the slope on another logarithm. Use log2.", asked=asked)
        plain = slope_per_doubling([2**v for v in x], y) if max(x) < 1000 else math.nan
        if abs(got - plain) < 1e-4:
            raise Wrong("{asked} you fit on x itself. Take log2 of x first.", asked=asked)
        ends = sorted(zip(x, y, strict=True))
        between = math.log2(ends[-1][0] / ends[0][0])
        if abs(got - (ends[-1][1] - ends[0][1]) / between) < 1e-4:
            raise Wrong(
                "{asked} you use the two ends alone. Least squares uses every point.", asked=asked
            )
        raise Wrong(
            "{asked} you return {got:.3f}; the slope is {right:.3f}.",
            asked=asked,
            got=got,
            right=right,
        )
    return translate("That is the rise per doubling, with every point in it.")


@check
def check_item(answer: Callable[..., Any]) -> str:
    """`answer(index, per_species)` gives the species and the number of an item, without a list."""
    names = list(SPECIES)
    cases = [(0, 3), (2, 3), (3, 3), (29, 3), (9_999_999, 1_000_000)]
    cases += [(int(torch.randint(4000, ())), 400) for _ in range(5)]
    for index, per_species in cases:
        tracing = tracemalloc.is_tracing()
        if not tracing:
            tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            got = ask(answer, index, per_species)
            used = tracemalloc.get_traced_memory()[1] - before
        finally:
            if not tracing:
                tracemalloc.stop()
        asked = translate(
            "For item {index} with {per_species} scenes of each species",
            index=index,
            per_species=per_species,
        )
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(
                "{asked} you return {got!r}; return (species, number).", asked=asked, got=got
            )
        right = (names[index // per_species], index % per_species)
        if tuple(got) != right:
            if tuple(got) == (names[index % len(names)], index // len(names)):
                raise Wrong(
                    "{asked}: the species do not alternate; first all of the first one.",
                    asked=asked,
                )
            raise Wrong(
                "{asked} you return {got!r}; it is {right!r}.",
                asked=asked,
                got=tuple(got),
                right=right,
            )
        if used > 1_000_000:
            raise Wrong(
                "{asked} your function needs {used:.0f} MB. Two divisions are enough: no "
                "list of all scenes.",
                asked=asked,
                used=used / 1e6,
            )
    return translate("Ten million scenes, and nothing but two whole numbers in memory.")


@check
def check_gradient_of_batch(answer: Callable[..., Any]) -> str:
    """`answer(gradients, counts)` gives the gradient of the whole batch's mean loss."""
    for counts in ([3, 2], [4, 4], [1, 0, 7], [5]):
        gradients = [torch.randn(3, 2) for _ in counts]
        got = ask_tensor(answer, (3, 2), gradients, counts)
        weighted = [n * g for g, n in zip(gradients, counts, strict=True)]
        right = torch.stack(weighted).sum(0) / sum(counts)
        asked = translate("For {counts} images", counts=counts)
        if close(got, right):
            continue
        if close(got, torch.stack(gradients).mean(0)):
            raise Wrong(
                "{asked} this is the plain mean: images of a small share count more.", asked=asked
            )
        if close(got, right * sum(counts)):
            raise Wrong(
                "{asked} this is a sum. The loss is the mean over all {sum}.",
                asked=asked,
                sum=sum(counts),
            )
        if close(got, right * sum(counts) / len(counts)):
            raise Wrong("{asked}: divide by the number of images, not of processes.", asked=asked)
        raise Wrong("{asked} this is not the gradient of the batch's mean loss.", asked=asked)
    return translate(
        "Every image counts the same, whoever had it. With equal shares it is the plain mean."
    )
