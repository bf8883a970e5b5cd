"""If memory does not suffice: run the same in smaller batches, without repeating what is done."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["images_in_a_pass", "in_batches", "is_memory_error"]


# glibc takes memory for a larger tensor from the system each time anew, which clears it page by
# page: with EfficientNet-Lite0 that was half of the time of a pass of 16 images.
LARGEST_TENSOR = 32 * 2**20  # bytes


def in_batches(run: Callable[..., Tensor], *rows: Tensor, batch_size: int) -> tuple[Tensor, int]:
    """Run a function on batches of rows, and halve the batches while memory does not suffice.

    Args:
        run: gets equal slices of all `rows`; returns a tensor with a row for each.
        rows: tensors of the same length N.
        batch_size: rows in the first batch.

    Returns:
        results: the N rows.
        batch_size: the size that sufficed at the end, with which the next call should begin.

    Raises:
        MemoryError: if one row is too much.

    Example:
        >>> import torch
        >>> from xai_course.report import in_batches
        >>> def double(batch):
        ...     if len(batch) > 2:
        ...         raise MemoryError
        ...     return 2 * batch
        >>> results, batch_size = in_batches(double, torch.arange(5), batch_size=8)
        >>> results.tolist(), batch_size
        ([0, 2, 4, 6, 8], 2)
    """
    results: list[Tensor] = []
    start = 0
    while start < len(rows[0]):
        try:
            results.append(run(*(part[start : start + batch_size] for part in rows)))
            start += batch_size
            continue
        except (MemoryError, RuntimeError) as error:
            if not is_memory_error(error):
                raise
            if batch_size == 1:
                raise MemoryError("one image in a pass is too much") from error
        # After the except block, so that the error no longer holds what was computed.
        batch_size //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return torch.cat(results), batch_size


def is_memory_error(error: Exception) -> bool:
    """Return whether an error is a lack of memory, of the device or of the computer.

    Args:
        error: any error.

    Returns:
        True for a lack of memory.
    """
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)


@torch.no_grad()
def images_in_a_pass(model: nn.Module, image: Tensor, most: int, least: int = 1) -> int:
    """Return how many images to run at once without a gradient, so that a processor does it well.

    Args:
        model: a network.
        image: (1, C, H, W), as it takes it.
        most: the largest number; on a GPU it is always returned.
        least: the smallest number.

    Returns:
        With how many images no module returns a tensor of more than 32 MiB, within these limits.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.report import images_in_a_pass
        >>> model = nn.Conv2d(3, 512, 1).eval()  # 512 · 64 · 64 numbers of 4 bytes are 8 MiB
        >>> images_in_a_pass(model, torch.rand(1, 3, 64, 64), 16)
        4
    """
    if image.device.type != "cpu":
        return most
    largest = 1

    def record(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.nbytes)

    hooks = []
    try:
        for module in model.modules():
            hooks.append(module.register_forward_hook(record))
        model(image.clone())
    except Exception:  # the pass itself will say it in its own words
        return most
    finally:
        for hook in hooks:
            hook.remove()
    return max(min(most, LARGEST_TENSOR // largest), least)
