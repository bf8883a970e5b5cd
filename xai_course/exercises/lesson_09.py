"""Checks of lesson 09, When there is no answer key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, check, close


@check
def check_deletion(answer: Callable[..., Any]) -> str:
    """`answer(f, image, relevance, fill, steps)` gives the deletion curve, steps + 1 numbers."""
    for steps, size in ((4, 4), (8, 4), (2, 6)):
        image, weight = torch.rand(1, 2, size, size), torch.rand(1, 2, size, size)
        relevance = torch.randperm(size * size).view(size, size).float() - size
        fill = torch.rand(1, 2, 1, 1)

        def f(x: Tensor, weight: Tensor = weight) -> float:
            return float((weight * x).sum())

        curve = _numbers(ask(answer, f, image, relevance, fill, steps))
        if curve.shape != (steps + 1,):
            raise Wrong(
                "With steps = {steps} the curve has {count} numbers (the first is the "
                "whole image); yours has the shape {shape}.",
                steps=steps,
                count=steps + 1,
                shape=tuple(curve.shape),
            )
        right = _curve(f, image, relevance, fill, steps)
        if close(curve, right):
            continue
        if close(curve, _curve(f, image, -relevance, fill, steps)):
            raise Wrong("You delete the least relevant pixels first.")
        if close(curve, _curve(f, image, relevance.abs(), fill, steps)):
            raise Wrong("You order by the size of the relevance. Negative relevance comes last.")
        if close(curve, right.flip(0)):
            raise Wrong("Your curve runs backwards: the whole image comes first.")
        if close(curve, _curve(f, fill.expand_as(image), relevance, image, steps)):
            raise Wrong("This is insertion: you restore the pixels. Begin with the whole image.")
        if not close(curve[:1], right[:1]):
            raise Wrong(
                "The first number is f(image) = {right:.3f}; yours is {curve:.3f}.",
                right=right[0],
                curve=curve[0],
            )
        if not close(curve[-1:], right[-1:]):
            raise Wrong("The last number must be f of an image whose pixels are all replaced.")
        raise Wrong("Both ends are right. In between, each step replaces an equal share of pixels.")
    return translate("That is the curve. Its mean height is the deletion score.")


def _numbers(curve: Any) -> Tensor:
    """Return the learner's curve as a tensor."""
    try:
        return torch.as_tensor(curve).detach().double()
    except (TypeError, ValueError, RuntimeError):
        got = type(curve).__name__
        raise Wrong("You return {got}; return a list of numbers, or a tensor.", got=got) from None


def _curve(
    f: Callable[[Tensor], float], image: Tensor, relevance: Tensor, fill: Tensor, steps: int
) -> Tensor:
    """Return the deletion curve, pixel by pixel."""
    left, values = image.clone(), [f(image)]
    pixels = relevance.flatten().argsort(descending=True).tolist()
    for k, pixel in enumerate(pixels, 1):
        row, column = divmod(pixel, image.shape[3])
        left[:, :, row, column] = fill.expand_as(image)[:, :, row, column]
        if k % (len(pixels) // steps) == 0:
            values.append(f(left))
    return torch.tensor(values, dtype=torch.double)


@check
def check_alarms(answer: Callable[..., Any]) -> str:
    """`answer(clean, q)` gives each network's false alarms, at the highest level of the others."""
    for networks, maps, q in ((3, 40, 0.9), (5, 100, 0.95), (4, 20, 0.5)):
        clean = torch.rand(networks, maps) + torch.linspace(0, 0.4, networks)[:, None]
        rates = _numbers(ask(answer, clean, q))
        if rates.shape != (networks,):
            raise Wrong(
                "For {networks} networks return {networks} shares; yours have the shape {shape}.",
                networks=networks,
                shape=tuple(rates.shape),
            )
        levels = clean.quantile(q, 1)
        right = _rates(clean, _of_others(levels, max))
        if close(rates, right):
            continue
        if close(rates, _rates(clean, [level.item() for level in levels])):
            raise Wrong("Each network sets its own level. Take the level from the other networks.")
        if close(rates, _rates(clean, [levels.max().item()] * networks)):
            raise Wrong("Network k's own level is among those you choose from. Leave it out.")
        if close(rates, _rates(clean, _of_others(levels, min))):
            raise Wrong("You take the lowest level of the others. Take the highest.")
        if close(rates, _rates(clean, _of_others(levels, lambda each: sum(each) / len(each)))):
            raise Wrong("You take the mean level of the others. Take the highest.")
        if close(rates, 1 - right):
            raise Wrong("You count the maps below the level. An alarm is above it.")
        if close(rates, right * maps):
            raise Wrong("You count alarms. Divide by the number of maps.")
        raise Wrong(
            "You return {rates:.3f} for the first network; it is {right:.3f}.",
            rates=rates[0],
            right=right[0],
        )
    return translate(
        "That is the rule: the level of a network that was left out comes from all the others."
    )


def _of_others(levels: Tensor, choose: Callable[[list[float]], float]) -> list[float]:
    """Return for each network what is chosen from the levels of the others."""
    each = levels.tolist()
    return [choose(each[:k] + each[k + 1 :]) for k in range(len(each))]


def _rates(clean: Tensor, levels: list[float]) -> Tensor:
    """Return the share of each network's maps above its level."""
    return (clean > torch.tensor(levels)[:, None]).double().mean(1)
