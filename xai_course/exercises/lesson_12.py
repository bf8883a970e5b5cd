"""Checks of lesson 12, Harder to fool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


def _length(change: Tensor) -> Tensor:
    """Return the ℓ2 norm of each image, (N, 1, 1, 1)."""
    length: Tensor = change.flatten(1).norm(dim=1)
    return length.view(-1, 1, 1, 1)


def _shortened(change: Tensor, epsilon: float) -> Tensor:
    """Return changes of which none is longer than ε."""
    return change * (epsilon / _length(change).clamp(min=1e-12)).clamp(max=1)


def _step(x: Tensor, start: Tensor, grad: Tensor, step: float, epsilon: float) -> Tensor:
    """Return the reference of exercise 1: one step of PGD in the ℓ2 norm."""
    moved = x + step * grad / _length(grad).clamp(min=1e-12)
    return (start + _shortened(moved - start, epsilon)).clamp(0, 1)


@check
def check_step_within_length(answer: Callable[..., Any]) -> str:
    """`answer(x, start, grad, step, epsilon)` makes one step of PGD in the ℓ2 norm."""
    step, epsilon = 0.5, 0.8
    start = torch.rand(4, 3, 6, 6)
    start[:, :, 0], start[:, :, 1] = 0.01, 0.99  # here the pixel range clips
    away = torch.randn_like(start)
    far = torch.tensor([0.1, 0.7, 0.0, 0.7]).view(-1, 1, 1, 1)  # so that some must be shortened
    x = (start + far * away / _length(away)).clamp(0, 1)
    grad = torch.randn_like(start) * torch.tensor([0.01, 3.0, 0.0, 0.2]).view(-1, 1, 1, 1)
    grad[1] = away[1]  # further along: this change becomes too long
    given = (x, start, grad, step, epsilon)
    got, right = ask_tensor(answer, (4, 3, 6, 6), *given), _step(*given)
    if close(got, right):
        return translate("It climbs, stays within a length of ε, and remains a picture.")
    if not got.isfinite().all():
        raise Wrong("The third gradient is 0 everywhere, and the result is no number there.")
    if close(got, _step(x, start, -grad, step, epsilon)):
        raise Wrong("This goes downhill. The attack wants the loss to rise: along the gradient.")
    if got.min() < 0 or got.max() > 1:
        raise Wrong(
            "A pixel is {low:.2f} and one {high:.2f}; pixels must be 0 to 1.",
            low=got.min(),
            high=got.max(),
        )
    cube = (start + (x + step * grad.sign() - start).clamp(-epsilon, epsilon)).clamp(0, 1)
    if close(got, cube):
        raise Wrong("This is the step of section 1: a limit on each value, not on the length.")
    unit = x + step * grad / _length(grad).clamp(min=1e-12)
    if close(got, unit.clamp(0, 1)):
        raise Wrong("After some steps the change since `start` is longer than ε: shorten it.")
    always = unit - start
    if close(got, (start + epsilon * always / _length(always).clamp(min=1e-12)).clamp(0, 1)):
        raise Wrong("A change that is shorter than ε keeps its length: you stretch it to ε.")
    if close(got, (start + _shortened(x + step * grad - start, epsilon)).clamp(0, 1)):
        raise Wrong("You move by the gradient itself. Each image moves by a length of `step`.")
    together = (start + _shortened(x + step * grad / grad.norm() - start, epsilon)).clamp(0, 1)
    if close(got, together):
        raise Wrong("You use one length for all images together. Each has its own.")
    if (_length(got - start) > epsilon * 1.0001).any():
        longest = float(_length(got - start).max())
        raise Wrong(
            "A change has a length of {longest:.2f}; ε is {epsilon}.",
            longest=longest,
            epsilon=epsilon,
        )
    raise Wrong("Within the length and the range, but not the step along the gradient.")


@check
def check_passed(answer: Callable[..., Any]) -> str:
    """`answer(defence, pixels)` gives the defended pixels, with the derivative of the identity."""

    def squared(pixels: Tensor) -> Tensor:
        return pixels.square()

    def rounded(pixels: Tensor) -> Tensor:
        return (pixels * 7).round() / 7

    for defence in (squared, rounded):
        pixels = torch.rand(2, 3, 5, 5, requires_grad=True)
        weights = torch.randn(2, 3, 5, 5)
        with torch.enable_grad():
            got = ask(answer, defence, pixels)
            values = ask_tensor(lambda got=got: got, (2, 3, 5, 5))
            if not close(values, defence(pixels)):
                if close(values, pixels):
                    raise Wrong(
                        "These are the pixels as they were. Return what the defence makes of them."
                    )
                raise Wrong("The values differ from those of defence(pixels).")
            if not got.requires_grad:
                raise Wrong("The result has no derivative by `pixels`: something removed it.")
            (grad,) = torch.autograd.grad((weights * got).sum(), pixels, allow_unused=True)
        if grad is not None and close(grad, weights):
            continue
        if grad is not None and close(grad, 2 * pixels * weights):
            raise Wrong(
                "This keeps the defence's own derivative, which for rounding is 0 "
                "everywhere. Replace it by that of the identity, 1."
            )
        raise Wrong("The values are right. The derivative by `pixels` should be 1, and is not.")
    return translate("Forward through the defence, backward past it: it hides nothing any more.")
