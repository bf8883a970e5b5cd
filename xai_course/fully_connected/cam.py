"""Class activation maps (CAM), for pooled and for flattened heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.inputs import upsample_keep_sum, validate_inputs
from xai_course.fully_connected.logits import HeadTracer

__all__ = ["class_activation_map", "contrast"]


@torch.inference_mode(False)
@torch.enable_grad()
def class_activation_map(
    model: nn.Module, images: Tensor, targets: Any = None, *, enlarged: bool = True
) -> Tensor:
    """Return the class activation map: what each place of the last feature map adds to the logit.

    `images` (N, C, H, W) to relevance (N, 1, H, W), in logits. `targets`: class indices (N,), one
    index, or None for the predicted class. `enlarged`: False leaves the map at the resolution
    (h, w) of the last convolutional feature map A (K, h, w), found by watching the forward pass.

        relevance[i, j] = Σ over k of A[k, i, j] · ∂ logit[target] / ∂ A[k, i, j]
        logit[target]   = Σ over i, j of relevance[i, j] + bias   (that of `logit_contributions`)

    Where average pooling and one linear layer follow, the derivative is weight[k] / (h·w), and
    this is the published map in logits. Where the map is flattened, every flattened feature
    still has its place; max-pooling and the head's ReLUs count with their gates fixed. The sum is
    checked, and enlarging keeps it.

    One forward pass, and the backward pass down to A. Raises ValueError for wrong arguments, for a
    network without a convolution, without a linear head, or whose last map has one place, and if
    the sum is not the logit, as for a head with GELU, or that takes features from elsewhere, too.

    Zhou et al.: Learning Deep Features for Discriminative Localization. CVPR 2016,
    arXiv:1512.04150 (pooled heads). Draelos, Carin: Use HiResCAM instead of Grad-CAM for faithful
    explanations of convolutional neural networks. 2020, arXiv:2011.08891 (any piecewise linear).
    """
    with HeadTracer() as head:
        _, chosen, _ = validate_inputs(model, images, targets)
    places = 0 if head.last_map is None else head.last_map[1][0, 0].numel()
    if head.last_map is None or not head.inputs or places == 1:
        came = {0: "no convolution", 1: "a last feature map of one place"}.get(
            places, "no such head"
        )
        raise ValueError(
            f"model: got {came}; allowed is a network of convolutions whose last map has several "
            "places (larger images have more), with linear layers (N, features) after it. grad_cam "
            "takes any layer's map and needs no linear layer, gradient needs no convolution."
        )
    contributions, _ = head.share_out(chosen, *head.last_map)
    relevance = contributions.sum(1, keepdim=True)
    return (
        upsample_keep_sum(relevance, (images.shape[2], images.shape[3])) if enlarged else relevance
    )


@torch.inference_mode(False)
def contrast(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    others: Any = None,
    *,
    explain: Callable[..., Tensor] = class_activation_map,
) -> Tensor:
    """Return why one class and not another: the difference of their explanations.

    `images` (N, C, H, W) to relevance (N, 1, H, W), or whatever `explain` gives, in its unit.
    `targets`: class indices (N,), one index, or None for the predicted class. `others`: likewise
    what to hold against it; None for the runner-up, which has the highest logit of the rest.
    `explain`: any explainer `(model, images, targets) -> Tensor`.

        relevance = explain(target) - explain(other)

    With `class_activation_map`, its sum is the difference of the two logits minus that of the two
    biases. What speaks for both classes alike cancels.

    Twice the passes of `explain`; two forward passes more to find the runner-up. Raises ValueError
    for wrong arguments, as `explain` does, and if there is no second class.
    """
    if others is None:
        with torch.no_grad():
            x, _, targets = validate_inputs(model, images, targets)
            logits = model(x)
        if logits.shape[1] < 2:
            raise ValueError("others: the model has one class; allowed is a model with two.")
        others = logits.scatter(1, targets[:, None], -torch.inf).argmax(1)
    explained = explain(model, images, targets)
    try:
        return explained - explain(model, images, others)
    except ValueError as error:
        raise ValueError(str(error).replace("targets:", "others:", 1)) from error
