"""What a report costs: a copy of the network that is faster, and the passes and seconds ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.translation import translate
from xai_course.metrics.cost import Passes
from xai_course.metrics.randomisation import reinitialised
from xai_course.models.faster import faster

__all__ = [
    "Copies",
    "duration_words",
    "expected_passes",
    "expected_seconds",
    "pass_seconds",
    "quick_copy",
]


COPY_OF = 2  # images that the copy is compared on


def quick_copy(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of a network that gives the same maps in less time, or the network itself.

    Args:
        model: a network in evaluation mode.
        images: (N, C, H, W), as the network takes them.

    Returns:
        `faster(model, images)`; the model where that refuses it, or where it cannot be copied.
    """
    try:
        return faster(model, images[:COPY_OF])
    except Exception:  # another's network may raise anything when it is copied
        return model


class Copies:
    """The copies of a network that a report needs, made once for the checks and for the images."""

    def __init__(self, model: nn.Module) -> None:
        """Keep a network of which copies will be asked for."""
        self.model = model
        self._made: dict[str, tuple[Tensor, nn.Module]] = {}  # with the images it was made for

    def quick(self, images: Tensor) -> nn.Module:
        """Return its `quick_copy`."""
        return self._once("quick", quick_copy, images)

    def untrained(self, images: Tensor) -> nn.Module:
        """Return the network as `reinitialised` makes it, or raise what that raises."""
        return self._once("untrained", reinitialised, images)

    def _once(
        self, kind: str, make: Callable[[nn.Module, Tensor], nn.Module], images: Tensor
    ) -> nn.Module:
        """Return the copy that was made for these images, or make one."""
        made = self._made.get(kind)
        if made is None or not made[0].equal(images):
            made = self._made[kind] = images, make(self.model, images)
        return made[1]


def pass_seconds(model: nn.Module, images: Tensor) -> list[float]:
    """Measure the seconds for one image: of a pass forward, and of one forward and back.

    Args:
        model: a network.
        images: (N, C, H, W), which go through it at once.

    Returns:
        Both numbers. They are equal for a network without a derivative.
    """
    start = time.perf_counter()
    with torch.no_grad():
        model(images.clone()).sum().item()  # a number that is there, also of another device
    middle = time.perf_counter()
    forward = both = (middle - start) / len(images)
    with torch.enable_grad():
        x = images.clone().requires_grad_()
        chosen = model(x.clone()).sum()
        if chosen.requires_grad:
            (slope,) = torch.autograd.grad(chosen, x, allow_unused=True)
            if slope is not None:
                slope.sum().item()
                both = (time.perf_counter() - middle) / len(images)
    return [forward, both]


def expected_passes(checks: Mapping[str, Any], nulls: int, fills: int, images: int) -> Passes:
    """Return how many passes explaining and checking some images takes, after the checks.

    Each method's map is made twice, with the trained and with random weights; what each map marks
    is covered with each filling. Maps that mark the same need fewer passes than is said here.

    Args:
        checks: from `check_network`.
        nulls: the number of null maps.
        fills: the number of fillings.
        images: the number of images.

    Returns:
        Images forward, and gradients back.
    """
    costs = checks["cost"].values()
    networks = 1 if checks["random"] else 2
    forward, backward = (networks * sum(cost[way] for cost in costs) for way in (0, 1))
    covered = fills * (len(costs) + nulls)
    return images * (1 + forward + nulls + covered), images * backward


def expected_seconds(
    checks: Mapping[str, Any], nulls: int, fills: int, images: int, now: Sequence[float]
) -> float:
    """Return the seconds that `expected_passes` take.

    Args:
        checks: from `check_network`, with the seconds of each method and of a pass at that time.
        nulls: as for `expected_passes`, and so are `fills` and `images`.
        fills: the number of fillings.
        images: the number of images.
        now: `pass_seconds`, as a pass is now.

    Returns:
        Seconds.
    """
    networks = 1 if checks["random"] else 2
    each = (1 + nulls + fills * (len(checks["cost"]) + nulls)) * now[0]
    for _, backward, seconds in checks["cost"].values():
        way = 1 if backward else 0
        each += networks * seconds * now[way] / checks["pass"][way]
    return images * each


def duration_words(seconds: float) -> str:
    """Write a duration with one or two digits.

    Args:
        seconds: the duration.

    Returns:
        It in words.

    Example:
        >>> from xai_course.report.cost import duration_words
        >>> duration_words(0.3), duration_words(42), duration_words(400), duration_words(9000)
        ('a second', '40 seconds', '7 minutes', '2.5 hours')
    """
    if seconds < 1.5:
        return translate("a second")
    if seconds < 90:
        count = round(seconds) if seconds < 9.5 else 10 * round(seconds / 10)
        return translate("{count} seconds", count=count)
    if seconds < 90 * 60:
        return translate("{count} minutes", count=round(seconds / 60))
    return translate("{count:.1f} hours", count=seconds / 3600)
