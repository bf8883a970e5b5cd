"""Grad-CAM: feature maps weighted by their mean gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import validate_inputs

__all__ = ["grad_cam"]


@torch.inference_mode(False)
@torch.enable_grad()
def grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    relu: bool = False,
) -> Tensor:
    """Return Grad-CAM: a layer's feature maps, each weighted by its mean gradient, summed.

    `images` (N, C, H, W) to relevance (N, 1, H, W): computed at the layer's resolution (h, w),
    then enlarged to the input's size by bilinear interpolation (pixel centres kept in place).
    `targets`: class indices (N,), one index, or None for the predicted class.
    `layer`: a module of the model or its dotted name; a module that runs several times counts
    with its last run. None: the last convolutional feature map (see `capture_layer`).
    `relu`: False keeps the sign; True drops negative values, as published.

        weight[k]       = mean over places of ∂ logit[target] / ∂ A[k]
        relevance[i, j] = Σ_k weight[k] · A[k, i, j]        with A the layer's output (K, h, w)

    If only average pooling and one linear layer follow, the sum over the h·w places before
    enlarging is exactly the logit minus its bias. One forward pass, and the backward pass down
    to the layer. Raises ValueError for wrong arguments, and for a layer that is unknown, does
    not run, gives no (N, K, h, w) tensor, or does not affect the logit.

    Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization. ICCV 2017, arXiv:1610.02391.
    """
    with capture_layer(model, layer) as seen:
        _, chosen, _ = validate_inputs(model, images, targets)
    maps = seen[-1]
    if maps.ndim != 4:
        raise ValueError(
            f"layer: {layer!r} returns {tuple(maps.shape)}; allowed is one that gives (N, K, h, w)."
        )
    slope = None
    if chosen.requires_grad and maps.requires_grad:
        (slope,) = torch.autograd.grad(chosen.sum(), maps, allow_unused=True)
    if slope is None:
        raise ValueError(f"layer: the logit does not depend on {layer!r}; allowed is one it needs.")
    weights = slope.mean((2, 3), keepdim=True)
    relevance = (weights * maps.detach()).sum(1, keepdim=True)
    if relu:
        relevance = relevance.relu()
    return F.interpolate(relevance, images.shape[2:], mode="bilinear", align_corners=False)
