"""Score-CAM: feature maps weighted by the logit of the image that they mask."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.checks import check_choice
from xai_course.core.hooks import capture_layer, check_map_layout
from xai_course.core.inputs import validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.progress import progress_bar
from xai_course.core.switches import own_switches

__all__ = ["score_cam"]


@own_switches(grad=False)
def score_cam(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    weights: str = "softmax",
    baseline: float | str | Tensor = 0.0,
    relu: bool = False,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return Score-CAM: the sum of a layer's feature maps, weighted by what each lets through.

        mask[k]         = A[k], enlarged to (H, W) and scaled to 0 … 1
        increase[k]     = f(baseline + mask[k] · (x - baseline)) - f(baseline)
        weight          = softmax of increase over the channels k, or increase itself
        relevance[i, j] = Σ_k weight[k] · A[k, i, j]        with A the layer's output (K, h, w)

    f is the logit of the target class. No gradient is needed. The map has the layer's resolution
    (h, w) and is enlarged to the input's size by bilinear interpolation. A channel that is the same
    everywhere has a mask of zeros.

    Published are the mask with a baseline of 0, the softmax and a ReLU at the end. The softmax
    makes every weight positive, so nothing speaks against the class where A comes from a ReLU; it
    forgets f(baseline), which is the same for all channels; and with logits some units apart it
    leaves one channel nearly all the weight. `weights="increase"` leaves the softmax out: then a
    channel that lowers the logit counts against the class. The authors' own code differs from the
    paper: it weights a channel by the class's probability, without a softmax over the channels.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        layer: a module of the model or its dotted name. If it runs several times, its last run
            counts. None for the last convolutional feature map (see `capture_layer`).
        weights: "softmax", as published, or "increase".
        baseline: what shows where a mask is 0: a number, a tensor, "mean" or "blur" (see
            `baseline_images`). 0 is the published one, and black only without normalisation.
        relu: False keeps the sign; True sets negative values to 0, as published.
        batch_size: images in one forward pass, which bounds the memory.
        progress: show a bar of progress.

    Returns:
        Relevance (N, 1, H, W), without a unit: A times weights of sum 1; with "increase", A times
        logits.

    Raises:
        ValueError: if an argument is not as described, or the layer does not exist, does not run or
            does not return (N, K, h, w).

    Cost:
        K + 2 forward passes of each image, and with "increase" one more, of the baseline.

    References:
        Wang and others: Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
        Networks. CVPR Workshops 2020, arXiv:1910.01279.

    Example:
        A channel that shows where the image is bright; the logit adds up what it shows.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import score_cam
        >>> layers = nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 1, bias=False)
        >>> model = nn.Sequential(*layers).eval()
        >>> for weight in model.parameters():
        ...     _ = nn.init.ones_(weight)
        >>> images = torch.tensor([[[[0.0, 1, 2, 4]]]])
        >>> score_cam(model, images).tolist()  # one channel has all the weight
        [[[[0.0, 1.0, 2.0, 4.0]]]]
        >>> score_cam(model, images, weights="increase").tolist()  # 1 / 4 + 4 / 4 + 16 / 4 = 5.25
        [[[[0.0, 5.25, 10.5, 21.0]]]]
    """
    check_choice("weights", weights, ("softmax", "increase"))
    model, targets = single_output(model, targets)
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    filling = baseline_images(x, baseline)
    batch_size = int(batch_size)
    maps = _feature_maps(model, x, layer, batch_size)  # (N, K, h, w)

    def logits(pictures: Tensor, their_classes: Tensor) -> Tensor:
        outputs: Tensor = model(pictures)
        return outputs.gather(1, their_classes[:, None])[:, 0].to(x.dtype)

    # One line (image, channel) for each pass of one image through the model.
    indices = [torch.arange(count, device=x.device) for count in maps.shape[:2]]
    batches = torch.split(torch.cartesian_prod(*indices), batch_size)
    scores = []
    for batch in progress_bar(batches, "score_cam", progress):
        n, channel = batch.T
        masks = _masks(maps[n, channel, None], (x.shape[2], x.shape[3]))
        image, fill = x.index_select(0, n), filling.index_select(0, n)
        scores.append(logits(fill + masks * (image - fill), classes[n]))
    score = torch.cat(scores).view(*maps.shape[:2])
    if weights == "softmax":
        weight = score.softmax(1)
    else:
        splits = torch.split(filling, batch_size), torch.split(classes, batch_size)
        blank = [logits(fill.clone(), those) for fill, those in zip(*splits, strict=True)]
        weight = score - torch.cat(blank)[:, None]
    relevance = (weight[:, :, None, None] * maps).sum(1, keepdim=True)
    if relu:
        relevance = relevance.relu()
    return F.interpolate(relevance, images.shape[2:], mode="bilinear", align_corners=False)


def _feature_maps(
    model: nn.Module, x: Tensor, layer: str | nn.Module | None, batch_size: int
) -> Tensor:
    """Return what a layer makes of images: (N, K, h, w)."""
    maps = []
    for batch in torch.split(x, batch_size):
        with capture_layer(model, layer) as captured:
            model(batch.clone())
        check_map_layout(captured[0], batch, layer)
        maps.append(captured[0].to(x.dtype))
    return torch.cat(maps)


def _masks(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge maps (B, 1, h, w), and scale each to 0 … 1: (B, 1, H, W)."""
    masks = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
    span, largest = high - low, maps.abs().amax((2, 3), keepdim=True)
    # What differs by rounding only is the same everywhere, and has no range to scale.
    flat = span <= 10 * torch.finfo(maps.dtype).eps * largest
    return torch.where(flat, 0, (masks - low) / torch.where(flat, 1, span))
