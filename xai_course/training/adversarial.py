"""Adversarial examples for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xai_course.data.transforms import denormalise, normalise
from xai_course.models.wrappers import NormalisingModel
from xai_course.robustness.attacks import pgd
from xai_course.training.evaluation import restored_modes

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
    """Attack a training batch by `pgd`: for `TrainingConfig(attack=)`.

    Args:
        model: a classifier of normalised images. It is attacked in evaluation mode, with the
            running statistics of its batch normalisations; its modes are restored.
        images: (N, 3, H, W), normalised.
        labels: class indices (N,).
        generator: draws the seed of the attack's random start.
        epsilon: the largest change of a pixel, in pixel units from 0 to 1.
        steps: of the attack.

    Returns:
        The attacked images (N, 3, H, W), normalised.

    Raises:
        ValueError: as `pgd`.

    Cost:
        As `pgd`.

    References:
        Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks. ICLR 2018,
        arXiv:1706.06083.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    pixels = denormalise(images).clamp(0, 1)
    with restored_modes(model):
        attacked = pgd(
            NormalisingModel(model.eval()), pixels, labels, epsilon=epsilon, steps=steps, seed=seed
        )
    return normalise(attacked)
