"""Grad-CAM: feature maps weighted by their mean gradient."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.graph import derivatives
from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import validate_inputs
from xai_course.core.switches import own_switches

__all__ = ["grad_cam"]


@own_switches(grad=True)
def grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    relu: bool = False,
) -> Tensor:
    """Return Grad-CAM: the sum of a layer's feature maps, each weighted by its mean gradient.

        weight[k]       = mean over positions of ∂f/∂A[k]
        relevance[i, j] = Σ_k weight[k] · A[k, i, j]        with A the layer's output (K, h, w)

    The map has the layer's resolution (h, w) and is enlarged to the input's size by bilinear
    interpolation. If only average pooling and one linear layer follow, the sum over the h·w
    positions, before that, is the logit minus its bias.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None for the predicted class.
        layer: a module of the model or its dotted name. If it runs several times, its last run
            counts. None for the last convolutional feature map (see `capture_layer`).
        relu: False keeps the sign; True sets negative values to 0, as published.

    Returns:
        Relevance (N, 1, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the layer does not exist, does not run,
            does not return (N, K, h, w), or does not affect the logit.

    Cost:
        One forward pass, and the backward pass down to the layer.

    References:
        Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
        Localization. ICCV 2017, arXiv:1610.02391.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.relu import grad_cam
        >>> _ = torch.manual_seed(0)
        >>> head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2, bias=False)
        >>> model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), *head).eval()
        >>> images = torch.rand(1, 3, 8, 8)
        >>> relevance = grad_cam(model, images, targets=1)
        >>> relevance.shape, torch.allclose(relevance.sum(), model(images)[0, 1])
        (torch.Size([1, 1, 8, 8]), True)
    """
    with capture_layer(model, layer) as captured:
        _, chosen, _ = validate_inputs(model, images, targets)
    maps = captured[0]
    where = "the last convolution" if layer is None else repr(layer)
    _check_layout(maps, images, where)
    grad = None
    if chosen.requires_grad and maps.requires_grad:
        (grad,) = derivatives(chosen.sum(), maps, allow_unused=True)
    if grad is None:
        raise ValueError(
            f"layer: got {where}, which does not affect the logit; must be one that does."
        )
    weights = grad.mean((2, 3), keepdim=True)
    relevance = (weights * maps.detach()).sum(1, keepdim=True)
    if relu:
        relevance = relevance.relu()
    return F.interpolate(relevance, images.shape[2:], mode="bilinear", align_corners=False)


def _check_layout(maps: Tensor, images: Tensor, layer: str) -> None:
    """Raise ValueError unless maps are (N, K, h, w), one for each image, with channels second."""
    shape, must = tuple(maps.shape), f"must return ({len(images)}, K, h, w)"
    if maps.ndim != 4 or len(maps) != len(images):
        raise ValueError(f"layer: got {layer}, which returns {shape}; {must}.")
    # Maps have the aspect ratio of the images, up to the rounding of strides. Where only the other
    # order has it, the channels are last.
    ratio = images.shape[2] / images.shape[3]
    if not _fits(shape[2], shape[3], ratio) and _fits(shape[1], shape[2], ratio):
        raise ValueError(f"layer: got {layer}, which returns {shape}, channels last; {must}.")


def _fits(height: int, width: int, ratio: float) -> bool:
    """Tell whether a map can be that of an image with a ratio of height to width."""
    return (height - 1) <= ratio * (width + 1) and ratio * (width - 1) <= (height + 1)
