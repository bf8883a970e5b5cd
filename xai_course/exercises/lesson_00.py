"""Checks of lesson 00, Start here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, check

NAMES = ("beetle", "moth", "wasp", "ant", "fly", "louse", "mite", "flea", "bug", "bee")


@check
def check_likely_classes(answer: Callable[..., Any]) -> str:
    """`answer(logits, names, share)` names the fewest classes that together have that share."""
    cases = [(2 * torch.randn(len(NAMES)), share) for share in (0.5, 0.8, 0.95, 0.95)]
    given = []
    for logits, share in cases:
        got = ask(answer, logits, NAMES, share)
        if not isinstance(got, list | tuple):
            raise Wrong("It should return a list of names, such as ['tripod', 'harmonica'].")
        if not all(isinstance(name, str) for name in got):
            raise Wrong("The list should hold names alone: `names[index]` for each class.")
        given.append(list(got))
    right = [_fewest(logits.softmax(0), share) for logits, share in cases]
    if given == right:
        return translate("One class where the network is sure, and many where it is not.")
    instead = {
        translate("A sigmoid treats each logit alone. Probabilities add up to 1: use softmax."): [
            _fewest(logits.sigmoid(), share) for logits, share in cases
        ],
        translate("This adds up logits. Probabilities are their softmax."): [
            _fewest(logits, share) for logits, share in cases
        ],
        translate("It begins with the *least* likely classes: sort the other way round."): [
            _fewest(logits.softmax(0), share, largest=False) for logits, share in cases
        ],
        translate("One class too few: together they have less than `share`."): [
            r[:-1] for r in right
        ],
    }
    for words, wrong in instead.items():
        if given == wrong:
            raise Wrong(words)
    if all(g[:-1] == r for g, r in zip(given, right, strict=True)):
        raise Wrong("One class too many: without the last they have at least `share`.")
    if all(sorted(g) == sorted(r) for g, r in zip(given, right, strict=True)):
        raise Wrong("The right classes in the wrong order: the most likely comes first.")
    k = next(k for k in range(len(cases)) if given[k] != right[k])
    raise Wrong(
        "For `share` = {share} they are {right}; it gives {given}.",
        share=cases[k][1],
        right=right[k],
        given=given[k],
    )


def _fewest(values: Tensor, share: float, largest: bool = True) -> list[str]:
    """Return the reference of exercise 1: names until their values add up to the share."""
    found, total = list[str](), 0.0
    for place in values.argsort(descending=largest).tolist():
        if total >= share:
            break
        found.append(NAMES[place])
        total += float(values[place])
    return found


@check
def check_overlap(answer: Callable[..., Any]) -> str:
    """`answer(first, second, share)` is the part of the first's top places that both have."""
    for share in (0.1, 0.25, 0.5):
        first, second = torch.randn(40, 50), torch.randn(40, 50)
        second = first + second  # so that they have some top places in common
        count = round(share * first.numel())
        tops = [set(m.flatten().topk(count).indices.tolist()) for m in (first, second)]
        both = len(tops[0] & tops[1])
        got = ask(answer, first, second, share)
        try:
            got = float(got)
        except (TypeError, ValueError, RuntimeError):
            raise Wrong(
                "It returns {kind}, and should return a number.", kind=type(got).__name__
            ) from None
        if abs(got - both / count) < 1e-6:
            continue
        lows = [set((-m).flatten().topk(count).indices.tolist()) for m in (first, second)]
        peaks = [m >= (1 - share) * m.max() for m in (first, second)]
        sizes = [set(m.abs().flatten().topk(count).indices.tolist()) for m in (first, second)]
        tenth = round(0.1 * first.numel())
        tenths = [set(m.flatten().topk(tenth).indices.tolist()) for m in (first, second)]
        instead = [
            (100 * both / count, translate("This is a percentage; a share lies between 0 and 1.")),
            (
                len(sizes[0] & sizes[1]) / count,
                translate("Rank the values themselves, not their sizes."),
            ),
            (
                len(tenths[0] & tenths[1]) / tenth,
                translate("It always takes a tenth: use `share`."),
            ),
            (both, translate("This is a count; divide it by the number of top places of one map.")),
            (
                both / first.numel(),
                translate("Divide by the number of *top* places, not of all places."),
            ),
            (
                both / len(tops[0] | tops[1]),
                translate(
                    "Divide by the top places of one map, not by those of either of the two."
                ),
            ),
            (
                float((peaks[0] & peaks[1]).sum() / peaks[0].sum()),
                translate(
                    "Asked is a share of the *places*, not of the largest value: rank the values."
                ),
            ),
            (
                len(lows[0] & lows[1]) / count,
                translate("These are the places with the *smallest* values."),
            ),
        ]
        for value, words in instead:
            if abs(got - value) < 1e-6:
                raise Wrong(words)
        raise Wrong(
            "Of the {count} top places of the first map, {both} are among those of the "
            "second, which makes {expected:.3f}; it gives {got:.3f}.",
            count=count,
            both=both,
            expected=both / count,
            got=got,
        )
    return translate(
        "1 for a map with itself, and about `share` for two maps that know nothing of each other."
    )
