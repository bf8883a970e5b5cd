"""What a method costs: passes through the network, and how many steps are enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.maps import map_similarity

__all__ = ["Passes", "convergence", "count_passes", "relative_l2_error"]


Passes = tuple[int, int]
"""Images that went forward through a network, and gradients that came back."""


def count_passes(model: nn.Module, call: Callable[[], Any]) -> Passes:
    """Count what a call sends through a model: images forward, and their gradients backward.

    Seen are calls of the model itself, wherever it is called from; a backward pass that ends in the
    middle of the network counts as one. The model is left as it was, also after an exception.
    """
    seen = {"forward": 0, "backward": 0}

    def count_back(grad: Tensor) -> None:
        seen["backward"] += len(grad)

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(count_back)

    hook = model.register_forward_hook(count)
    try:
        call()
    finally:
        hook.remove()
    return seen["forward"], seen["backward"]


def relative_l2_error(found: Tensor, true: Tensor) -> Tensor:
    """Return how far maps are from the true ones, as a share of these: (N,).

    Both (N, C, H, W), summed over channels.

        apart[n] = ‖found[n] − true[n]‖ / ‖true[n]‖

    Raises ValueError for sizes that differ.
    """
    if found.ndim != 4 or found.shape[::2] != true.shape[::2] or found.shape[3] != true.shape[3]:
        raise ValueError(
            f"found: got shape {tuple(found.shape)}; allowed are maps (N, C, H, W) of the number "
            f"and size of true's, {tuple(true.shape)}."
        )
    a, b = (maps.double().sum(1).flatten(1) for maps in (found, true))
    missed: Tensor = (a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-30)
    return missed


def convergence(explain: Callable[[int], Tensor], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return how far the maps of few passes are from those of many: two tensors (counts - 1, N).

    `explain(count)` gives maps (N, C, H, W) from `count` steps, samples or windows. `counts`:
    whole numbers that rise; the last one's maps are taken for the truth, so it should be several
    times the one before. First `relative_l2_error`, then Spearman's correlation of the pixels, as
    `map_similarity` gives it.

    Raises ValueError for fewer than two counts, or counts that do not rise.
    """
    if len(counts) < 2 or any(a >= b for a, b in pairwise(counts)):
        raise ValueError(f"counts: got {list(counts)}; allowed are two or more that rise.")
    finest = explain(counts[-1])
    coarser = [explain(count) for count in counts[:-1]]
    far = torch.stack([relative_l2_error(maps, finest) for maps in coarser])
    return far, torch.stack([map_similarity(maps, finest) for maps in coarser])
