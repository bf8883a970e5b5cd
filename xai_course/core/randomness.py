"""Run code with random numbers of its own and give the caller's random state back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["isolated_rng"]


@contextmanager
def isolated_rng(device: torch.device) -> Iterator[None]:
    """Give back the random state of Python, NumPy and PyTorch, and cuDNN's settings, as they were.

    Inside, cuDNN chooses repeatable algorithms.
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
