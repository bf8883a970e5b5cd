"""Occlusion: the fall of the logit when a window of the image is replaced."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.inputs import validate_inputs

__all__ = ["occlusion", "sliding_windows"]


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
    `baseline`: what fills a window: a number, a tensor, "mean", "blur" or "inpaint", which takes
    it from the pixels around the window (see `baseline_images`).
    `batch_size`: images in one forward pass, which bounds the memory. `progress`: show a bar.

        relevance[i, j] = mean, over the windows that cover (i, j), of  f(x) − f(x, window replaced)

    One forward pass a window, and one for the whole image. Raises ValueError for wrong arguments.

    Zeiler, Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014,
    arXiv:1311.2901.
    """
    x, whole, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    rows, columns = sliding_windows(x, window, stride)  # (R, H) and (S, W): pixels covered
    inpaint = isinstance(baseline, str) and baseline == "inpaint"
    filling = x if inpaint else baseline_images(x, baseline)
    reach = (int(rows[0].sum()), int(columns[0].sum()))  # the first window is never cut off

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
        whole_image, fill = x.index_select(0, n), filling.index_select(0, n)
        if inpaint:
            fill = baseline_images(whole_image, baseline, covered, reach)
        logits = model(torch.where(covered, fill, whole_image))
        falls.append(whole[n] - logits.gather(1, classes[n][:, None])[:, 0])

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
