"""Checks of lesson 14, Your own model."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


def _divergence(mean: Tensor, variance: Tensor, m: Tensor, v: Tensor) -> Tensor:
    """Return the KL divergence of each channel, (K,), of a batch's m and v from the memory."""
    return (v / variance + (m - mean).square() / variance - 1 - (v / variance).log()) / 2


@check
def check_surprise(answer: Callable[..., Any]) -> str:
    """`answer(x, mean, variance)` gives the KL divergence of a batch normalisation: one number."""
    x = torch.randn(5, 4, 3, 2) * (1 + torch.rand(4, 1, 1)) + torch.randn(4, 1, 1)
    mean, variance = torch.randn(4), 0.3 + torch.rand(4)
    got = ask(answer, x, mean, variance)
    if isinstance(got, Tensor) and got.shape == (4,):
        raise Wrong("This is one number for each channel; take their mean at the end.")
    if isinstance(got, float):
        got = torch.tensor(got)
    got = ask_tensor(lambda *_: got, ())
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    right = _divergence(mean, variance, m, v)
    if close(got, right.mean()):
        return translate("A network's own memory of what it was trained on, read back.")
    ratio, moved = v / variance, (m - mean).square() / variance
    halves = {  # the sum in the formula, before the ½
        translate(
            "The ratio is the wrong way round: v is divided by the remembered variance σ²."
        ): (variance / v + moved - 1 - (variance / v).log()),
        translate("The first ratio is the wrong way round: v is divided by σ²."): (
            variance / v + moved - 1 - ratio.log()
        ),
        translate("The sign of the logarithm: ln(v / σ²) is subtracted."): ratio
        + moved
        - 1
        + ratio.log(),
        translate("The difference of the means, m - μ, is not squared."): (
            ratio + (m - mean) / variance - 1 - ratio.log()
        ),
        translate("The square (m - μ)² is not divided by σ²."): (
            ratio + (m - mean).square() - 1 - ratio.log()
        ),
        translate("The square (m - μ)² is divided by σ; divide it by σ²."): (
            ratio + (m - mean).square() / variance.sqrt() - 1 - ratio.log()
        ),
        translate(
            "The square (m - μ)² is divided by v; divide it by the remembered variance σ²."
        ): (ratio + (m - mean).square() / v - 1 - ratio.log()),
        translate("The term of the means, (m - μ)² / σ², is missing."): ratio - 1 - ratio.log(),
        translate("The first term, v / σ², is missing."): moved - 1 - ratio.log(),
        translate("The logarithm is of base 10; take the natural one, torch.log."): (
            ratio + moved - 1 - ratio.log10()
        ),
        translate("The logarithm is of base 2; take the natural one, torch.log."): (
            ratio + moved - 1 - ratio.log2()
        ),
        translate("v is a variance: take x.var, not x.std."): (
            v.sqrt() / variance + moved - 1 - (v.sqrt() / variance).log()
        ),
        translate("`variance` is σ² already: do not square it."): (
            v / variance.square()
            + (m - mean).square() / variance.square()
            - 1
            - (v / variance.square()).log()
        ),
        translate("The ½ belongs to all four terms: put them into brackets."): (
            ratio + 2 * (moved - 1 - ratio.log())
        ),
    }
    for words, sums in halves.items():
        if close(got, (sums / 2).mean()):
            raise Wrong(words)
    together = _divergence(mean, variance, x.mean(), x.var(correction=0)).mean()
    if close(got, together):
        raise Wrong("One mean and one variance for all channels; each channel has its own.")
    if close(got, _divergence(mean, variance, m, x.var((0, 2, 3))).mean()):
        raise Wrong("The variance divides by one less than the number; use correction=0.")
    if close(got, 2 * right.mean()):
        raise Wrong("Twice too much: the ½ is missing.")
    if close(got, right.sum()):
        raise Wrong("This is the sum over the channels; take the mean.")
    other_way = _divergence(m, v, mean, variance).mean()
    if close(got, other_way):
        raise Wrong("Batch and memory are exchanged: divide by the remembered variance σ².")
    if close(got, (right + 0.5).mean()):
        raise Wrong("0.5 too much: the −1 is missing, so that no change does not give 0.")
    if close(got, (right + (v / variance).log() / 2).mean()):
        raise Wrong("The logarithm is missing.")
    by_image = [_divergence(mean, variance, one.mean((1, 2)), one.var((1, 2), correction=0))
                for one in x]  # fmt: skip
    if close(got, torch.stack(by_image).mean()):
        raise Wrong(
            "One divergence for each image, averaged; take mean and variance over all images."
        )
    raise Wrong("It gives {got:.3f}, and should give {right:.3f}.", got=got, right=right.mean())


class _Memory:
    """A machine that holds `most` items at a time, later `least`, and records its requests."""

    def __init__(self, most: int, least: int) -> None:
        self.room, self.least = most, least
        self.asked: list[int] = []
        self.done = 0

    def __call__(self, part: Any) -> list[int]:
        self.asked.append(len(part))
        if len(part) > self.room:
            raise MemoryError
        self.done += len(part)
        self.room = self.least
        return [item * item for item in part]


def _go_on(run: Callable[[list[int]], list[int]], items: list[int], size: int) -> list[int]:
    """Return the reference of exercise 2."""
    done: list[int] = []
    while len(done) < len(items):
        try:
            done += run(items[len(done) : len(done) + size])
        except MemoryError:
            if size == 1:
                raise
            size //= 2
    return done


@check
def check_go_on(answer: Callable[..., Any]) -> str:
    """`answer(run, items, size)` gives all results, halving the size where memory lacks."""
    for count, most, least, size in ((11, 2, 2, 8), (7, 20, 20, 4), (9, 1, 1, 8), (12, 4, 1, 4)):
        run, items = _Memory(most, least), [random.randrange(-99, 99) for _ in range(count)]
        reference = _Memory(most, least)
        right = _go_on(reference, items, size)
        try:
            got = ask(answer, run, list(items), size)
        except Wrong as wrong:
            if "MemoryError" in str(wrong):
                raise Wrong(
                    "A machine that holds {most} at a time, size {size}: your function "
                    "stopped with MemoryError. Catch it while the size is above 1.",
                    most=most,
                    size=size,
                ) from None
            raise
        if not isinstance(got, list):
            raise Wrong("It returns {kind}, and should return a list.", kind=type(got).__name__)
        if got != right:
            other = sorted(got) == sorted(right)
            how = (
                translate("the same ones in another order")
                if other
                else translate("{count} results", count=len(got))
            )
            raise Wrong(
                "Of {count} items it returns {how}; there should be one each, in order.",
                count=count,
                how=how,
            )
        if run.done > count:
            raise Wrong(
                "Of {count} items it ran {done}: continue after those that are done.",
                count=count,
                done=run.done,
            )
        if run.asked != reference.asked:
            raise Wrong(
                "Size {size}, room for {most}, then for {least}: it tried lists of {asked}, "
                "and should have tried {wanted}. Halve the size, keep it for the rest.",
                size=size,
                most=most,
                least=least,
                asked=run.asked,
                wanted=reference.asked,
            )
    try:
        ask(answer, _Memory(0, 0), [1, 2], 2)
    except Wrong as wrong:
        if "MemoryError" in str(wrong):
            return translate("Whatever fits is done, once each, and what cannot fit is said.")
        raise
    raise Wrong("If a single item is too large, the MemoryError should not be caught.")


@check
def check_coin(answer: Callable[..., Any]) -> str:
    """`answer(hits, n)` gives the probability of at least `hits` heads."""
    for hits, n in ((random.randint(6, 8), 10), (4, 4), (0, 6), (11, 12), (30, 50)):
        got = ask(answer, hits, n)
        if not isinstance(got, int | float):
            raise Wrong("It returns {kind}, and should return a number.", kind=type(got).__name__)
        right = sum(math.comb(n, k) for k in range(hits, n + 1)) / 2**n
        if math.isclose(got, right, rel_tol=1e-9):
            continue
        exactly, outcomes = math.comb(n, hits) / 2**n, right * 2**n
        mistakes = {
            translate(
                "This is for exactly {hits} heads. More heads count as well: add them up.",
                hits=hits,
            ): exactly,
            translate("This is more than {hits}; {hits} itself counts as well.", hits=hits): right
            - exactly,
            translate(
                "The last case, {n} heads of {n}, is missing: range(hits, n) ends before n.", n=n
            ): (right - 0.5**n),
            translate("This is fewer than {hits} heads, the other side.", hits=hits): 1 - right,
            translate("This is at most {hits} heads, the other side.", hits=hits): 1
            - right
            + exactly,
            translate("This is the number of outcomes; divide by all 2ⁿ."): outcomes,
            translate("Divide by 2ⁿ, all the ways in which n throws can end, and not by 2 · n."): (
                outcomes / (2 * n)
            ),
            translate(
                "Divide by 2ⁿ, all the ways in which n throws can end, and not by n²."
            ): outcomes / n**2,
            translate("Divide by 2ⁿ, with all n throws, and not by 2 to the power of hits."): (
                outcomes / 2**hits
            ),
            translate(
                "This is for {hits} heads in a row, with no other throws; there are {n} throws.",
                hits=hits,
                n=n,
            ): (0.5**hits),
            translate("This is the share of heads, and no probability."): hits / n,
            translate("Twice too much: tails as often as that do not count, only heads."): 2
            * right,
            translate("This is a percentage; return a probability, from 0 to 1."): 100 * right,
        }
        for words, value in mistakes.items():
            if math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-12):
                raise Wrong(words)
        if any(got == round(right, places) for places in range(1, 7)):
            raise Wrong("It is rounded; return the probability as it is.")
        orders = sum(math.perm(n, k) for k in range(hits, n + 1)) / 2**n
        if math.isclose(got, orders, rel_tol=1e-9):
            raise Wrong("The order of the heads does not matter: math.comb, not math.perm.")
        raise Wrong(
            "{hits} of {n}: it gives {got:.4g}, and should give {right:.4g}.",
            hits=hits,
            n=n,
            got=got,
            right=right,
        )
    return translate("Ask this of every 'on most images'.")
