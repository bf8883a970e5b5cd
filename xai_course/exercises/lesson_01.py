"""Checks of lesson 01, A world with an answer key."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch

from xai_course.beetlebox.scene import SPECIES, TRAITS, Scene, Traits
from xai_course.core.translation import translate
from xai_course.data.transforms import IMAGENET_MEAN, IMAGENET_STD, denormalise
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


@check
def check_pixels(answer: Callable[..., Any]) -> str:
    """`answer(images, mean, std)` undoes the normalisation of images (N, 3, H, W)."""
    images = torch.randn(2, 3, 5, 7)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    pixels = ask_tensor(answer, (2, 3, 5, 7), images, mean, std)
    right = denormalise(images)
    if close(pixels, right):
        return translate("It undoes the normalisation, channel by channel, for images of any size.")
    column = (slice(None), None, None)
    if close(pixels, (images + mean[column]) * std[column]):
        raise Wrong("Order: normalising subtracts the mean first, so undo that last.")
    if close(pixels, (images - mean[column]) / std[column]):
        raise Wrong("This normalises once more; to undo it, multiply by std and add mean.")
    if close(pixels, images * mean[column] + std[column]):
        raise Wrong("mean and std are exchanged.")
    if close(pixels, 255 * right):
        raise Wrong("These are pixels from 0 to 255; they should be from 0 to 1.")
    if close(pixels, right.clamp(0, 1)):
        raise Wrong("It clips to [0, 1], so values outside are lost; clip only for display.")
    raise Wrong("The values differ from images * std + mean, each channel with its own numbers.")


@check
def check_interaction(answer: Callable[..., Any]) -> str:
    """`answer(logit, scene, first, other)`: how far one part's effect falls without another."""
    weights = torch.randn(2, 64 * 64 * 3)
    for first, other in (("horn", "pattern"), ("antennae", "legs"), ("legs", "horn")):
        scene = Scene("Globaria_maculata", random.randrange(10**6))
        for sign in (1, -1):  # so that one of the two interactions is negative

            def logit(scene: Scene, sign: int = sign) -> float:
                seen = weights @ torch.from_numpy(scene.image()).flatten()
                return sign * float(seen[0] * seen[1]) / 100  # a product: parts interact

            _check_one_interaction(
                ask(answer, logit, scene, first, other), logit, scene, first, other
            )
    return translate(
        "0 would mean that the two parts act independently. In a network they seldom do."
    )


def _check_one_interaction(
    got: Any, logit: Callable[[Scene], float], scene: Scene, first: str, other: str
) -> None:
    """Raise Wrong for a number that is not the interaction of two parts."""
    bare = scene.without(other)
    whole, no_first, no_other = logit(scene), logit(scene.without(first)), logit(bare)
    neither = logit(bare.without(first))
    try:
        got = float(got)
    except (TypeError, ValueError):
        raise Wrong(
            "It returns {kind}, and should return a number.", kind=type(got).__name__
        ) from None
    before, after = whole - no_first, no_other - neither

    def near(value: float) -> bool:
        return bool(
            abs(got - value) <= 1e-4 * max(map(abs, (whole, no_first, no_other, neither, 1)))
        )

    if near(before - after):
        return
    if near(after - before):
        raise Wrong(
            "The sign is reversed, at least sometimes: take the effect with the {other}, "
            "and subtract the effect without it.",
            other=translate(other),
        )
    instead = {
        translate(
            "This is the effect of the {first} while the {other} is there",
            first=translate(first),
            other=translate(other),
        ): before,
        translate(
            "This is the effect of the {first} when the {other} is gone",
            first=translate(first),
            other=translate(other),
        ): after,
        translate("This is the effect of the {other}", other=translate(other)): whole - no_other,
        translate("This is the effect of both parts together"): whole - neither,
        translate("This is the difference of the two single effects"): no_other - no_first,
    }
    for words, value in instead.items():
        if near(value):
            raise Wrong(
                "{words}. Asked is how far the effect of the {first} falls.",
                words=words,
                first=translate(first),
            )
    raise Wrong(
        "For {first} and {other} it gives {got:.3f}. The effect of the {first} is "
        "{before:.3f}, and {after:.3f} when the {other} is gone.",
        first=translate(first),
        other=translate(other),
        got=got,
        before=before,
        after=after,
    )


@check
def check_differing(answer: Callable[..., Any]) -> str:
    """`answer(first, second)` lists the names of the traits in which two `Traits` differ."""
    names = [field.name for field in fields(Traits)]
    for _ in range(20):
        first = random.choice(list(SPECIES.values()))
        changed = random.sample(names, random.randrange(len(names) + 1))
        others = {
            name: random.choice([v for v in TRAITS[name] if v != getattr(first, name)])
            for name in changed
        }
        got = ask(answer, first, replace(first, **others))
        if not isinstance(got, list | tuple | set):
            raise Wrong(
                "It returns {kind}, and should return a list of names.", kind=type(got).__name__
            )
        if set(got) == set(names) - set(changed) and set(got) != set(changed):
            raise Wrong("These are the traits that the two *share*; return those that differ.")
        if set(got) <= {v for values in TRAITS.values() for v in values} and got:
            raise Wrong(
                "{got} are values; return the names of traits, like 'horn'.", got=sorted(got)
            )
        if sorted(got) != sorted(changed):
            raise Wrong(
                "These two differ in {changed}; it gives {got}.",
                changed=sorted(changed),
                got=sorted(got),
            )
    return translate(
        "Two species that differ in one trait only are twins: one change turns one into the other."
    )
