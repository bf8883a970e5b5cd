"""Relevance maps from any explainer: made in batches, checked, and held against one another.

What the judge grades is either a function of the one signature, `(model, images, targets) ->
relevance`, ours, Captum's in a lambda or the reader's own; or the relevance itself, made before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["Explainer", "map_ranks", "map_similarity", "relevance_maps"]


Explainer: TypeAlias = Callable[..., Tensor]


def relevance_maps(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Tensor,
    *,
    batch_size: int = 100,
    progress: bool = False,
) -> Tensor:
    """Explain images (N, C, H, W), batch by batch: relevance (N, C or 1, H, W), without history.

    `explainer`: a function `(model, images, targets) -> relevance`, or the relevance of these
    images, which is then only checked. `targets`: class indices (N,). `batch_size`: images that
    the explainer gets at a time.

    Raises ValueError if what comes is not finite floating-point relevance of that shape, and for
    wrong arguments.
    """
    if isinstance(explainer, Tensor):
        return _checked(explainer, images)
    if not callable(explainer):
        raise ValueError(
            f"explainer: got {type(explainer).__name__}; allowed is a function (model, images, "
            "targets) -> relevance, or the relevance itself."
        )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size!r}; allowed is a whole number from 1.")
    if targets.shape != (len(images),):
        raise ValueError(f"targets: got {tuple(targets.shape)}; allowed is ({len(images)},).")
    from tqdm.auto import tqdm

    batches = zip(torch.split(images, batch_size), torch.split(targets, batch_size), strict=True)
    bar = tqdm(list(batches), "explaining", leave=False, disable=not progress)
    return torch.cat([_checked(explainer(model, x, t), x) for x, t in bar])


def _checked(maps: Tensor, images: Tensor) -> Tensor:
    """Return relevance without its history, or raise if it is not that of these images."""
    count, channels, high, wide = images.shape
    allowed = f"({count}, {channels} or 1, {high}, {wide})"
    if not isinstance(maps, Tensor):
        raise ValueError(f"explainer: got {type(maps).__name__}; allowed is a tensor {allowed}.")
    if maps.shape not in ((count, channels, high, wide), (count, 1, high, wide)):
        raise ValueError(
            f"explainer: got relevance of shape {tuple(maps.shape)}; allowed is {allowed}."
        )
    if not maps.is_floating_point() or not maps.isfinite().all():
        came = "NaN or infinite values" if maps.is_floating_point() else str(maps.dtype)
        raise ValueError(f"explainer: got {came}; allowed is finite floating-point relevance.")
    return maps.detach()


def map_similarity(first: Tensor, second: Tensor, *, absolute: bool = False) -> Tensor:
    """Return how alike two maps of each image are: Spearman's correlation over pixels (N,).

    Relevance (N, C, H, W), summed over channels first; `absolute`: of the size of that sum, without
    its sign. Ties get their mean rank. 1: the same order of pixels; 0: none, also where one of the
    maps is flat; -1: the reverse. Raises ValueError for maps of different images or sizes, and for
    values that are not finite.
    """
    ranks = []
    for name, maps in (("first", first), ("second", second)):
        try:
            ranks.append(map_ranks(maps, absolute=absolute))
        except ValueError as error:
            raise ValueError(f"{name}{str(error).removeprefix('maps')}") from error
    if first.shape[::2] != second.shape[::2] or first.shape[3] != second.shape[3]:
        raise ValueError(
            f"second: got shape {tuple(second.shape)}; allowed is the number and size of the "
            f"first's, {tuple(first.shape)}."
        )
    return (ranks[0] * ranks[1]).sum(1)


def map_ranks(maps: Tensor, *, absolute: bool = False) -> Tensor:
    """Rank the pixels of each map (N, C, H, W), summed over channels: (N, H·W), in double.

    The ranks are centred and of length 1, so that the product of two rows is Spearman's
    correlation; ties get their mean rank, and a flat map gets zeros. `absolute`: of the size of
    the sum. Raises ValueError for another shape, and for values that are not finite.
    """
    if maps.ndim != 4:
        raise ValueError(f"maps: got shape {tuple(maps.shape)}; allowed is (N, C, H, W).")
    if not maps.isfinite().all():
        raise ValueError("maps: got NaN or infinite values; allowed is finite relevance.")
    values = maps.detach().double().sum(1).flatten(1).contiguous()
    values = values.abs() if absolute else values
    ordered = values.sort(1).values
    below = torch.searchsorted(ordered, values)  # how many are smaller
    not_above = torch.searchsorted(ordered, values, right=True)
    ranks = (below + not_above).double()
    ranks = ranks - ranks.mean(1, keepdim=True)
    return ranks / ranks.square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
