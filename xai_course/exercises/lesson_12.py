"""Checks of lesson 12, Harder to fool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


def _step(x: Tensor, start: Tensor, grad: Tensor, step: float, epsilon: float) -> Tensor:
    """Return the reference of exercise 1: one step of PGD."""
    change = (x + step * grad.sign() - start).clamp(-epsilon, epsilon)
    return (start + change).clamp(0, 1)


@check
def check_step(answer: Callable[..., Any]) -> str:
    """`answer(x, start, grad, step, epsilon)` makes one step of PGD, projected to the ball."""
    step, epsilon = 0.03, 0.05
    start = torch.rand(4, 3, 6, 6)
    start[:, :, 0], start[:, :, 1] = 0.01, 0.99  # here the pixel range clips
    x = (start + epsilon * (2 * torch.rand_like(start) - 1)).clamp(0, 1)
    grad = torch.randn_like(start) * 0.01
    grad[:, :, 5] = 0
    given = (x, start, grad, step, epsilon)
    got, right = ask_tensor(answer, (4, 3, 6, 6), *given), _step(*given)
    if close(got, right):
        return "It climbs, stays within ε of where it began, and remains a picture."
    if close(got, _step(x, start, -grad, step, epsilon)):
        raise Wrong("This goes downhill. The attack wants the loss to rise: along the gradient.")
    if close(got, (x + step * grad.sign()).clamp(0, 1)):
        raise Wrong(
            "After some steps it is farther from `start` than ε: clip x − start, the whole change, "
            "to ±ε."
        )
    if got.min() < 0 or got.max() > 1:
        raise Wrong(f"A pixel is {got.min():.2f} and one {got.max():.2f}; pixels must be 0 to 1.")
    if (got - start).abs().max() > epsilon * 1.0001:
        raise Wrong(f"A pixel is {(got - start).abs().max():.3f} from `start`; ε is {epsilon}.")
    if close(got[:, :, :5], right[:, :, :5]):
        raise Wrong("Right, except for pixels whose gradient is 0: they should not change.")
    if close(got, (start + (x + step * grad - start).clamp(-epsilon, epsilon)).clamp(0, 1)):
        raise Wrong("You step by the gradient itself. Take its sign: every pixel moves by `step`.")
    raise Wrong("Within the ball and the range, but not the step along the gradient's sign.")


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
                "This keeps the defence's own derivative, which for rounding is 0 everywhere. "
                "Replace it by that of the identity, 1."
            )
        raise Wrong("The values are right. The derivative by `pixels` should be 1, and is not.")
    return "Forward through the defence, backward past it: it hides nothing any more."


@check
def check_auroc(answer: Callable[..., Any]) -> str:
    """`answer(strange, known)` gives the area under the ROC curve; a tie counts half."""
    for count, ties in ((7, False), (40, False), (12, True)):
        strange, known = torch.randn(count) + 0.5, torch.randn(2 * count + 1)
        if ties:
            strange, known = strange.round(), known.round()
        got = ask(answer, strange, known)
        if isinstance(got, bool) or not isinstance(got, int | float | Tensor):
            raise Wrong(f"It returns {type(got).__name__}, and should return one number.")
        if isinstance(got, Tensor) and got.numel() != 1:
            raise Wrong(f"It returns shape {tuple(got.shape)}, and should return one number.")
        value, larger = float(got), (strange[:, None] > known).double().mean().item()
        equal = (strange[:, None] == known).double().mean().item()
        right = larger + equal / 2
        if abs(value - right) < 1e-5:
            continue
        if abs(value - (1 - right)) < 1e-5:
            raise Wrong("You count the pairs in which the known image has the larger score.")
        if abs(value - larger) < 1e-5 or abs(value - larger - equal) < 1e-5:
            raise Wrong(
                f"In {equal:.0%} of the pairs the two scores are equal. Such a pair counts half."
            )
        if abs(value - right * len(strange) * len(known)) < 1e-2:
            raise Wrong("This is the number of pairs. Divide by the number of all pairs.")
        threshold = known.double().quantile(0.95)
        if abs(value - (strange > threshold).double().mean().item()) < 1e-5:
            raise Wrong("This is the share above one threshold. The area uses all thresholds.")
        raise Wrong(
            f"For {len(strange)} strange and {len(known)} known scores you return {value:.3f}; the "
            f"strange one is larger in {right:.3f} of the pairs."
        )
    return "The share of pairs in which the strange image has the larger score: 0.5 is a coin."
