"""Does relevance lie where it should? Measures against a mask, of an object or a part.

They tell where relevance lies, not why: whether the model used what is there is another question.
In the grid pointing game the answer is known better: in a mosaic of images of different classes,
the cell of a class speaks for it, and with `disconnected` nothing else can.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_choice, check_count
from xai_course.core.inputs import check_images, validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.outputs import single_output
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain

__all__ = ["grid_pointing_game", "mosaics", "pointing_game", "relevance_mass"]


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
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`). Not used if the relevance is given.
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
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`). Not used if the relevance is given.
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
    model, targets = single_output(model, targets)
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
    check_plain("masks", masks)
    if masks.shape not in shapes:
        raise ValueError(f"masks: got shape {tuple(masks.shape)}; {must}")
    if not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError(f"masks: got {masks.min():g} to {masks.max():g}; {must}")


# ---- the grid pointing game ----------------------------------------------------------------------


@own_switches(grad=False)
def grid_pointing_game(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    *,
    grid: int | tuple[int, int] = 2,
    disconnected: bool = False,
    batch_size: int = 20,
) -> Tensor:
    """Return the share of positive relevance in the cell of the class, in mosaics of images.

        r = max(Σ over channels of relevance, 0)        share = Σ in the cell r / Σ r

    Images of different classes are put side by side, see `mosaics`, and the mosaic is explained for
    the class of each cell. A map that is even everywhere has the share 1 / cells. What is left to
    1 need not be a mistake: the model sees the whole mosaic, and something in another cell may
    speak for the class (GridPG). With `disconnected`, the logit is that of the model on the cell
    alone, so that the right share is 1 (DiFull).

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes), for images of any
            size unless `disconnected`.
        explainer: a function `(model, images, targets) -> relevance`, which gets mosaics; or the
            relevance of each image's mosaic for the image's class (N, C or 1, rows · H,
            columns · W).
        images: (N, C, H, W), floating point; N is a multiple of the cells.
        targets: class indices (N,), different within a mosaic, or None for the class that is
            predicted for each image alone.
        grid: rows and columns, or one number for both.
        disconnected: True cuts each cell out inside the model. A method that reads a layer inside
            (CAM, Grad-CAM, FullGrad) then sees the cell alone, and its map does not fit the mosaic:
            leave those out.
        batch_size: images in one pass.

    Returns:
        The share (N,), from 0 to 1, of each image in its mosaic; 0 where no relevance is positive.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One explanation of its mosaic for each image, and two forward passes.

    References:
        Böhle, Fritz, Schiele: Convolutional Dynamic Alignment Networks for Interpretable
        Classifications. CVPR 2021, arXiv:2104.00032 (the game).
        Rao, Böhle, Schiele: Towards Better Understanding Attribution Methods. CVPR 2022,
        arXiv:2205.10435 (GridPG, and DiFull, in which each cell is classified apart).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import grid_pointing_game
        >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        >>> images = torch.zeros(2, 2, 1, 1)
        >>> relevance = torch.tensor([[[[3.0, 1.0]]], [[[3.0, 1.0]]]])  # for each image's class
        >>> grid_pointing_game(model, relevance, images, [0, 1], grid=(1, 2))
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    check_choice("disconnected", disconnected, (True, False))
    rows, columns = _rows_and_columns(grid)
    cells = rows * columns
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    repeated = mosaics(x, grid).repeat_interleave(cells, 0)  # each image's mosaic
    _check_different(classes.view(-1, cells))
    height, width = x.shape[2:]
    shares = x.new_empty(len(x), dtype=torch.double)
    for cell in range(cells):
        row, column = divmod(cell, columns)
        inside = (
            slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)
        )  # fmt: skip
        mask = torch.zeros_like(repeated[cell::cells, :1])
        mask[..., *inside] = 1
        own = explainer[cell::cells] if isinstance(explainer, Tensor) else explainer
        asked = _OneCell(model, inside).eval() if disconnected else model
        shares[cell::cells] = relevance_mass(
            asked, own, repeated[cell::cells], mask, classes[cell::cells], batch_size=batch_size
        )
    return shares


def mosaics(images: Tensor, grid: int | tuple[int, int] = 2) -> Tensor:
    """Put images side by side, row by row: the first of them makes the first mosaic, and so on.

    Args:
        images: (N, C, H, W), N a multiple of the cells.
        grid: rows and columns, or one number for both.

    Returns:
        (N / cells, C, rows · H, columns · W).

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        No pass.

    Example:
        >>> import torch
        >>> from xai_course.metrics import mosaics
        >>> mosaics(torch.arange(4.0).view(4, 1, 1, 1))[0, 0]
        tensor([[0., 1.],
                [2., 3.]])
    """
    rows, columns = _rows_and_columns(grid)
    check_images(images)
    count, channels, height, width = images.shape
    if count % (rows * columns):
        raise ValueError(
            f"images: got {count}; must be a multiple of {rows * columns}, to fill every cell."
        )
    cells = images.view(-1, rows, columns, channels, height, width)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, rows * height, columns * width)


class _OneCell(nn.Module):
    """A model that sees one cell of a mosaic."""

    def __init__(self, model: nn.Module, inside: tuple[slice, slice]) -> None:
        super().__init__()
        self.model, self.inside = model, inside

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x[:, :, self.inside[0], self.inside[1]])
        return logits


def _rows_and_columns(grid: int | tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of a grid."""
    rows, columns = grid if isinstance(grid, tuple) and len(grid) == 2 else (grid, grid)
    return check_count("grid", rows), check_count("grid", columns)


def _check_different(classes: Tensor) -> None:
    """Raise ValueError if two cells of a mosaic have one class; classes is (mosaics, cells)."""
    for row in classes.tolist():
        if len(set(row)) < len(row):
            raise ValueError(f"targets: got the classes {row} in a mosaic; must be different ones.")
