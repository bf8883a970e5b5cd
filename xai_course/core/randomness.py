"""Run code with its own random numbers, and restore the caller's random state."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch

from xai_course.core.checks import check_count

__all__ = ["image_generator", "isolated_rng", "new_generator", "seeded_rng"]

# PyTorch's, NumPy's and Python's global generators belong to the whole process. One thread at a
# time borrows them, so that the draws of two threads do not mix.
_GLOBAL_GENERATORS = RLock()


def new_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator of random numbers of its own.

    Args:
        seed: a whole number from 0, also one of NumPy.
        device: where it draws.

    Returns:
        The generator.

    Raises:
        ValueError: for another seed.

    Example:
        >>> import torch
        >>> from xai_course.core import new_generator
        >>> torch.rand(1, generator=new_generator(0)) == torch.rand(1, generator=new_generator(0))
        tensor([True])
    """
    seed = check_count("seed", seed, least=0, most=2**63 - 1)
    return torch.Generator(device).manual_seed(seed)


def image_generator(image: torch.Tensor, seed: int) -> torch.Generator:
    """Return a generator that the seed and the values of an image decide.

    What it draws for an image does not depend on the other images of a batch.

    Args:
        image: a tensor of any shape.
        seed: a whole number.

    Returns:
        The generator, on the CPU.

    Example:
        >>> import torch
        >>> from xai_course.core import image_generator
        >>> first, again = (image_generator(torch.zeros(3), seed=0) for _ in range(2))
        >>> torch.rand(1, generator=first) == torch.rand(1, generator=again)
        tensor([True])
    """
    values = image.detach().double().cpu().contiguous().numpy()
    content = hashlib.blake2b(f"{seed} ".encode() + values.tobytes(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(content, "little"))


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
    gpus = [device] if device.type == "cuda" else []
    with _GLOBAL_GENERATORS:
        python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
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
    seed = check_count("seed", seed, least=0, most=2**63 - 1)
    gpus = [device] if device is not None and device.type == "cuda" else []
    with _GLOBAL_GENERATORS, torch.random.fork_rng(devices=gpus):
        if device is None or device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # leaves the generators of GPUs as they are
        else:
            torch.manual_seed(seed)
        yield
