"""Checks of lesson 00, Start here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from xai_course.exercises.asking import Wrong, ask, check

NAMES = ("beetle", "moth", "wasp", "ant", "fly", "louse", "mite", "flea", "bug", "bee")


@check
def check_top_classes(answer: Callable[..., Any]) -> str:
    """`answer(logits, names, count)` lists the most likely (name, probability), largest first."""
    for count in (1, 3, len(NAMES)):
        logits = torch.randn(len(NAMES))
        pairs = ask(answer, logits, NAMES, count)
        if not isinstance(pairs, list | tuple) or not all(
            isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
        ):
            raise Wrong("It should return a list of pairs, such as [('tripod', 0.94), …].")
        if len(pairs) != count:
            raise Wrong(f"Asked for {count}, it gives {len(pairs)} pairs.")
        if all(isinstance(second, str) for _, second in pairs):
            raise Wrong("The pairs are the wrong way round: first the name, then the probability.")
        if not all(isinstance(name, str) for name, _ in pairs):
            raise Wrong("A pair begins with the class's name, `names[index]`, not with its index.")
        try:
            numbers = torch.tensor([float(number) for _, number in pairs])
        except (TypeError, ValueError):
            raise Wrong("The second of each pair should be a number, the probability.") from None
        order = logits.argsort(descending=True)[:count]
        probabilities = logits.softmax(0)[order]
        given, right = [name for name, _ in pairs], [NAMES[i] for i in order]
        if given != right:
            if given == [NAMES[i] for i in logits.argsort()[:count]]:
                raise Wrong("These are the *least* likely classes: sort the other way round.")
            if sorted(given) == sorted(right):
                raise Wrong("The right classes in the wrong order: the most likely comes first.")
            raise Wrong(f"The most likely are {right}; it gives {given}.")
        if torch.allclose(numbers, probabilities, atol=1e-4):
            continue
        if torch.allclose(numbers, logits[order], atol=1e-4):
            raise Wrong("These are logits. Probabilities are their softmax, which adds up to 1.")
        if torch.allclose(numbers, logits.sigmoid()[order], atol=1e-4):
            raise Wrong(
                "A sigmoid treats each logit alone. Probabilities add up to 1: use softmax."
            )
        if torch.allclose(numbers, logits[order].softmax(0), atol=1e-4):
            raise Wrong("The softmax runs over *all* classes, before the largest are selected.")
        if torch.allclose(numbers, 100 * probabilities, atol=1e-2):
            raise Wrong("These are percentages; a probability lies between 0 and 1.")
        raise Wrong(
            f"{right[0]} has the probability {probabilities[0]:.3f}; it gives {numbers[0]:.3f}."
        )
    return "Softmax over all classes, then the largest: that is what the bars above show."


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
            raise Wrong(f"It returns {type(got).__name__}, and should return a number.") from None
        if abs(got - both / count) < 1e-6:
            continue
        lows = [set((-m).flatten().topk(count).indices.tolist()) for m in (first, second)]
        peaks = [m >= (1 - share) * m.max() for m in (first, second)]
        sizes = [set(m.abs().flatten().topk(count).indices.tolist()) for m in (first, second)]
        tenth = round(0.1 * first.numel())
        tenths = [set(m.flatten().topk(tenth).indices.tolist()) for m in (first, second)]
        instead = [
            (100 * both / count, "This is a percentage; a share lies between 0 and 1."),
            (len(sizes[0] & sizes[1]) / count, "Rank the values themselves, not their sizes."),
            (len(tenths[0] & tenths[1]) / tenth, "It always takes a tenth: use `share`."),
            (both, "This is a count; divide it by the number of top places of one map."),
            (both / first.numel(), "Divide by the number of *top* places, not of all places."),
            (
                both / len(tops[0] | tops[1]),
                "Divide by the top places of one map, not by those of either of the two.",
            ),
            (
                float((peaks[0] & peaks[1]).sum() / peaks[0].sum()),
                "Asked is a share of the *places*, not of the largest value: rank the values.",
            ),
            (len(lows[0] & lows[1]) / count, "These are the places with the *smallest* values."),
        ]
        for value, words in instead:
            if abs(got - value) < 1e-6:
                raise Wrong(words)
        raise Wrong(
            f"Of the {count} top places of the first map, {both} are among those of the second, "
            f"which makes {both / count:.3f}; it gives {got:.3f}."
        )
    return (
        "1 for a map with itself, and about `share` for two maps that know nothing of each other."
    )
