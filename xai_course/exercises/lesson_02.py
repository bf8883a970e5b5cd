"""Checks of lesson 02, A classifier that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


def _classify(features: Tensor, fc1: nn.Linear, fc2: nn.Linear) -> Tensor:
    """Return the reference of exercise 1: logits (N, classes), means over an image's versions."""
    pooled = F.adaptive_avg_pool2d(features.flatten(0, 1), 4).flatten(1)
    logits: Tensor = fc2(fc1(pooled))
    return logits.view(*features.shape[:2], -1).mean(1)


@check
def check_classify(answer: Callable[..., Any]) -> str:
    """`answer(features, fc1, fc2)` gives one row an image, the mean over its versions."""
    fc1, fc2 = nn.Linear(8 * 4 * 4, 12), nn.Linear(12, 5)
    for height, width in ((4, 4), (10, 10), (7, 9)):
        features = torch.randn(4, 3, 8, height, width)
        logits = ask(answer, features, fc1, fc2)
        if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) != 4:
            raise Wrong(
                "4 images in 3 versions of {height} × {width} places become {count} rows; "
                "each image should give one row.",
                height=height,
                width=width,
                count=len(logits),
            )
        logits = ask_tensor(answer, (4, 5), features, fc1, fc2)
        changed = features.clone()
        changed[1] = torch.randn(3, 8, height, width)
        moved = (ask_tensor(answer, (4, 5), changed, fc1, fc2) - logits).abs().amax(1) > 1e-5
        if moved[0] or moved[2] or moved[3]:
            rows = [row + 1 for row in range(4) if moved[row]]
            raise Wrong(
                "Only image 2 changed, but rows {rows} did: the images of the batch are mixed.",
                rows=rows,
            )
        if not torch.isfinite(logits).all():
            raise Wrong("Some numbers are NaN or infinite: a logit below 0 has no logarithm.")
        if not moved[1]:
            raise Wrong(
                "Only image 2 changed, but row 2 did not: row 2 does not belong to image 2."
            )
        right = _classify(features, fc1, fc2).detach()
        if not close(logits, right, 1e-3):
            raise Wrong(_why_not(logits, features, fc1, fc2))
    return translate(
        "One row per image, whatever the number of versions, and no image sees another."
    )


def _why_not(logits: Tensor, features: Tensor, fc1: nn.Linear, fc2: nn.Linear) -> str:
    """Say what is wrong with logits that mix no images."""
    right = _classify(features, fc1, fc2).detach()
    by_version = torch.stack([_classify(f[:, None], fc1, fc2) for f in features.unbind(1)], 1)
    if close(logits, 3 * right, 1e-3):
        return translate("This is the sum over the versions of an image; return their mean.")
    if any(close(logits, by_version[:, version], 1e-3) for version in range(3)):
        return translate(
            "This takes one version of each image alone; return the mean over all of them."
        )
    if close(logits, by_version.amax(1), 1e-3):
        return translate(
            "This is the largest logit of any version; return the mean over the versions."
        )
    softened = (right.softmax(1), by_version.softmax(2).mean(1))
    if any(close(logits.exp(), p, 1e-3) or close(logits, p, 1e-3) for p in softened):
        return translate(
            "These are probabilities or their logarithms; return the logits as they are."
        )
    pooled = F.adaptive_avg_pool2d(features.flatten(0, 1), 4).flatten(1)
    with_relu = fc2(F.relu(fc1(pooled))).unflatten(0, features.shape[:2]).mean(1)
    if close(logits, with_relu, 1e-3):
        return translate(
            "This has a ReLU between the layers. That is better, but here the task is to "
            "leave the layers as they are."
        )
    return translate(
        "One row per image, and no image sees another: good. But the numbers differ from "
        "those of an average pool to 4 × 4, flattened, then fc1, then fc2, then the mean "
        "over versions."
    )


def _small_network(head_is_new: bool, first_is_fixed: bool) -> tuple[Any, set[str]]:
    """Return a network whose optimizer may lack its head, and the names of what stays."""
    names = ("first", "second", "third")
    model = nn.Sequential()
    for number, name in enumerate(names):
        model.add_module(name, nn.Linear(6, 6 if number < 2 else 3))
        if number < 2:
            model.add_module(f"relu_{name}", nn.ReLU())
    fixed = [names[0]] * first_is_fixed + [names[2]] * head_is_new
    for weights in model[0].parameters():
        weights.requires_grad_(not first_is_fixed)
    return model, {f"{name}.{kind}" for name in fixed for kind in ("weight", "bias")}


@check
def check_untouched(answer: Callable[..., Any]) -> str:
    """`answer(model, images, labels)` names what a step of `model.optimizer` leaves alone."""
    for head_is_new, first_is_fixed in ((True, False), (False, True), (True, True), (False, False)):
        model, right = _small_network(head_is_new, first_is_fixed)
        model.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if head_is_new:
            model.third = nn.Linear(6, 3)
        every = {name for name, _ in model.named_parameters()}
        images, labels = torch.randn(20, 6), torch.arange(20) % 3
        names = ask(answer, model, images, labels)
        if not isinstance(names, list | tuple | set) or any(not isinstance(n, str) for n in names):
            raise Wrong(
                "It returns {kind}; return a list of names (text).", kind=type(names).__name__
            )
        got = set(names)
        if got == right and len(names) == len(got):
            continue
        if got == every:
            raise Wrong(
                "It names all weights, though most should have moved: take a step of "
                "training. And `step()` changes the weights in place, so what you kept "
                "changed with them: keep clones."
            )
        if got == every - right:
            raise Wrong("These are the weights that *moved*; return the others.")
        if head_is_new and got == right - {"third.weight", "third.bias"}:
            raise Wrong(
                "It misses the new head: that has a gradient, but the optimizer does not "
                "hold it. Compare values before and after the step."
            )
        if first_is_fixed and got == right - {"first.weight", "first.bias"}:
            raise Wrong(
                "It misses the first layer: the optimizer holds it, but it has no gradient. "
                "Compare values before and after the step."
            )
        raise Wrong(
            "It gives {names} where {right} is right.", names=sorted(names), right=sorted(right)
        )
    return translate(
        "You see what a step moves, whatever the reason: no gradient, or not in the optimizer."
    )
