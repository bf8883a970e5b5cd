"""Adversarial examples for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xai_course.data.transforms import denormalise, normalise
from xai_course.models.wrappers import NormalisingModel
from xai_course.robustness.attacks import pgd

__all__ = ["pgd_batch"]


def pgd_batch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    *,
    epsilon: float,
    steps: int,
) -> Tensor:
    """Attack a training batch of normalised images by `pgd`: for `training.fit(attack=)`.

    The model is attacked in evaluation mode, with the running statistics of its batch
    normalisations, and comes back in the modes it was in.
    """
    modes = [(module, module.training) for module in model.modules()]
    seed = int(torch.randint(2**31, (), generator=generator))
    pixels = denormalise(images).clamp(0, 1)
    try:
        found = pgd(
            NormalisingModel(model.eval()), pixels, labels, epsilon=epsilon, steps=steps, seed=seed
        )
    finally:
        for module, mode in modes:
            module.training = mode
    return normalise(found)
