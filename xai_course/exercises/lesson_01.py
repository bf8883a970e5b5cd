"""Checks of lesson 01, A world with an answer key."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch

from xai_course.beetlebox.scene import SPECIES, TRAITS, Scene, Traits
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
        return "It undoes the normalisation, channel by channel, for images of any size."
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
def check_effect(answer: Callable[..., Any]) -> str:
    """`answer(logit, scene, part)` is the true effect of a part on a function of scenes."""
    weights = torch.randn(64 * 64 * 3)
    for part in ("horn", "pattern", "antennae"):
        scene = Scene("Globaria_maculata", random.randrange(10**6))
        for sign in (1, -1):  # so that one of the two effects is negative

            def logit(scene: Scene, sign: int = sign) -> float:
                return sign * float(torch.from_numpy(scene.image()).flatten() @ weights)

            _check_one_effect(ask(answer, logit, scene, part), logit, scene, part)
    return "The logit as it was, minus the logit without the part: that is the answer key."


def _check_one_effect(
    effect: Any, logit: Callable[[Scene], float], scene: Scene, part: str
) -> None:
    """Raise Wrong for an effect that is not what the part adds to the logit."""
    whole, without = logit(scene), logit(scene.without(part))
    try:
        effect = float(effect)
    except (TypeError, ValueError):
        raise Wrong(f"It returns {type(effect).__name__}, and should return a number.") from None

    def near(value: float) -> bool:
        return bool(abs(effect - value) <= 1e-4 * max(abs(whole), abs(without), 1))

    if near(whole - without):
        return
    if near(without - whole):
        raise Wrong(
            "The sign is reversed, at least sometimes: a part that supports the class, so that "
            "the logit drops without it, counts positive; one against the class, negative."
        )
    if near(without):
        raise Wrong("This is the logit without the part; compare it with the logit as it was.")
    raise Wrong(
        f"For the {part} it gives {effect:.3f}; the logit is {whole:.3f} with it and {without:.3f} "
        "without."
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
            raise Wrong(f"It returns {type(got).__name__}, and should return a list of names.")
        if set(got) == set(names) - set(changed) and set(got) != set(changed):
            raise Wrong("These are the traits that the two *share*; return those that differ.")
        if set(got) <= {v for values in TRAITS.values() for v in values} and got:
            raise Wrong(f"{sorted(got)} are values; return the names of traits, like 'horn'.")
        if sorted(got) != sorted(changed):
            raise Wrong(f"These two differ in {sorted(changed)}; it gives {sorted(got)}.")
    return (
        "Two species that differ in one trait only are twins: one change turns one into the other."
    )
