"""Class activation maps (CAM), for pooled and for flattened heads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.graph import keeps_places, moves_places
from xai_course.core.hooks import intercept
from xai_course.core.inputs import check_images, upsample_keep_sum, validate_inputs
from xai_course.core.maps import call_explainer
from xai_course.core.outputs import single_output
from xai_course.core.switches import own_switches
from xai_course.fully_connected.logits import HeadTracer, TracedTensor

__all__ = ["class_activation_map", "contrast"]


@own_switches(grad=True)
def class_activation_map(
    model: nn.Module, images: Tensor, targets: Any = None, *, enlarged: bool = True
) -> Tensor:
    """Return the class activation map: what each position of the last map adds to the logit.

        relevance[i, j] = Σ over k of A[k, i, j] · ∂ logit[target] / ∂ A[k, i, j]
        logit[target]   = Σ over i, j of relevance[i, j] + bias   (that of `logit_contributions`)

    A (K, h, w) is the last convolutional feature map, found by watching the forward pass. Its
    places are where the last convolution put them: a map that a later step flips, transposes or
    reorders is not taken (`keeps_places` tells), the one before it is. Where average pooling and
    one linear layer follow, the derivative is weight[k] / (h·w), and this is the published map in
    logits. Where the map is flattened, every flattened feature still has its
    position; which positions max-pools choose, and which ReLUs of the head are open, is held fixed.
    The sum is checked, and enlarging keeps it.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        enlarged: False leaves the map at the resolution (h, w) of A.

    Returns:
        Relevance (N, 1, H, W), or (N, 1, h, w), in logits.

    Raises:
        ValueError: if an argument is not as described; for a network without a convolution, without
            a linear head, or whose last map has one position; if the sum is not the logit, as for a
            head with GELU, or one that takes features from elsewhere, too.

    Cost:
        One forward pass, the backward pass down to A, and two from A to the last convolution.

    References:
        Zhou and others: Learning Deep Features for Discriminative Localization. CVPR 2016,
        arXiv:1512.04150 (pooled heads). Draelos, Carin: Use HiResCAM instead of Grad-CAM for
        faithful explanations of convolutional neural networks. 2020, arXiv:2011.08891 (any
        piecewise linear head).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import class_activation_map
        >>> _ = torch.manual_seed(0)
        >>> layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        >>> model = nn.Sequential(*layers, nn.Linear(4, 2)).eval()
        >>> images = torch.rand(2, 3, 8, 8)
        >>> relevance = class_activation_map(model, images, targets=1)
        >>> logits = relevance.sum((1, 2, 3)) + model[4].bias[1]
        >>> torch.allclose(logits, model(images)[:, 1], atol=1e-6)
        True
    """
    head = HeadTracer()
    model, targets = single_output(model, targets)
    with intercept(head.watch):
        _, chosen, _ = validate_inputs(model, images, targets)
    contributions = _split_last_map(head, chosen)
    relevance = contributions.sum(1, keepdim=True)  # (N, 1, h, w)
    if not enlarged:
        return relevance
    return upsample_keep_sum(relevance, (images.shape[2], images.shape[3]))


def _split_last_map(head: HeadTracer, chosen: Tensor) -> Tensor:
    """Split logits over the last map; raise if it has one position or no linear head follows it."""
    if not head.maps:
        got = "no convolution that can be seen"
    elif head.maps[0].value.shape[2:].numel() == 1:
        got = "a last convolution of one position, as in squeeze-and-excitation or of a small image"
    elif not head.inputs:
        got = "no linear layer (N, features) after the last convolution"
    elif not (found := _maps_in_place(head.maps)):
        got = "places that are moved in place after the last convolution"
    else:
        *others, last = found
        for each in others:
            with suppress(ValueError):  # the next may have a sum
                return head.split_logit(chosen, each)[0]
        return head.split_logit(chosen, last)[0]
    raise ValueError(
        f"model: got {got}; must be a network of convolutions whose last one has several positions "
        "(larger images have more), with linear layers after it. grad_cam takes any layer's map "
        "and needs no linear layer, gradient needs no convolution."
    )


def _maps_in_place(maps: list[TracedTensor]) -> list[TracedTensor]:
    """Return the maps to try: the last whose places come each from the same place of the first.

    Then the first, what the convolution returned. Then the last that mixes places and moves none,
    as after attention, if it is later than all others. A map that was flipped or transposed is
    none of them, nor is another layout of the same shape, nor one that was overwritten later.
    """
    start = maps[0].edge
    whole = [each for each in maps if each.value._version == each.version]
    first = [each for each in whole[:1] if each is maps[0]]
    mixed: list[TracedTensor] = []
    for each in reversed(whole[len(first) :]):
        if keeps_places(start, each.edge, each.value):
            return [each, *first, *mixed]
        if not mixed and not moves_places(start, each.edge, each.value):
            mixed = [each]
    return [*first, *mixed]


@own_switches()
def contrast(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    others: Any = None,
    *,
    explain: Callable[..., Tensor] = class_activation_map,
) -> Tensor:
    """Return why one class and not another: the difference of their explanations.

        relevance = explain(target) - explain(other)

    With `class_activation_map`, its sum is the difference of the two logits minus that of the two
    biases. What supports both classes equally cancels.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None for the predicted class.
        others: the classes to compare with, likewise; None for the runner-up, which has the highest
            logit of the other classes.
        explain: any explainer `(model, images, targets) -> Tensor`.

    Returns:
        Relevance (N, 1, H, W) in logits, or what `explain` returns, in its unit.

    Raises:
        ValueError: if an argument is not as described, as `explain` does, or if there is no second
            class.

    Cost:
        Twice the passes of `explain`, and two forward passes to find the runner-up.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import class_activation_map, contrast
        >>> _ = torch.manual_seed(0)
        >>> layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        >>> model = nn.Sequential(*layers, nn.Linear(4, 5)).eval()
        >>> images = torch.rand(2, 3, 8, 8)
        >>> first, second = (class_activation_map(model, images, k) for k in (1, 2))
        >>> torch.equal(contrast(model, images, 1, 2), first - second)
        True
    """
    if not callable(explain):
        raise ValueError(
            f"explain: got {type(explain).__name__}; must be a function (model, images, targets) "
            "-> relevance."
        )
    check_images(images)
    if others is None:
        with torch.no_grad():
            x, _, targets = validate_inputs(model, images, targets)
            logits = model(x)
        if logits.shape[1] < 2:
            raise ValueError("others: got a model of one class; must be a model of at least two.")
        others = logits.scatter(1, targets[:, None], -torch.inf).argmax(1)
    explained = call_explainer("explain", explain, model, images, targets)
    try:
        return explained - call_explainer("explain", explain, model, images, others)
    except ValueError as error:
        raise ValueError(str(error).replace("targets:", "others:", 1)) from error
