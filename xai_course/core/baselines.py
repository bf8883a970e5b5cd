"""Baselines: the images that stand for "nothing to see here"."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["baseline_images"]


def baseline_images(
    images: Tensor,
    baseline: float | str | Tensor = "mean",
    covered: Tensor | None = None,
    reach: tuple[int, int] = (1, 1),
) -> Tensor:
    """Return the images (N, C, H, W) to compare with: what stands for "nothing to see here".

    `baseline`: "mean" for each image's own mean colour; "blur" for the image seen through a blur
    about an eighth of its size wide; a number, in units of the network's input (0 is black only
    where the input is not normalised); a tensor that broadcasts to the images' shape; or "inpaint",
    as if what is around went on inside: where `covered` (N, 1, H, W), a rectangle in each image, is
    True, the mean of the pixels around it, the nearer the heavier. `reach` is how many rows and
    columns away they may be, at least the rectangle's.
    Raises ValueError for anything else.
    """
    allowed = f'"mean", "blur", a finite number, or a tensor that fits {tuple(images.shape)}'
    if isinstance(baseline, str):
        if baseline == "mean":
            return images.mean((2, 3), keepdim=True).expand_as(images)
        if baseline == "blur":  # a box, twice: a triangle in each direction
            high, wide = (max(n // 16, 1) for n in images.shape[2:])
            for half in ((high, 0), (high, 0), (0, wide), (0, wide)):
                box = (2 * half[0] + 1, 2 * half[1] + 1)
                images = F.avg_pool2d(images, box, 1, half, count_include_pad=False)
            return images
        if baseline == "inpaint" and covered is not None:
            if covered.flatten(1).all(1).any():
                raise ValueError('window: it covers all; allowed with "inpaint" is a smaller one.')
            near = []  # weights by distance along each axis, from reach + 1 down to 0
            for n, far in zip(images.shape[2:], reach, strict=True):
                pixel = torch.arange(n, dtype=images.dtype, device=images.device)
                near.append((far + 1 - (pixel[:, None] - pixel).abs()).clamp(min=0))
            around = (~covered).to(images.dtype)
            total = near[0] @ (images * around) @ near[1]
            return torch.where(covered, total / (near[0] @ around @ near[1]), images)
        raise ValueError(f"baseline: got {baseline!r}; allowed is {allowed}.")
    try:
        filling = torch.as_tensor(baseline, dtype=images.dtype, device=images.device)
        filling = filling.detach().broadcast_to(images.shape)
    except (TypeError, ValueError, RuntimeError) as error:
        came = tuple(baseline.shape) if isinstance(baseline, Tensor) else repr(baseline)
        raise ValueError(f"baseline: got {came}; allowed is {allowed}.") from error
    if not filling.isfinite().all():
        raise ValueError(f"baseline: got NaN or infinite values; allowed is {allowed}.")
    return filling
