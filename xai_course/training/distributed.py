"""One training in several processes: which of them this is, and what they agree on.

The processes meet through `torch.distributed`; scripts/train.py shows how. Without it, or in a
single process, the functions return their arguments.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch.distributed as dist

__all__ = ["all_reduce_mean", "broadcast_from_rank0", "rank_and_world_size"]


T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many processes there are.

    Returns:
        (rank, world size); (0, 1) for a single process.
    """
    if not dist.is_available() or not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def broadcast_from_rank0(value: T) -> T:
    """Return, in every process, the value of the first one. All processes must call.

    Args:
        value: anything that can be pickled.

    Returns:
        The value that the process with rank 0 passed.
    """
    if rank_and_world_size()[1] == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def all_reduce_mean(*numbers: float) -> tuple[float, ...]:
    """Return the mean over the processes of each number. All processes must call.

    Args:
        numbers: as many in every process.

    Returns:
        The means, in the same order.
    """
    world_size = rank_and_world_size()[1]
    if world_size == 1:
        return numbers
    rows: list[Any] = [None] * world_size
    dist.all_gather_object(rows, numbers)
    return tuple(sum(column) / world_size for column in zip(*rows, strict=True))
