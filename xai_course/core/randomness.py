"""Run code with its own random numbers, and restore the caller's random state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["isolated_rng", "seeded_rng"]


@contextmanager
def isolated_rng(device: torch.device) -> Iterator[None]:
    """Restore the caller's random state and cuDNN's settings at the end.

    The random state is that of Python, NumPy and PyTorch. Inside, cuDNN uses deterministic
    algorithms.

    Args:
        device: where the code inside draws, beside the CPU.

    Yields:
        Nothing.

    Example:
        >>> import torch
        >>> from xai_course.core import isolated_rng
        >>> before = torch.get_rng_state()
        >>> with isolated_rng(torch.device("cpu")):
        ...     number = torch.rand(1)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    gpus = [device] if device.type == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices=gpus),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        ):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


@contextmanager
def seeded_rng(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Draw PyTorch's random numbers from a seed, and restore the caller's random state at the end.

    Args:
        seed: of PyTorch's global generators.
        device: where the code inside draws, beside the CPU; None for the CPU alone.

    Yields:
        Nothing.

    Example:
        >>> import torch
        >>> from xai_course.core import seeded_rng
        >>> with seeded_rng(0):
        ...     first = torch.rand(3)
        >>> with seeded_rng(0):
        ...     again = torch.rand(3)
        >>> torch.equal(first, again)
        True
    """
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield
