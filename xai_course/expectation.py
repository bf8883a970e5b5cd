"""Technique 3, in its other sense: compare the model's change with the change one expects.

The expectation is a baseline: another image, or the same one with a part replaced. All functions
answer f(x) − f(x₀): by replacing a window (`occlusion`), or by adding up the derivative on the way
from the baseline to the image (`integrated_gradients`, `expected_gradients`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.arguments import prepare

__all__ = [
    "baseline_images",
    "expected_gradients",
    "integrated_gradients",
    "occlusion",
    "sliding_windows",
]


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
    x, whole, classes = prepare(model, images, targets, batch_size=batch_size)
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


@torch.inference_mode(False)
@torch.no_grad()
def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    baseline: float | str | Tensor = "mean",
    steps: int = 32,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return Integrated Gradients: the change from the baseline, times the mean slope on the way.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits.
    `targets`: class indices (N,), one index, or None for the class predicted for the image.
    `baseline`: x₀, a number, a tensor, "mean" or "blur" (see `baseline_images`).
    `steps`: points on the way, in the middles of equal pieces. `batch_size`: points in one pass,
    which bounds the memory. `progress`: show a bar.

        relevance = (x − x₀) · mean over k of ∂f/∂x at x₀ + (k + ½)/steps · (x − x₀)
        Σ relevance → f(x) − f(x₀)        as steps → ∞

    f is the chosen logit. What is missing from the sum does *not* shrink with each further step
    (a network of ReLUs has kinks, which the points hit or miss): look at it rather than trust it.
    Steps forward and backward passes, and one forward pass to choose the class. Raises ValueError
    for wrong arguments, and for a model whose output autograd cannot follow back to the input.

    Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks. ICML 2017, arXiv:1703.01365.
    """
    x, _, classes = prepare(model, images, targets, batch_size=batch_size)
    return _on_the_way(model, x, classes, baseline_images(x, baseline), steps, batch_size, progress)


def _on_the_way(
    model: nn.Module,
    x: Tensor,
    classes: Tensor,
    base: Tensor,
    steps: int,
    batch_size: int,
    progress: bool = False,
) -> Tensor:
    """Return Integrated Gradients of images that are checked, from their baselines on."""
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: got {steps!r}; allowed is a whole number from 1.")
    change = x - base
    shares = (torch.arange(steps, dtype=x.dtype, device=x.device) + 0.5) / steps

    every = [torch.arange(len(part), device=x.device) for part in (shares, x)]
    passes: Any = torch.split(torch.cartesian_prod(*every), batch_size)  # lines of (step, image)
    if progress:
        from tqdm.auto import tqdm

        passes = tqdm(passes, "integrated gradients")
    total = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    for some in passes:
        k, n = some.T
        end = x.index_select(0, n)
        back = (1 - shares[k]).view(-1, 1, 1, 1) * change.index_select(0, n)
        with torch.enable_grad():
            logits = model(end.requires_grad_() - back)
            chosen = logits.gather(1, classes[n][:, None]).sum()
        slope = None
        if chosen.requires_grad:  # by `end`, which is moved with the point on the way
            (slope,) = torch.autograd.grad(chosen, end, allow_unused=True)
        if slope is None:
            raise ValueError("model: its output has no derivative by the images (a no_grad?).")
        total.index_add_(0, n, slope.to(total.dtype))
    return (change * total / steps).to(x.dtype)


@torch.inference_mode(False)
@torch.no_grad()
def expected_gradients(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    baselines: Tensor,
    steps: int = 32,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return expected gradients: Integrated Gradients, in the mean over baselines from data.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits.
    `targets`: class indices (N,), one index, or None for the class predicted for the image.
    `baselines`: M images to compare with (M, C, H, W), every image with each of them.
    `steps`, `batch_size`: as in `integrated_gradients`. `progress`: show a bar over the baselines.

        relevance = mean over m of integrated_gradients(x, baseline m)
        Σ relevance → f(x) − mean over m of f(baseline m)        as steps → ∞

    The published method draws a baseline and a point at random, again and again, and has this mean
    as its expectation; nothing here is random. M · steps forward and backward passes. Raises
    ValueError for wrong arguments.

    Erion and others: Improving Performance of Deep Learning Models with Axiomatic Attribution
    Priors and Expected Gradients. Nature Machine Intelligence 2021, arXiv:1906.10670.
    """
    x, _, classes = prepare(model, images, targets, batch_size=batch_size)
    if not isinstance(baselines, Tensor) or baselines.ndim != 4 or len(baselines) == 0:
        came = tuple(baselines.shape) if isinstance(baselines, Tensor) else type(baselines).__name__
        raise ValueError(f"baselines: got {came}; allowed is a tensor (M, C, H, W), M from 1.")
    passes: Any = baselines
    if progress:
        from tqdm.auto import tqdm

        passes = tqdm(passes, "expected gradients")
    total = torch.zeros_like(x)
    for base in passes:
        there = baseline_images(x, base)
        total += _on_the_way(model, x, classes, there, steps, batch_size)
    return total / len(baselines)


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
