"""Checks of lesson 10, Faster and better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


@check
def check_gain(answer: Callable[..., Any]) -> str:
    """`answer(before, after, t)` gives the mean gain over seeds and both ends of its interval."""
    for count, t in ((3, 4.303), (5, 2.776), (4, 3.182)):
        before = torch.rand(count).double()
        after = before + 0.1 + 0.05 * torch.rand(count).double()
        got = ask(answer, before.tolist(), after.tolist(), t)
        try:
            numbers = torch.as_tensor([float(value) for value in got]).double()
        except (TypeError, ValueError):
            numbers = torch.empty(0)
        if len(numbers) != 3:
            raise Wrong("Return three numbers, (mean, low, high); you return {got!r}.", got=got)

        def interval(values: Tensor, half: float) -> Tensor:
            return torch.stack([values.mean(), values.mean() - half, values.mean() + half])

        gains, root = after - before, count**0.5
        if close(numbers, interval(gains, t * gains.std().item() / root)):
            continue
        if close(numbers, interval(-gains, t * gains.std().item() / root)):
            raise Wrong("The gain is after minus before.")
        if close(numbers, interval(gains, t * gains.std().item())):
            raise Wrong(
                "This is the spread of single seeds. That of a mean of n is √n times smaller."
            )
        if close(numbers, interval(gains, t * gains.std(correction=0).item() / root)):
            raise Wrong("The standard deviation of n values divides by n − 1.")
        both = (before.var() + after.var()).sqrt().item()
        if close(numbers, interval(gains, t * both / root)):
            raise Wrong("Take the gain seed by seed first: what a seed adds to both cancels.")
        if not close(numbers[:1], gains.mean()[None]):
            raise Wrong(
                "The mean gain is {gain:.4f}; yours is {numbers:.4f}.",
                gain=gains.mean(),
                numbers=numbers[0],
            )
        raise Wrong("The mean is right; its interval is mean ± t · s / √n, s of the gains.")
    return translate("Three seeds, and an interval that admits it.")


@check
def check_enough(answer: Callable[..., Any]) -> str:
    """`answer(counts, errors, tolerance)` gives the smallest count that is enough from there on."""
    counts = [2, 4, 8, 16, 32, 64]
    for errors, tolerance, right in [
        ([0.9, 0.5, 0.2, 0.1, 0.05, 0.01], 0.15, 16),
        ([0.9, 0.04, 0.2, 0.08, 0.03, 0.01], 0.05, 32),
        ([0.01, 0.02, 0.01, 0.01, 0.01, 0.01], 0.05, 2),
        ([0.9, 0.5, 0.4, 0.3, 0.2, 0.1], 0.1, 64),
        ([0.9, 0.5, 0.01, 0.3, 0.01, 0.2], 0.1, "none"),
    ]:
        got = ask(answer, list(counts), list(errors), tolerance)
        if right == "none":
            if got == "none":
                continue
            raise Wrong(
                "With errors {errors} and tolerance {tolerance} no count is enough: the "
                'last one is above it. You return {got!r}; return "none".',
                errors=errors,
                tolerance=tolerance,
                got=got,
            )
        asked = translate(
            "With errors {errors} and tolerance {tolerance}", errors=errors, tolerance=tolerance
        )
        if got == "none" and tolerance in errors:
            raise Wrong(
                '{asked} you return "none", but {right} is enough: its error is *equal* to '
                "the tolerance, and that is allowed (at most). Compare with >, not with >=.",
                asked=asked,
                right=right,
            )
        if got == "none":
            raise Wrong(
                '{asked} you return "none", but {right} is enough from there on.',
                asked=asked,
                right=right,
            )
        if isinstance(got, bool) or not isinstance(got, int | float | Tensor):
            raise Wrong("You return {got!r}; return one of {counts}.", got=got, counts=counts)
        if int(got) == right:
            continue
        first = next(c for c, e in zip(counts, errors, strict=True) if e <= tolerance)
        if int(got) == first:
            raise Wrong(
                "{asked}, {first} is enough only by luck: a later error is above it.",
                asked=asked,
                first=first,
            )
        if int(got) in range(6) and counts[int(got)] == right:
            raise Wrong(
                "{asked} you return the index in the list; return the count itself.", asked=asked
            )
        raise Wrong(
            "{asked} you return {got}; {right} is enough from there on.",
            asked=asked,
            got=int(got),
            right=right,
        )
    return translate("Enough, and it stays enough.")


@check
def check_cheap(answer: Callable[..., Any]) -> str:
    """`answer(model, images)` gives the input gradient of the top logit, and only that."""
    for _ in range(2):
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
        ).eval()
        images = torch.randn(6, 3, 6, 6)
        x = images.clone().requires_grad_()
        model(x).max(1).values.sum().backward()
        assert x.grad is not None
        right = x.grad
        model.zero_grad()
        sent: list[int] = []
        hook = model.register_forward_hook(lambda *args: sent.append(len(args[2])))  # noqa: B023
        try:
            got = ask_tensor(answer, (6, 3, 6, 6), model, images)
        finally:
            hook.remove()
        if not close(got, right):
            x = images.clone().requires_grad_()
            model(x).sum().backward()
            assert x.grad is not None
            if close(got, x.grad):
                raise Wrong("This explains the sum of all logits. Take each image's largest.")
            raise Wrong("These are not the gradients of each image's largest logit.")
        if any(weight.grad is not None for weight in model.parameters()):
            raise Wrong(
                "Right, but the weights have gradients now: `backward` computes one for "
                "each weight, too. torch.autograd.grad computes the one by the images alone."
            )
        if not all(weight.requires_grad for weight in model.parameters()):
            raise Wrong("Right, but the model's weights stay frozen. Leave the model as it was.")
        if len(sent) > 1:
            raise Wrong(
                "Right, in {count} passes. One for the whole batch is enough.", count=len(sent)
            )
    return translate("One pass there, one back, and nothing computed that nobody asked for.")
