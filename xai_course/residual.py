"""Technique 3: compare the change of the model with the expected change.

Here the expectation is a baseline: the same image with a part of it replaced.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.arguments import check_images, choose_classes

__all__ = ["baseline_images", "occlusion", "sliding_windows"]


@torch.inference_mode(False)
@torch.no_grad()
def occlusion(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    baseline: float | str | Tensor = "mean",
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return how far the chosen logit falls when a window over the image is replaced.

    `images` (N, C, H, W) to relevance (N, 1, H, W), in logits: positive where the image speaks
    for the class.
    `targets`: class indices (N,), one index, or None for the class predicted for the whole image.
    `window`, `stride`: pixels, one number or (rows, columns); by default an eighth of the image
    and half a window. A window that passes the lower or right edge is cut off there.
    `baseline`: what fills a window: a number, a tensor, "mean" or "blur" (see `baseline_images`).
    `batch_size`: images in one forward pass, which bounds the memory. `progress`: show a bar.

        relevance[i, j] = mean, over the windows that cover (i, j), of  f(x) − f(x, window replaced)

    One forward pass a window, and one for the whole image. Raises ValueError for wrong arguments.

    Zeiler, Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014,
    arXiv:1311.2901.
    """
    x = check_images(model, images)
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}; allowed is 1 or more.")
    rows, columns = sliding_windows(x, window, stride)  # (R, H) and (S, W): pixels covered
    filling = baseline_images(x, baseline)
    if len(x) == 0:
        return x[:, :1]
    logits = torch.cat([model(part.clone()) for part in torch.split(x, batch_size)])
    classes = choose_classes(logits, targets)
    whole = logits.gather(1, classes[:, None])[:, 0]

    every = [torch.arange(len(part), device=x.device) for part in (x, rows, columns)]
    passes: Any = torch.split(
        torch.cartesian_prod(*every), batch_size
    )  # lines of (image, row, column)
    if progress:
        from tqdm.auto import tqdm

        passes = tqdm(passes, "occlusion")
    falls = []
    for some in passes:
        n, row, column = some.T
        covered = rows[row][:, None, :, None] & columns[column][:, None, None, :]
        logits = model(torch.where(covered, filling[n], x[n]))
        falls.append(whole[n] - logits.gather(1, choose_classes(logits, classes[n])[:, None])[:, 0])

    fall = torch.cat(falls).to(x.dtype).view(len(x), 1, len(rows), len(columns))
    high, wide = rows.to(x.dtype), columns.to(x.dtype)
    return (high.T @ fall @ wide) / (high.sum(0)[:, None] * wide.sum(0))


def sliding_windows(
    images: Tensor,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return which rows and which columns the positions of a sliding window cover.

    `images` (N, C, H, W) to two boolean tensors (R, H) and (S, W): window (r, s) covers pixel
    (i, j) if rows[r, i] and columns[s, j]. Every pixel is covered; the last window is cut at the
    edge. `window` and `stride` as in `occlusion`. Raises ValueError if one of them is wrong.
    """
    size = (images.shape[2], images.shape[3])
    if window is None:
        window = (max(size[0] // 8, 1), max(size[1] // 8, 1))
    high, wide = window if isinstance(window, tuple) else (window, window)
    if not all(isinstance(w, int) and 1 <= w <= n for w, n in zip((high, wide), size, strict=True)):
        raise ValueError(f"window: got {window}; allowed are whole pixels from 1 to {size}.")
    if stride is None:
        stride = (max(high // 2, 1), max(wide // 2, 1))
    down, right = stride if isinstance(stride, tuple) else (stride, stride)
    if not all(isinstance(s, int) and 1 <= s <= w for s, w in ((down, high), (right, wide))):
        raise ValueError(
            f"stride: got {stride}; allowed are whole pixels from 1 to the window {(high, wide)}."
        )
    covers = []
    for n, w, s in ((size[0], high, down), (size[1], wide, right)):
        start = torch.arange(0, n - w + s, s, device=images.device)[:, None]
        pixel = torch.arange(n, device=images.device)
        covers.append((pixel >= start) & (pixel < start + w))
    return covers[0], covers[1]


def baseline_images(images: Tensor, baseline: float | str | Tensor = "mean") -> Tensor:
    """Return the images (N, C, H, W) to compare with: what stands for "nothing to see here".

    `baseline`: "mean" for each image's own mean colour; "blur" for the image seen through a blur
    about an eighth of its size wide; a number, in units of the network's input (0 is black only
    where the input is not normalised); or a tensor that broadcasts to the images' shape.
    Raises ValueError for anything else.
    """
    allowed = f'"mean", "blur", a finite number, or a tensor that fits {tuple(images.shape)}'
    if isinstance(baseline, str):
        if baseline == "mean":
            return images.mean((2, 3), keepdim=True).expand_as(images)
        if baseline == "blur":  # a box, twice: a triangle in each direction
            half = [max(n // 16, 1) for n in images.shape[2:]]
            box = [2 * h + 1 for h in half]
            for _ in range(2):
                images = F.avg_pool2d(images, box, 1, half, count_include_pad=False)
            return images
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
