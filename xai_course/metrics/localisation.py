"""Does relevance lie where it should? Measures against a mask, of an object or a part.

They tell where relevance lies, not why: whether the model used what is there is another question.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.inputs import check_images, validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.switches import own_switches

__all__ = ["pointing_game", "relevance_mass"]


@own_switches(grad=False)
def pointing_game(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    masks: Tensor,
    targets: Any = None,
    *,
    batch_size: int = 100,
) -> Tensor:
    """Return whether the most relevant pixel lies inside the mask.

        hit = 1 if mask(argmax over pixels of relevance) > 0.5, else 0

    If several pixels share the largest relevance, the hit is the share of them that lies inside.
    So a flat map scores the area of the mask.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is not used if
            the relevance is given.
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W). Channels are summed first.
        images: (N, C, H, W), floating point.
        masks: (N, 1, H, W) or (N, H, W), from 0 to 1; above 0.5 is inside.
        targets: class indices (N,), one index for all, or None for the predicted class. Not used
            if the relevance is given.
        batch_size: images in one pass.

    Returns:
        The hits (N,), from 0 to 1; NaN where nothing lies inside.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass and the explainer's passes; none if the relevance is given.

    References:
        Zhang and others: Top-down Neural Attention by Excitation Backprop. ECCV 2016,
        arXiv:1608.00507.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import pointing_game
        >>> model, images = nn.Flatten().eval(), torch.zeros(1, 3, 2, 2)
        >>> relevance = torch.tensor([[[[0.0, 5.0], [3.0, 2.0]]]])
        >>> mask = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])  # the upper half
        >>> pointing_game(model, relevance, images, mask)
        tensor([1.], dtype=torch.float64)
    """
    relevance, inside = _relevance_and_mask(model, explainer, images, masks, targets, batch_size)
    inside = (inside > 0.5).double()
    highest = (relevance == relevance.amax(1, keepdim=True)).double()  # several, if they are equal
    hits = (highest * inside).sum(1) / highest.sum(1)
    return hits.masked_fill(inside.sum(1) == 0, torch.nan)


@own_switches(grad=False)
def relevance_mass(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    masks: Tensor,
    targets: Any = None,
    *,
    batch_size: int = 100,
) -> Tensor:
    """Return the share of positive relevance that lies inside the mask.

        r = max(Σ over channels of relevance, 0)        share = Σ mask · r / Σ r

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is not used if
            the relevance is given.
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W).
        images: (N, C, H, W), floating point.
        masks: (N, 1, H, W) or (N, H, W), from 0 to 1: how much of each pixel lies inside.
        targets: class indices (N,), one index for all, or None for the predicted class. Not used
            if the relevance is given.
        batch_size: images in one pass.

    Returns:
        The share (N,), from 0 to 1; 0 where no relevance is positive, NaN where the mask is 0
        everywhere.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass and the explainer's passes; none if the relevance is given.

    References:
        Arras, Osman, Samek: CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of
        Neural Network Explanations. Information Fusion 2022, arXiv:2003.07258.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import relevance_mass
        >>> model, images = nn.Flatten().eval(), torch.zeros(1, 3, 2, 2)
        >>> relevance = torch.tensor([[[[0.0, 5.0], [3.0, 2.0]]]])
        >>> mask = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])  # the upper half
        >>> relevance_mass(model, relevance, images, mask)
        tensor([0.5000], dtype=torch.float64)
    """
    relevance, inside = _relevance_and_mask(model, explainer, images, masks, targets, batch_size)
    positive = relevance.clamp_min(0)
    total = positive.sum(1)
    share = (positive * inside).sum(1) / torch.where(total > 0, total, 1.0)
    return share.masked_fill(inside.sum(1) == 0, torch.nan)


def _relevance_and_mask(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    masks: Tensor,
    targets: Any,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Return relevance, its channels summed, and the mask of each pixel, (N, H·W) both."""
    if isinstance(explainer, Tensor):
        check_images(images)
        maps = relevance_maps(model, explainer, images, targets)
    else:
        images, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
        with torch.enable_grad():  # a reader's own explainer may rely on it
            # The explainer gets a copy, since it may change its images in place.
            maps = relevance_maps(model, explainer, images.clone(), classes, batch_size=batch_size)
    _check_masks_fit(masks, images)
    relevance = maps.to(images.device).double().sum(1).flatten(1)
    return relevance, masks.to(images.device).double().flatten(1)


def _check_masks_fit(masks: Tensor, images: Tensor) -> None:
    """Raise ValueError unless the masks fit the images and lie between 0 and 1."""
    shapes = (images[:, :1].shape, images[:, 0].shape)
    must = f"must be numbers from 0 to 1, {tuple(shapes[0])} or {tuple(shapes[1])}."
    if not isinstance(masks, Tensor):
        raise ValueError(f"masks: got {type(masks).__name__}; {must}")
    if masks.shape not in shapes:
        raise ValueError(f"masks: got shape {tuple(masks.shape)}; {must}")
    if not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError(f"masks: got {masks.min():g} to {masks.max():g}; {must}")
