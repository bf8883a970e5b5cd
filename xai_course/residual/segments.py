"""Segments: regions of an image that are taken away together, and maps made of their values.

LIME and Shapley values ask of a few dozen regions instead of thousands of pixels. Which regions,
the reader chooses: a grid, superpixels, or masks of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from xai_course.core.checks import check_count, check_number
from xai_course.core.inputs import check_images
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain

__all__ = [
    "check_segments",
    "grid_segments",
    "how_many_segments",
    "segment_map",
    "segment_masks",
    "superpixels",
]


def grid_segments(images: Tensor, rows: int = 8, columns: int = 8) -> Tensor:
    """Return the cells of a grid over the images, as labels.

    Pixel (i, j) of an image (H, W) lies in row ⌊i · rows / H⌋ and column ⌊j · columns / W⌋.

    Args:
        images: (N, C, H, W); only their size counts.
        rows: cells below one another, at most H.
        columns: cells side by side, at most W.

    Returns:
        Labels (N, H, W) from 0 to rows · columns − 1, row by row; whole numbers.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> import torch
        >>> from xai_course.residual import grid_segments
        >>> grid_segments(torch.zeros(1, 3, 2, 4), 1, 2).tolist()
        [[[0, 0, 1, 1], [0, 0, 1, 1]]]
    """
    check_images(images)
    count, _, height, width = images.shape
    rows = check_count("rows", rows, most=height)
    columns = check_count("columns", columns, most=width)
    row = torch.arange(height, device=images.device) * rows // height
    column = torch.arange(width, device=images.device) * columns // width
    return (row[:, None] * columns + column).expand(count, -1, -1).clone()


def superpixels(images: Tensor, count: int = 50, *, compactness: float = 10.0) -> Tensor:
    """Return superpixels: connected regions of similar colour, by SLIC.

    SLIC is k-means over position and colour. Each image's values are stretched to 0 to 1 first.
    Three channels are taken as red, green and blue, and compared in CIELAB, whose lightness runs
    from 0 to 100; of other numbers of channels the values count a hundredfold.

    Args:
        images: (N, C, H, W), any number of channels.
        count: about how many segments an image gets.
        compactness: how much the position weighs beside the colour; above 0. Large values give
            squares.

    Returns:
        Labels (N, H, W) from 0, whole numbers. Images may have different numbers of segments.

    Raises:
        ValueError: if an argument is not as described.

    References:
        Achanta, Shaji, Smith, Lucchi, Fua, Süsstrunk: SLIC Superpixels Compared to State-of-the-Art
        Superpixel Methods. IEEE TPAMI 34, 2012. The code is scikit-image's.

    Example:
        >>> import torch
        >>> from xai_course.residual import superpixels
        >>> image = torch.zeros(1, 3, 8, 8)
        >>> image[:, :, :, 5:] = 1  # black, and from column 5 on white
        >>> labels = superpixels(image, 4)
        >>> labels[0, 0].tolist()
        [0, 0, 0, 0, 0, 1, 1, 1]
    """
    from skimage.segmentation import slic

    check_images(images)
    count = check_count("count", count, most=images[0, 0].numel())
    check_number("compactness", compactness, above=0)
    is_rgb = images.shape[1] == 3
    labels = []
    for image in images.detach().cpu().double():
        found = slic(  # it stretches the values itself
            image.permute(1, 2, 0).numpy(),
            n_segments=count,
            compactness=compactness if is_rgb else compactness / 100,
            convert2lab=is_rgb,
            start_label=0,
        )
        labels.append(torch.from_numpy(found))
    return torch.stack(labels).to(images.device)


@own_switches(grad=False)
def segment_map(values: Tensor, segments: Tensor | None, images: Tensor) -> Tensor:
    """Spread a value of each segment evenly over its pixels.

        map = Σ over s of  value[s] · mask[s] / (Σ over pixels of mask[s])

    So the sum of the map over a segment is its value, and the sum of the map that of all values. A
    large segment is not louder than a small one of the same value.

    Args:
        values: (N, S), any unit.
        segments: labels or masks, as in `lime`; None for the default grid.
        images: (N, C, H, W); only their size, number and dtype count.

    Returns:
        A map (N, 1, H, W), in the unit of the values. A segment without pixels is left out.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> import torch
        >>> from xai_course.residual import segment_map
        >>> labels = torch.tensor([[0, 0, 1]])
        >>> segment_map(torch.tensor([[6.0, 5.0]]), labels, torch.zeros(1, 1, 1, 3)).tolist()
        [[[[3.0, 3.0, 5.0]]]]
    """
    check_images(images)
    segments = check_segments(segments, images)
    count = how_many_segments(segments)
    if not isinstance(values, Tensor) or values.shape != (len(images), count):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"values: got {got}; must be ({len(images)}, {count}), one a segment.")
    maps = []
    for n, value in enumerate(values):
        masks = segment_masks(segments, n).cpu().double()
        area = masks.sum((1, 2))
        weight = torch.where(area > 0, value.detach().cpu().double() / area.clamp_min(1e-30), 0)
        maps.append(torch.einsum("s,shw->hw", weight, masks))
    return torch.stack(maps)[:, None].to(images)


# ---- what LIME and Shapley values take as segments -----------------------------------------------


def check_segments(segments: Tensor | None, images: Tensor) -> Tensor:
    """Return checked segments of images: labels (N, H, W), or masks (N, S, H, W).

    Args:
        segments: labels (N, H, W) or (H, W); masks (N, S, H, W) or (1, S, H, W); or None for a grid
            of 8 × 8 cells, or fewer in an image of fewer pixels.
        images: (N, C, H, W), checked.

    Returns:
        Whole numbers (N, H, W); or floating point (N, S, H, W), from 0 to 1.

    Raises:
        ValueError: for anything else.
    """
    count, _, height, width = images.shape
    if segments is None:
        return grid_segments(images, min(8, height), min(8, width))
    must = (
        f"must be labels ({count}, {height}, {width}), whole numbers below {height * width}, "
        f"or masks ({count}, segments, {height}, {width}), boolean or from 0 to 1."
    )
    if not isinstance(segments, Tensor):
        raise ValueError(f"segments: got {type(segments).__name__}; {must}")
    check_plain("segments", segments)
    are_masks = segments.dtype == torch.bool or segments.is_floating_point()
    shape = (count, *segments.shape[1:2], height, width) if are_masks else (count, height, width)
    try:
        if segments.ndim != len(shape) and (are_masks or segments.ndim != 2):
            raise RuntimeError
        if segments.numel() == 0:
            raise RuntimeError
        checked = segments.detach().to(images.device).broadcast_to(shape)
    except RuntimeError:
        got = f"{segments.dtype} of shape {tuple(segments.shape)}"
        raise ValueError(f"segments: got {got}; {must}") from None
    low, high = (float(end) for end in checked.double().aminmax())
    is_right = low >= 0 and high <= 1 if are_masks else 0 <= high < height * width
    if not is_right:  # also for NaN, and where all labels are negative
        raise ValueError(f"segments: got values from {low:g} to {high:g}; {must}")
    return checked.to(images.dtype) if are_masks else checked.long()


def segment_masks(segments: Tensor, index: int) -> Tensor:
    """Return the masks of one image's segments. Those of all images could fill the memory.

    Args:
        segments: as `check_segments` returns them. Pixels of a negative label are in no segment.
        index: which image.

    Returns:
        Masks (S, H, W): boolean, or from 0 to 1.
    """
    if segments.ndim == 4:
        return segments[index]
    return (
        torch.arange(how_many_segments(segments), device=segments.device)[:, None, None]
        == segments[index]
    )


def how_many_segments(segments: Tensor) -> int:
    """Return the number of segments, those without a pixel in an image included.

    Args:
        segments: as `check_segments` returns them.

    Returns:
        S: the largest label plus 1, or the number of masks.
    """
    return segments.shape[1] if segments.ndim == 4 else int(segments.max()) + 1
