"""Pictures read and put through the reader's transform, so that the same file gives the same input.

A transform may draw random numbers, as those for training do. Here it draws the same ones for every
picture, and `is_random` says that it draws.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xai_course.core.randomness import isolated_rng
from xai_course.core.translation import message
from xai_course.data.image_files import read_image

__all__ = ["first_pictures", "is_random", "read_input", "repeatable"]


NOT_TRANSFORMED = message(
    "{file}, of {width} × {height} pixels, does not go through the transform ({error})"
)
SEEDS = range(4)  # of the readings that are compared: a flip by chance is missed once in 8 pictures


def repeatable(transform: Callable[[Image.Image], Tensor]) -> Callable[[Image.Image], Tensor]:
    """Return a transform that draws the same random numbers for every picture.

    Args:
        transform: a picture to one input (C, H, W); it may draw from the global generators of
            Python, NumPy and PyTorch.

    Returns:
        The same transform, with all generators at the same seed. The caller's random state stays
        as it is.

    Example:
        >>> import torch
        >>> from PIL import Image
        >>> from xai_course.report import repeatable
        >>> noisy = repeatable(lambda picture: torch.rand(1, 2, 2))
        >>> picture = Image.new("RGB", (2, 2))
        >>> torch.equal(noisy(picture), noisy(picture))
        True
    """
    return partial(_with_seed, transform, SEEDS[0])


def is_random(transform: Callable[[Image.Image], Tensor], pictures: Iterable[Image.Image]) -> bool:
    """Say whether two readings of the same picture give different inputs.

    Args:
        transform: a picture to one input (C, H, W).
        pictures: each is read four times; one that it does not take is passed over.

    Returns:
        True if any two inputs of one picture differ.

    Example:
        >>> import torch
        >>> from PIL import Image
        >>> from xai_course.report import is_random
        >>> is_random(lambda picture: torch.rand(1, 2, 2), [Image.new("RGB", (2, 2))])
        True
    """
    for picture in pictures:
        try:
            first, *others = (_with_seed(transform, seed, picture) for seed in SEEDS)
        except Exception:  # another's transform may raise anything
            continue
        if any(first.shape != other.shape or not first.equal(other) for other in others):
            return True
    return False


def _with_seed(
    transform: Callable[[Image.Image], Tensor], seed: int, picture: Image.Image
) -> Tensor:
    """Run a transform with all global generators at a seed, and restore them."""
    with isolated_rng(torch.device("cpu")):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (the transform may draw from it)
        torch.default_generator.manual_seed(seed)
        return transform(picture)


def read_input(transform: Callable[[Image.Image], Tensor], path: Path) -> Tensor:
    """Read one image file as the network's input.

    Args:
        transform: a picture to one input (C, H, W).
        path: the file.

    Returns:
        The input (C, H, W).

    Raises:
        ValueError: naming the file, if it cannot be read or does not go through the transform.
    """
    picture = read_image(path)
    try:
        return repeatable(transform)(picture)
    except Exception as error:  # another's transform may raise anything
        words = NOT_TRANSFORMED.format(
            file=path,
            width=picture.width,
            height=picture.height,
            error=f"{type(error).__name__}: {error}",
        )
        raise ValueError(words) from error


def first_pictures(files: Sequence[Path], count: int = 3) -> list[Image.Image]:
    """Read the first few image files that can be read.

    Args:
        files: image files.
        count: how many to read.

    Returns:
        At most `count` pictures.
    """
    pictures: list[Image.Image] = []
    for path in files:
        if len(pictures) == count:
            break
        try:
            pictures.append(read_image(path))
        except ValueError:
            continue
    return pictures
