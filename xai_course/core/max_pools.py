"""Max-pools, and the positions that they choose."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MAX_POOLS", "max_pool"]

MAX_POOLS = ("max_pool2d", "adaptive_max_pool2d")


def max_pool(
    name: str, input: Tensor, *rest: Any, return_indices: bool = False, **options: Any
) -> tuple[Tensor, Tensor]:
    """Run a max-pool without history.

    Args:
        name: one of `MAX_POOLS`.
        input: (N, K, H, W).
        rest: its other arguments.
        return_indices: is not used; the positions are always returned.
        options: its other arguments, by name.

    Returns:
        The maxima (N, K, h, w), and their positions in the flattened input.
    """
    x = input.detach()
    # Rounded to two thirds of the digits, so that rounding does not decide between equals: what is
    # added and subtracted again takes the last digits away (Veltkamp's splitting).
    digits = round(-math.log2(torch.finfo(x.dtype).eps)) // 3
    scaled = x * (2**digits + 1)
    rounded = scaled - (scaled - x)
    _, positions = getattr(F, name)(rounded, *rest, **options, return_indices=True)
    maxima = x.flatten(2).gather(2, positions.flatten(2))
    return maxima.view(positions.shape), positions
