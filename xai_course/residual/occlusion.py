"""Occlusion: the drop of the logit when a window of the image is replaced."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.checks import check_count
from xai_course.core.inputs import validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.progress import progress_bar
from xai_course.core.switches import own_switches

__all__ = ["occlusion", "sliding_windows"]


@own_switches(grad=False)
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
    """Return how far the chosen logit drops when a window over the image is replaced.

        relevance[i, j] = mean, over the windows that cover (i, j), of  f(x) - f(x, window replaced)

    f is the logit of the target class. Relevance is positive where the image supports the class.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class predicted for the
            whole image, or a function of the output (see `single_output`).
        window: height and width of the window in pixels, or one number for both; by default an
            eighth of the image. A window that passes the lower or right edge is cut off there.
        stride: pixels from one window to the next, (down, right) or one number for both; by default
            half a window.
        baseline: what fills a window: a number, a tensor, "mean", "blur", or "inpaint", which fills
            it from the pixels around it (see `baseline_images`).
        batch_size: images in one forward pass, which bounds the memory.
        progress: show a bar of progress.

    Returns:
        Relevance (N, 1, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass for each window, and one for the whole image.

    References:
        Zeiler, Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014,
        arXiv:1311.2901.

    Example:
        A model that adds up the pixels loses what a window covers.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import occlusion
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).eval()
        >>> _ = nn.init.ones_(model[1].weight)
        >>> images = torch.tensor([[[[1.0, 2, 4, 8]]]])
        >>> occlusion(model, images, window=(1, 2), stride=(1, 2), baseline=0).tolist()
        [[[[3.0, 3.0, 12.0, 12.0]]]]
    """
    model, targets = single_output(model, targets)
    x, whole, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    rows, columns = sliding_windows(x, window, stride)  # (R, H) and (S, W): pixels covered
    inpaint = isinstance(baseline, str) and baseline == "inpaint"
    filling = x if inpaint else baseline_images(x, baseline)
    reach = (int(rows[0].sum()), int(columns[0].sum()))  # the first window is never cut off

    # One line (image, row, column) for each pass of one image through the model.
    indices = [torch.arange(len(part), device=x.device) for part in (x, rows, columns)]
    batches = torch.split(torch.cartesian_prod(*indices), int(batch_size))
    drops = []
    for batch in progress_bar(batches, "occlusion", progress):
        n, row, column = batch.T
        covered = rows[row][:, None, :, None] & columns[column][:, None, None, :]
        image, fill = x.index_select(0, n), filling.index_select(0, n)
        if inpaint:
            fill = baseline_images(image, baseline, covered, reach)
        logits = model(torch.where(covered, fill, image))
        drops.append(whole[n] - logits.gather(1, classes[n][:, None])[:, 0])

    # Each pixel gets the mean over its windows: (H, R) @ (R, S) @ (S, W).
    logit_drop = torch.cat(drops).to(x.dtype).view(len(x), 1, len(rows), len(columns))
    in_row, in_column = rows.to(x.dtype), columns.to(x.dtype)
    return (in_row.T @ logit_drop @ in_column) / (in_row.sum(0)[:, None] * in_column.sum(0))


def sliding_windows(
    images: Tensor,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return which rows and which columns the positions of a sliding window cover.

    Window (r, s) covers pixel (i, j) if rows[r, i] and columns[s, j]. Every pixel is covered.

    Args:
        images: (N, C, H, W); only their size counts.
        window: as in `occlusion`.
        stride: as in `occlusion`.

    Returns:
        Rows (R, H) and columns (S, W), boolean.

    Raises:
        ValueError: if the window is larger than the image, or the stride larger than the window.

    Example:
        >>> import torch
        >>> from xai_course.residual import sliding_windows
        >>> rows, columns = sliding_windows(torch.zeros(1, 3, 2, 5), (2, 3), (2, 2))
        >>> columns.int().tolist()
        [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]
        >>> rows.int().tolist()
        [[1, 1]]
    """
    height, width = size = (images.shape[2], images.shape[3])
    window = _pair(window, default=(max(height // 8, 1), max(width // 8, 1)))
    window = _check_pair("window", window, most=size)
    stride = _pair(stride, default=(max(window[0] // 2, 1), max(window[1] // 2, 1)))
    stride = _check_pair("stride", stride, most=window)
    covered = []
    for length, pixels, step in zip(size, window, stride, strict=True):
        start = torch.arange(0, length - pixels + step, step, device=images.device)[:, None]
        index = torch.arange(length, device=images.device)
        covered.append((index >= start) & (index < start + pixels))
    return covered[0], covered[1]


def _pair(value: int | tuple[int, int] | None, default: tuple[int, int]) -> tuple[int, int]:
    """Return a number, or a pair of numbers, as a pair (rows, columns)."""
    if value is None:
        return default
    return tuple(value) if isinstance(value, tuple | list) else (value, value)  # type: ignore[return-value]


def _check_pair(name: str, pair: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """Return a pair (rows, columns) of whole pixels; raise ValueError unless from 1 to `most`."""
    try:
        rows, columns = pair
        return check_count(name, rows, most=most[0]), check_count(name, columns, most=most[1])
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: got {pair}; must be whole pixels (rows, columns) up to {most}."
        ) from None
