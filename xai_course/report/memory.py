"""When memory does not suffice: do the same in smaller batches, and go on."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_batches", "is_memory_error"]


def in_batches(run: Callable[..., Tensor], *rows: Tensor, batch_size: int) -> tuple[Tensor, int]:
    """Run a function on batches of rows; where memory does not suffice, halve the batch and go on.

    `run(*parts)` gets equal slices of all `rows` and returns a tensor with a row for each. Returns
    all of these, and the batch size that sufficed at the end, with which the next call should
    begin. What was done is not done again. Raises MemoryError if one row is too much, and whatever
    else `run` raises.
    """
    found: list[Tensor] = []
    start = 0
    while start < len(rows[0]):
        try:
            found.append(run(*(part[start : start + batch_size] for part in rows)))
            start += batch_size
            continue
        except (MemoryError, RuntimeError) as error:
            if not is_memory_error(error):
                raise
            if batch_size == 1:
                raise MemoryError("one image in a pass is too much") from error
        # After the except, so that the error no longer holds what was computed.
        batch_size //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return torch.cat(found), batch_size


def is_memory_error(error: Exception) -> bool:
    """Say whether an error is a lack of memory: the device's, or the computer's."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)
