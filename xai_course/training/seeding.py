"""Random numbers that an epoch of training can draw again."""

from __future__ import annotations

import random

import numpy as np
import torch

from xai_course.training.distributed import rank_and_world_size


def seed_epoch(seed: int, epoch: int, loader: object) -> torch.Generator:
    """Set all that an epoch draws from by (seed, epoch); return a generator for augmentation.

    Processes that train together share the order of the images, which their loaders draw; dropout
    and augmentation differ between them.
    """
    order, augmentation = _draw(seed, epoch)
    chance = order
    if number := rank_and_world_size()[0]:
        chance, augmentation = _draw(seed, epoch, number)
    random.seed(chance)
    np.random.seed(chance)  # noqa: NPY002
    torch.manual_seed(chance)
    sampler = getattr(loader, "sampler", None)
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    for owner in (loader, sampler, inner):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(order)
    return torch.Generator().manual_seed(augmentation)


def _draw(*entropy: int) -> tuple[int, int]:
    """Compute two seeds from whole numbers."""
    first, second = np.random.SeedSequence(entropy).generate_state(2)
    return int(first), int(second)
