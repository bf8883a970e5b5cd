"""Technique 1: what a layer gives, and which part of the picture each of its channels detects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import validate_inputs

__all__ = ["UnitReport", "activations", "unit_report"]


@torch.inference_mode(False)
@torch.no_grad()
def activations(
    model: nn.Module,
    images: Tensor,
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    batch_size: int | None = None,
) -> dict[str, Tensor]:
    """Return what one or several layers give for each image: the layer's name to (N, ...).

    `images` (N, C, H, W). `layers`: modules of the model or their dotted names. Each output is
    detached and as the module returned it, before any later in-place step; a module that runs
    several times counts with its last run. `batch_size`: images in one forward pass.

    One forward pass. Raises ValueError for wrong arguments, and for a layer that is unknown, does
    not run or does not return one tensor.
    """
    if not isinstance(model, nn.Module) or not isinstance(images, Tensor) or images.ndim != 4:
        validate_inputs(model, images)  # which refuses them, in words
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size: got {batch_size!r}; allowed is a whole number from 1.")
    asked = [layers] if isinstance(layers, str | nn.Module) else list(layers)
    names = {module: name for name, module in model.named_modules()}
    found: dict[str, list[Tensor]] = {}
    for part in torch.split(images, batch_size or len(images)):
        with ExitStack() as stack:
            seen = [stack.enter_context(capture_layer(model, layer)) for layer in asked]
            validate_inputs(model, part)
        for layer, kept in zip(asked, seen, strict=True):
            name = layer if isinstance(layer, str) else names[layer]
            found.setdefault(name, []).append(kept[0])
    return {name: torch.cat(parts) for name, parts in found.items()}


class UnitReport(NamedTuple):
    """Which of P parts each of the K channels of a layer detects.

    `iou` (K, P): intersection over union of the channel's active pixels with the part's mask, over
    all scenes. `null` (K, P): its mean when the masks are those of other scenes. `p` (K, P): how
    often chance does as well anywhere in the table, a p-value that holds for all channels and parts
    together. `threshold` (K,): above it a channel is active. `top` (K, T): its strongest scenes.
    """

    iou: Tensor
    null: Tensor
    p: Tensor
    threshold: Tensor
    top: Tensor


@torch.inference_mode(False)
@torch.no_grad()
def unit_report(
    model: nn.Module,
    images: Tensor,
    masks: Tensor,
    layer: str | nn.Module,
    *,
    quantile: float = 0.98,
    top: int = 5,
    permutations: int = 1000,
    seed: int = 0,
    batch_size: int = 16,
) -> UnitReport:
    """Report which part of the picture each channel of a layer detects (network dissection).

    `images` (N, C, H, W); `masks` (N, P, h, w) in [0, 1], where each part lies in each image;
    `layer`: a module or its name, with an output (N, K, h', w'). A channel is active where its
    output, enlarged to the masks' size, exceeds its `quantile` over all images and places (0.995 as
    published). `top`: strongest scenes listed, by largest output. `batch_size`: images at once.

        IoU[k, p] = Σ active_k · mask_p / Σ (active_k + mask_p − active_k · mask_p)

    The null exchanges the masks among the images, `permutations` times: a channel that is merely
    active where a part usually lies gains nothing by it. Each IoU is compared by its distance from
    the null's mean in standard deviations, with the largest such distance in the whole table in
    each permutation (maximum statistic). The smallest possible p is 1 / (permutations + 1).

    One forward pass. Raises ValueError for wrong arguments and a layer that gives no such maps.

    Bau, Zhou, Khosla, Oliva, Torralba: Network Dissection: Quantifying Interpretability of Deep
    Visual Representations. CVPR 2017, arXiv:1704.05796. Westfall, Young: Resampling-Based Multiple
    Testing. 1993.
    """
    (maps,) = activations(model, images, layer, batch_size=batch_size).values()
    if maps.ndim != 4:
        raise ValueError(f"layer: it gives {tuple(maps.shape)}; allowed is (N, K, h, w).")
    if not isinstance(masks, Tensor) or masks.ndim != 4 or len(masks) != len(maps):
        came = tuple(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks: got {came}; allowed is (N, P, h, w), N = {len(maps)} as images.")
    if not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError("masks: got values outside [0, 1]; allowed are shares of a pixel.")
    if not 0 < quantile < 1 or permutations < 1 or not 1 <= top <= len(maps):
        raise ValueError(
            f"quantile, permutations, top: got {quantile}, {permutations}, {top}; allowed are "
            f"between 0 and 1, from 1, and from 1 to {len(maps)}."
        )
    maps = maps.float()
    places = maps.transpose(0, 1).flatten(1)  # (K, N · h · w)
    threshold = places.kthvalue(math.ceil(quantile * places.shape[1]), dim=1).values
    best = maps.flatten(2).amax(2).topk(top, dim=0).indices.T  # (K, top)
    both, active = _overlaps(maps, threshold, masks, permutations, seed, batch_size)
    iou = both / (active[:, None] + masks.double().sum((0, 2, 3)) - both).clamp_min(1e-12)
    true, chance = iou[0], iou[1:]
    mean, spread = chance.mean(0), chance.std(0, correction=0)
    distance = torch.where(spread > 1e-12, (iou - mean) / spread.clamp_min(1e-12), 0)
    largest = distance[1:].flatten(1).amax(1)  # (permutations,)
    p = (1 + (largest[:, None, None] >= distance[0]).sum(0)) / (permutations + 1)
    return UnitReport(true, mean, p, threshold, best)


def _overlaps(
    maps: Tensor, threshold: Tensor, masks: Tensor, permutations: int, seed: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return Σ active · mask for the true order and each permutation (1 + R, K, P), and Σ active.

    Every channel's active pixels meet every scene's masks once; an order then picks its pairs.
    """
    count, channels = maps.shape[:2]
    chance = torch.Generator().manual_seed(seed)
    orders = [torch.arange(count)]
    orders += [torch.randperm(count, generator=chance) for _ in range(permutations)]
    order = torch.stack(orders).to(maps.device)  # (1 + R, N)
    flat = masks.to(maps).flatten(0, 1).flatten(1)  # (N · P, h · w)
    size = (masks.shape[2], masks.shape[3])
    both = torch.zeros(len(order), channels, masks.shape[1], dtype=torch.double, device=maps.device)
    active = torch.zeros(channels, dtype=torch.double, device=maps.device)
    for some in torch.split(torch.arange(count, device=maps.device), batch_size):
        large = F.interpolate(maps[some], size, mode="bilinear", align_corners=False)
        on = (large > threshold[:, None, None]).to(maps)  # (b, K, h, w)
        active += on.double().sum((0, 2, 3))
        pairs = (on.flatten(0, 1).flatten(1) @ flat.T).view(len(some), channels, count, -1)
        for scene, met in zip(some, pairs, strict=True):  # met: (K, N, P)
            both += met.transpose(0, 1)[order[:, scene]].double()
    return both, active
