"""One training in several processes: which of them this is, and what they agree on.

The processes know of one another through `torch.distributed`; scripts/train_many.py shows how they
meet. In a process alone nothing here does anything.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch.distributed as dist

__all__ = ["all_reduce_mean", "broadcast_from_rank0", "rank_and_world_size"]


T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many there are; (0, 1) for one alone."""
    if not dist.is_available() or not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def broadcast_from_rank0(value: T) -> T:
    """Return, in every process, what the first one passes; all of them must call."""
    if rank_and_world_size()[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def all_reduce_mean(*numbers: float) -> tuple[float, ...]:
    """Return the mean over the processes of each number; all of them must call."""
    count = rank_and_world_size()[1]
    if count == 1:
        return numbers
    rows: list[Any] = [None] * count
    dist.all_gather_object(rows, numbers)
    return tuple(sum(column) / count for column in zip(*rows, strict=True))
