"""Random numbers that depend on the epoch alone, so that a resumed run draws the same ones."""

from __future__ import annotations

import random

import numpy as np
import torch

from xai_course.training.distributed import rank_and_world_size


def seed_epoch(seed: int, epoch: int, loader: object) -> torch.Generator:
    """Seed everything that an epoch draws from by (seed, epoch); return augmentation's generator.

    Processes that train together share the order of the images, which their loaders draw. Dropout
    and augmentation differ between them.
    """
    order_seed, augment_seed = _two_seeds(seed, epoch)
    global_seed = order_seed
    if rank := rank_and_world_size()[0]:
        global_seed, augment_seed = _two_seeds(seed, epoch, rank)
    random.seed(global_seed)
    np.random.seed(global_seed)  # noqa: NPY002
    torch.manual_seed(global_seed)
    # Where a DataLoader keeps its generator depends on whether it draws images or whole batches.
    sampler = getattr(loader, "sampler", None)
    inner_sampler = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    for owner in (loader, sampler, inner_sampler):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(order_seed)
    return torch.Generator().manual_seed(augment_seed)


def _two_seeds(*entropy: int) -> tuple[int, int]:
    """Compute two seeds from whole numbers."""
    first, second = np.random.SeedSequence(entropy).generate_state(2)
    return int(first), int(second)
