"""Technique 1: the output of a layer, and which part of the image each of its channels detects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import check_images, validate_inputs
from xai_course.core.randomness import new_generator
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain

__all__ = ["UnitReport", "activations", "unit_report"]


@own_switches(grad=False)
def activations(
    model: nn.Module,
    images: Tensor,
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    batch_size: int | None = None,
) -> dict[str, Tensor]:
    """Return the output of one or several layers for each image.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        layers: a module of the model or its dotted name, or several of them. If a layer runs
            several times, its last run counts.
        batch_size: images in one forward pass; None runs all at once.

    Returns:
        The layers' outputs (N, ...) by name, detached, as the layer returned them before any later
        in-place step.

    Raises:
        ValueError: if an argument is not as described, or a layer does not exist, does not run or
            does not return one tensor.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import activations
        >>> model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten()).eval()
        >>> outputs = activations(model, torch.rand(2, 3, 8, 8), ["0", "1"])
        >>> torch.equal(outputs["1"], outputs["0"].relu())
        True
    """
    check_images(images)
    if batch_size is not None:
        batch_size = check_count("batch_size", batch_size)
    wanted = [layers] if isinstance(layers, str | nn.Module) else list(layers)
    outputs: list[list[Tensor]] = [[] for _ in wanted]
    for batch in torch.split(images, int(batch_size or len(images))):
        with ExitStack() as stack:
            captured = [stack.enter_context(capture_layer(model, layer)) for layer in wanted]
            validate_inputs(model, batch)
        for parts, output in zip(outputs, captured, strict=True):
            parts.append(output[0])
    names = {module: name for name, module in model.named_modules()}
    return {
        layer if isinstance(layer, str) else names[layer]: torch.cat(parts)
        for layer, parts in zip(wanted, outputs, strict=True)
    }


class UnitReport(NamedTuple):
    """Which of P parts each of the K channels of a layer detects.

    Attributes:
        iou: intersection over union of the channel's active pixels with the part's mask, over all
            images (K, P).
        null: the mean IoU when the masks are those of other images (K, P).
        p: how often random masks do as well anywhere in the table (K, P): p-values that hold for
            all channels and parts together.
        threshold: above it a channel is active (K,).
        top: indices of the images with the channel's largest outputs (K, T).
    """

    iou: Tensor
    null: Tensor
    p: Tensor
    threshold: Tensor
    top: Tensor


@own_switches(grad=False)
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
    """Report which part of the image each channel of a layer detects (network dissection).

        IoU[k, p] = Σ active_k · mask_p / Σ (active_k + mask_p - active_k · mask_p)

    A channel is active where its output, enlarged to the masks' size, is above its `quantile` over
    all images and positions. For the null distribution the masks are exchanged among the images, so
    a channel that is active where a part usually lies gains nothing by it. Each IoU's distance from
    the null's mean, in standard deviations, is compared with the largest such distance in the whole
    table in each permutation (maximum statistic).

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        masks: (N, P, h, w) in [0, 1]: where each part lies in each image.
        layer: a module or its dotted name, with an output (N, K, h', w').
        quantile: between 0 and 1; 0.995 as published.
        top: images to list for each channel, those with its largest outputs.
        permutations: of the masks. The smallest possible p is 1 / (permutations + 1).
        seed: of the permutations.
        batch_size: images in one forward pass.

    Returns:
        The report (see `UnitReport`).

    Raises:
        ValueError: if an argument is not as described, or the layer does not return such maps.

    Cost:
        One forward pass.

    References:
        Bau, Zhou, Khosla, Oliva, Torralba: Network Dissection: Quantifying Interpretability of Deep
        Visual Representations. CVPR 2017, arXiv:1704.05796.
        Westfall, Young: Resampling-Based Multiple Testing. Wiley 1993.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import unit_report
        >>> model = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        >>> masks = torch.eye(16).view(16, 1, 4, 4)  # one pixel, elsewhere in each image
        >>> report = unit_report(model, masks.clone(), masks, "0", quantile=0.9)
        >>> report.iou, report.p < 0.01  # the channel is the mask
        (tensor([[1.]], dtype=torch.float64), tensor([[True]]))
    """
    (maps,) = activations(model, images, layer, batch_size=batch_size).values()
    if maps.ndim != 4:
        raise ValueError(
            f"layer: got one that returns {tuple(maps.shape)}; must return (N, K, h, w)."
        )
    _check_masks(masks, len(maps))
    check_number("quantile", quantile, above=0, below=1)
    permutations = check_count("permutations", permutations)
    top = check_count("top", top, most=len(maps))
    maps = maps.float()
    outputs = maps.transpose(0, 1).flatten(1)  # (K, N · h' · w')
    threshold = outputs.kthvalue(math.ceil(quantile * outputs.shape[1]), dim=1).values
    strongest = maps.flatten(2).amax(2).topk(top, dim=0).indices.T  # (K, top)
    both, active = _overlaps(maps, threshold, masks, permutations, seed, batch_size)
    iou = both / (active[:, None] + masks.double().sum((0, 2, 3)) - both).clamp_min(1e-12)
    observed, permuted = iou[0], iou[1:]  # (K, P) and (permutations, K, P)
    mean, spread = permuted.mean(0), permuted.std(0, correction=0)
    distance = torch.where(spread > 1e-12, (iou - mean) / spread.clamp_min(1e-12), 0)
    largest = distance[1:].flatten(1).amax(1)  # (permutations,)
    p = (1 + (largest[:, None, None] >= distance[0]).sum(0)) / (permutations + 1)
    return UnitReport(observed, mean, p, threshold, strongest)


def _check_masks(masks: Tensor, count: int) -> None:
    """Raise ValueError unless masks are shares of a pixel (count, P, h, w)."""
    if isinstance(masks, Tensor):
        check_plain("masks", masks)
    if not isinstance(masks, Tensor) or masks.ndim != 4 or len(masks) != count:
        got = tuple(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks: got {got}; must be (N, P, h, w), N = {count} as of the images.")
    if not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError("masks: got values outside [0, 1]; must be shares of a pixel.")


def _overlaps(
    maps: Tensor, threshold: Tensor, masks: Tensor, permutations: int, seed: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return Σ active · mask for the true order and each permutation (1 + R, K, P), and Σ active.

    Every channel's active pixels are multiplied with every image's masks once; each order of the
    masks then picks its pairs.
    """
    count, channels = maps.shape[:2]
    generator = new_generator(seed)
    orders = [torch.arange(count)]
    orders += [torch.randperm(count, generator=generator) for _ in range(permutations)]
    order = torch.stack(orders).to(maps.device)  # (1 + R, N)
    flat = masks.to(maps).flatten(0, 1).flatten(1)  # (N · P, h · w)
    size = (masks.shape[2], masks.shape[3])
    both = torch.zeros(len(order), channels, masks.shape[1], dtype=torch.double, device=maps.device)
    active = torch.zeros(channels, dtype=torch.double, device=maps.device)
    for batch in torch.split(torch.arange(count, device=maps.device), int(batch_size)):
        large = F.interpolate(maps[batch], size, mode="bilinear", align_corners=False)
        is_active = (large > threshold[:, None, None]).to(maps)  # (b, K, h, w)
        active += is_active.double().sum((0, 2, 3))
        pairs = is_active.flatten(0, 1).flatten(1) @ flat.T  # (b · K, N · P)
        pairs = pairs.view(len(batch), channels, count, -1)
        for image, overlaps in zip(batch, pairs, strict=True):  # overlaps: (K, N, P)
            both += overlaps.transpose(0, 1)[order[:, image]].double()
    return both, active
