"""Baselines: images that show nothing of what is to be explained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from xai_course.core.tensors import check_plain

__all__ = ["baseline_images"]


def baseline_images(
    images: Tensor,
    baseline: float | str | Tensor = "mean",
    covered: Tensor | None = None,
    reach: tuple[int, int] = (1, 1),
) -> Tensor:
    """Return the baseline of each image, which an explanation compares it with.

    Args:
        images: (N, C, H, W).
        baseline: one of

            - "mean": each image's own mean colour;
            - "blur": the image, blurred over about an eighth of its size;
            - "inpaint": the image, with its covered pixels filled in from around them. Each gets
              the mean of the pixels outside, weighted by how near they are;
            - a number, in units of the network's input (0 is black only without normalisation);
            - a tensor that broadcasts to the images' shape.
        covered: for "inpaint": (N, 1, H, W), True in a rectangle of each image.
        reach: for "inpaint": how many rows and columns away a pixel may be to count, at least the
            height and width of the rectangle.

    Returns:
        Images (N, C, H, W).

    Raises:
        ValueError: if the baseline is another value, or all of an image is covered.

    Example:
        >>> import torch
        >>> from xai_course.core import baseline_images
        >>> images = torch.tensor([[[[1.0, 3.0]]]])
        >>> baseline_images(images, "mean").tolist(), baseline_images(images, 0.5).tolist()
        ([[[[2.0, 2.0]]]], [[[[0.5, 0.5]]]])
    """
    if isinstance(baseline, Tensor) or not isinstance(baseline, str):
        return _broadcast(baseline, images)
    if baseline == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if baseline == "blur":
        return _blur(images)
    if baseline == "inpaint" and covered is not None:
        return _inpaint(images, covered, reach)
    raise ValueError(f"baseline: got {baseline!r}; {_must_be(images)}")


def _must_be(images: Tensor) -> str:
    """Say what a baseline of these images must be."""
    shape = tuple(images.shape)
    return f'must be "mean", "blur", a finite number, or a tensor that broadcasts to {shape}.'


def _broadcast(baseline: float | Tensor, images: Tensor) -> Tensor:
    """Return a number or a tensor in the shape, dtype and device of the images."""
    if isinstance(baseline, Tensor):
        check_plain("baseline", baseline)
    try:
        fill = torch.as_tensor(baseline)
        if fill.is_complex() or fill.dtype == torch.bool:
            raise TypeError  # it would lose its imaginary part, or count as 0 and 1
        if not isinstance(baseline, Tensor):
            fill = torch.as_tensor(baseline, dtype=torch.double)  # a number keeps all its digits
        fill = fill.to(dtype=images.dtype, device=images.device)
        fill = fill.detach().broadcast_to(images.shape)
    except (TypeError, ValueError, RuntimeError) as error:
        got = tuple(baseline.shape) if isinstance(baseline, Tensor) else repr(baseline)
        raise ValueError(f"baseline: got {got}; {_must_be(images)}") from error
    if not fill.isfinite().all():
        raise ValueError(f"baseline: got NaN or infinite values; {_must_be(images)}")
    return fill


def _blur(images: Tensor) -> Tensor:
    """Average each pixel with its neighbours, over about an eighth of the height and width."""
    height, width = (max(n // 16, 1) for n in images.shape[2:])
    # Two box filters in a row weight the neighbours by a triangle.
    for half in ((height, 0), (height, 0), (0, width), (0, width)):
        box = (2 * half[0] + 1, 2 * half[1] + 1)
        images = F.avg_pool2d(images, box, 1, half, count_include_pad=False)
    return images


def _inpaint(images: Tensor, covered: Tensor, reach: tuple[int, int]) -> Tensor:
    """Fill the covered pixels with the mean of those outside, the nearer the heavier."""
    if covered.flatten(1).all(1).any():
        raise ValueError('window: got one that covers all; must be smaller, for "inpaint".')
    rows = _nearness(images.shape[2], reach[0], images)  # (H, H)
    columns = _nearness(images.shape[3], reach[1], images)  # (W, W)
    outside = (~covered).to(images.dtype)
    total = rows @ (images * outside) @ columns
    return torch.where(covered, total / (rows @ outside @ columns), images)


def _nearness(pixels: int, reach: int, like: Tensor) -> Tensor:
    """Return the weight of each pixel of a line for each other: reach + 1 at 0, 0 beyond reach."""
    position = torch.arange(pixels, dtype=like.dtype, device=like.device)
    return (reach + 1 - (position[:, None] - position).abs()).clamp(min=0)
