"""Checks of lesson 05, Rules for the ReLUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask_tensor, check, close


@check
def check_guided(answer: Callable[..., Any]) -> str:
    """`answer(inputs, grad)` is the gradient that guided backpropagation drops at a ReLU."""
    inputs, grad = torch.randn(2, 6, 5, 5), torch.randn(2, 6, 5, 5)
    through = ask_tensor(answer, (2, 6, 5, 5), inputs, grad).float()
    is_open, negative = inputs > 0, grad < 0
    if close(through, grad * is_open * negative):
        return translate(
            "Guided backpropagation drops what is negative at an open gate; here it is."
        )
    if close(through, grad * is_open * ~negative):
        raise Wrong("This is what guided backpropagation lets through; return what it drops.")
    if close(through, grad * is_open):
        raise Wrong("This is the rule of the gradient: it uses the input alone.")
    if close(through, grad * negative):
        raise Wrong(
            "It uses the gradient alone; at a closed gate neither rule lets anything through."
        )
    if close(through, grad * ~(is_open & ~negative)):
        raise Wrong("It also holds what comes to a closed gate, where both rules give 0.")
    if close(through, grad.abs() * is_open * negative):
        raise Wrong("It makes what is dropped positive; keep the sign, so that the two add up.")
    if close(through, (is_open & negative).float()):
        raise Wrong("These are the places; return the gradient at these places.")
    if close(through, inputs * is_open * negative):
        raise Wrong("This passes the *input* on; the backward pass passes the gradient on.")
    if close(through, inputs.relu() * grad.clamp(max=0)):
        raise Wrong("It multiplies by the input; only test whether the input is above 0.")
    raise Wrong(
        "Keep a number of `grad` if its input is above 0 and the number is below 0; else give 0."
    )


@check
def check_class_part(answer: Callable[..., Any]) -> str:
    """`answer(first, second)` is the part of two maps that depends on the class."""
    shared, own, other = torch.randn(3, 4, 3, 5, 5)
    first, second = shared + 0.8 * own, 3 * (shared + 0.5 * other)
    part = ask_tensor(answer, (4,), first, second).float()

    def energy(found: torch.Tensor) -> torch.Tensor:
        return found.square().sum((1, 2, 3))

    def share(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        return energy(one - two) / (energy(one - two) + energy(one + two))

    axes = (1, 2, 3)
    unit, unit_two = (m / m.square().sum(axes, keepdim=True).sqrt() for m in (first, second))
    right = share(unit, unit_two)
    if close(part, right):
        return translate("0 for the same map, a half for maps without relation, 1 for opposites.")
    if close(part, share(first, second)):
        raise Wrong("The longer map counts more: first bring each to length 1.")
    if close(part, 1 - right):
        raise Wrong("This is what both share; return the part of the difference.")
    if close(part, right / (1 - right)):
        raise Wrong("It divides by the sum's squares; divide by sum and difference together.")
    if close(part, energy(unit - unit_two)):
        raise Wrong("These are the squares of the difference; divide by those of both together.")
    if close(part, 1 - 2 * right):
        raise Wrong("This is the cosine of the two maps; return the part of the difference.")
    ends = (right.sqrt(), (1 - right).sqrt())
    if close(part, ends[0] / (ends[0] + ends[1])):
        raise Wrong("It divides lengths; divide sums of squares.")
    if close(part, right.mean().expand(4)):
        raise Wrong("It averages over the images; return one number for each.")
    peaks = (m / m.abs().amax(axes, keepdim=True) for m in (first, second))
    if close(part, share(*peaks)):
        raise Wrong("It divides by the largest value; divide by the root of the sum of squares.")
    raise Wrong("Divide each map by its length; then squares of difference by squares of both.")
