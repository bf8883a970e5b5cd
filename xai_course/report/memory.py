"""If memory does not suffice: run the same in smaller batches, without repeating what is done."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_batches", "is_memory_error"]


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
