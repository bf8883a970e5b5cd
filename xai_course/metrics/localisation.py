"""Does relevance lie where it should? Measures against a mask, of an object or a part.

They say where a map points, not why: whether the model used what lies there is another question.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.inputs import validate_inputs
from xai_course.core.maps import Explainer, relevance_maps

__all__ = ["pointing_game", "relevance_mass"]


@torch.inference_mode(False)
@torch.no_grad()
def pointing_game(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    masks: Tensor,
    targets: Any = None,
    *,
    batch_size: int = 100,
) -> Tensor:
    """Return whether the pixel of the largest relevance lies inside the mask: 1 or 0, (N,).

    `explainer`: a function `(model, images, targets) -> relevance`, or the relevance of these
    images (N, C or 1, H, W); channels are summed first. `images` (N, C, H, W). `masks` (N, 1, H, W)
    or (N, H, W), from 0 to 1: above 0.5 is inside. `targets`: class indices (N,), one index, or
    None for the predicted class. `batch_size`: images in one pass. Relevance that was made before
    needs neither model nor targets, and the model is not run.

    If several pixels share the largest relevance, the share of them that lies inside: a flat map
    scores the area of the mask. NaN where nothing lies inside. Raises ValueError for wrong
    arguments.

    Zhang and others: Top-down Neural Attention by Excitation Backprop. ECCV 2016, arXiv:1608.00507.
    """
    relevance, inside = _where(model, explainer, images, masks, targets, batch_size)
    inside = (inside > 0.5).double()
    highest = (relevance == relevance.amax(1, keepdim=True)).double()
    hits = (highest * inside).sum(1) / highest.sum(1)
    return hits.masked_fill(inside.sum(1) == 0, torch.nan)


@torch.inference_mode(False)
@torch.no_grad()
def relevance_mass(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    masks: Tensor,
    targets: Any = None,
    *,
    batch_size: int = 100,
) -> Tensor:
    """Return the share of positive relevance that lies inside the mask, from 0 to 1, (N,).

    Arguments as in `pointing_game`. A mask between 0 and 1 counts a pixel in part.

        r = max(Σ over channels of relevance, 0)        share = Σ mask · r / Σ r

    0 where no relevance is positive, NaN where the mask is 0 everywhere. Raises ValueError for
    wrong arguments.

    Arras, Osman, Samek: CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural
    Network Explanations. Information Fusion 2022, arXiv:2003.07258.
    """
    relevance, inside = _where(model, explainer, images, masks, targets, batch_size)
    positive = relevance.clamp_min(0)
    total = positive.sum(1)
    share = (positive * inside).sum(1) / torch.where(total > 0, total, 1.0)
    return share.masked_fill(inside.sum(1) == 0, torch.nan)


def _where(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    masks: Tensor,
    targets: Any,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Return relevance, its channels summed, and how far inside each pixel lies, (N, H·W) both."""
    if isinstance(explainer, Tensor):
        if not isinstance(images, Tensor) or images.ndim != 4:
            came = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images: got {came}; allowed is a tensor (N, C, H, W).")
        maps = relevance_maps(model, explainer, images, targets)
    else:
        images, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
        with torch.enable_grad():  # a reader's own explainer may count on it
            maps = relevance_maps(model, explainer, images.clone(), classes, batch_size=batch_size)
    return maps.to(images.device).double().sum(1).flatten(1), _inside(images, masks)


def _inside(x: Tensor, masks: Tensor) -> Tensor:
    """Return how far each pixel of the images lies inside the mask, from 0 to 1, (N, H·W)."""
    shapes = (x[:, :1].shape, x[:, 0].shape)
    allowed = f"allowed are numbers from 0 to 1, {tuple(shapes[0])} or {tuple(shapes[1])}."
    if not isinstance(masks, Tensor) or masks.shape not in shapes:
        came = tuple(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks: got {came}; {allowed}")
    inside = masks.to(x.device).double().flatten(1)
    if not ((inside >= 0) & (inside <= 1)).all():
        raise ValueError(f"masks: got {inside.min():g} to {inside.max():g}; {allowed}")
    return inside
