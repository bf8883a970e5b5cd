"""Checks of lesson 06, Grading the explanations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.beetles import SPECIES, scenes
from xai_course.checkpoints import load_checkpoint
from xai_course.data import data_folder, stack_images, stack_masks
from xai_course.exercises import Wrong, ask, ask_tensor, check, close
from xai_course.judge import edge_map, part_effects, part_relevance, rank_agreement


@check
def check_skill(answer: Callable[..., Any]) -> str:
    """`answer(score, nulls, key)` gives the skill: 0 for the best null, 1 for the key itself."""
    for score, nulls, key in [
        (0.7, [0.1, 0.6], 1.0),
        (0.2, [0.5, 0.4, -0.3], 0.9),
        (0.3, [0.3], 0.5),
        (-0.5, [-0.9, -0.7], -0.1),
    ]:
        got, best = ask(answer, score, nulls, key), max(nulls)
        if isinstance(got, bool) or not isinstance(got, int | float | Tensor):
            raise Wrong(f"For {score}, {nulls}, {key} you return {got!r}; wanted is one number.")
        right = (score - best) / (key - best)
        if abs(float(got) - right) < 1e-6:
            continue
        asked = f"For a score of {score}, nulls of {nulls} and a key's score of {key}"
        mean = sum(nulls) / len(nulls)
        if abs(float(got) - (score - mean) / (key - mean)) < 1e-6:
            raise Wrong(f"{asked} you compare with the mean null. The best one is the opponent.")
        if abs(float(got) - (score - best)) < 1e-6:
            raise Wrong(f"{asked} this is the lead over the null. Divide by the lead of the key.")
        if abs(float(got) - (score - best) / (1 - best)) < 1e-6:
            raise Wrong(f"{asked}: the key's own score need not be 1.")
        raise Wrong(f"{asked} you return {float(got):.3f}; the skill is {right:.3f}.")
    return "0 is the best null, 1 the key itself, and what is worse than the null is below 0."


@check
def check_deletion(answer: Callable[..., Any]) -> str:
    """`answer(f, image, relevance, fill, steps)` gives the deletion curve, steps + 1 numbers."""
    for steps, size in ((4, 4), (8, 4), (2, 6)):
        image, weight = torch.rand(1, 2, size, size), torch.rand(1, 2, size, size)
        relevance = torch.randperm(size * size).view(size, size).float() - size
        fill = torch.rand(1, 2, 1, 1)

        def f(x: Tensor, weight: Tensor = weight) -> float:
            return float((weight * x).sum())

        curve = ask(answer, f, image, relevance, fill, steps)
        values = (
            torch.as_tensor(curve, dtype=torch.float) if not isinstance(curve, Tensor) else curve
        )
        if values.shape != (steps + 1,):
            raise Wrong(
                f"With steps = {steps} the curve has {steps + 1} numbers (the first is the whole "
                f"image); yours has the shape {tuple(values.shape)}."
            )

        def curve_of(
            ranking: Tensor, step: int = steps, x: Tensor = image, fill: Tensor = fill
        ) -> Tensor:
            numbers, n = [], ranking.numel()
            for k in range(step + 1):
                gone = torch.zeros(n, dtype=torch.bool)
                gone[ranking.flatten().argsort(descending=True)[: n * k // step]] = True
                numbers.append(f(torch.where(gone.view_as(ranking), fill, x)))
            return torch.tensor(numbers)

        right = curve_of(relevance)
        if close(values, right):
            continue
        if close(values, curve_of(-relevance)):
            raise Wrong("You delete the least relevant pixels first.")
        if close(values, curve_of(relevance.abs())):
            raise Wrong("You order by the size of the relevance. What speaks against comes last.")
        if not close(values[:1], right[:1]):
            raise Wrong(f"The first number is f(image) = {right[0]:.3f}; yours is {values[0]:.3f}.")
        if not close(values[-1:], right[-1:]):
            raise Wrong("The last number must be f of an image that is replaced altogether.")
        raise Wrong("Ends are right. In between, each step replaces one more share of the pixels.")
    return "That is the curve. Its mean height is the deletion score."


@check
def check_null(answer: Callable[..., Any]) -> str:
    """`answer(pixels)` gives maps from the picture alone that agree with the key beyond edges."""
    network, _ = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")
    some = [scene for name in SPECIES for scene in scenes("extra", name, 4)]
    pixels, masks, key = stack_images(some), stack_masks(some), part_effects(network, some)
    maps = ask_tensor(answer, (len(some), 1, 64, 64), pixels.clone())

    def agreement(maps: Tensor) -> float:
        return rank_agreement(part_relevance(maps, masks), key).mean().item()

    yours, edges = agreement(maps), agreement(edge_map(network, pixels))
    if yours < edges + 0.02:
        raise Wrong(
            f"On 40 new scenes your map agrees with the key by {yours:.2f}, the edge detector by "
            f"{edges:.2f}. Ahead by 0.02 will do."
        )
    return f"Without a look at the network: {yours:.2f}, where the edge detector has {edges:.2f}."
