"""How a classifier is trained: the settings of `fit`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.describe import describe_callable

__all__ = ["TrainingConfig", "one_cycle"]


Augment: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
Attack: TypeAlias = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


def one_cycle(progress: float) -> float:
    """Return the factor on the learning rate: warm up for a quarter of the training, then decay.

    It rises from 1/25 to 1 and then decays to 0, both along a cosine. A function of the progress
    alone, and not a `torch.optim.lr_scheduler`, so that a resumed run needs no state of it.

    Args:
        progress: the share of the training steps that is done, from 0 to 1.

    Returns:
        The factor, from 0 to 1.

    References:
        Smith, Topin: Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
        Rates. 2017, arXiv:1708.07120.

    Example:
        >>> from xai_course.training import one_cycle
        >>> [round(one_cycle(progress), 2) for progress in (0, 0.25, 0.625, 1)]
        [0.04, 1.0, 0.5, 0.0]
    """
    if progress < 0.25:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.25)) / 2
    return (1 + math.cos(math.pi * (min(progress, 1.0) - 0.25) / 0.75)) / 2


@dataclass(frozen=True)
class TrainingConfig:
    """How `fit` trains a classifier.

    Args:
        epochs: passes over the training images.
        learning_rate: the largest one, where there is a schedule.
        optimizer: called as optimizer(weights, lr=learning_rate).
        schedule: maps the progress of the training, from 0 to 1, to a factor on the learning rate;
            None keeps the rate constant.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        augment: called as augment(images, generator) on each training batch; None changes nothing.
        attack: called as attack(model, images, labels, generator) after the augmentation; the model
            learns from the images (N, C, H, W) it returns. None for no adversarial training.
        seed: of the order of the images, the augmentation and dropout. It does not choose the
            initial weights.

    Raises:
        ValueError: for a number out of its range.

    Example:
        >>> from xai_course.training import TrainingConfig
        >>> TrainingConfig(epochs=5, label_smoothing=0.1).learning_rate
        0.005
    """

    epochs: int
    learning_rate: float = 0.005
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW
    schedule: Callable[[float], float] | None = one_cycle
    label_smoothing: float = 0.0
    augment: Augment | None = None
    attack: Attack | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_count("epochs", self.epochs)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("label_smoothing", self.label_smoothing, least=0, below=1)
        check_count("seed", self.seed, least=0)

    def describe(self) -> dict[str, Any]:
        """Return the settings as plain values, functions by their names and options."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: describe_callable(value) if callable(value) else value
            for name, value in settings.items()
        }
