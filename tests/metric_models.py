"""Models, images and a way to ask Quantus, for the tests of several metrics."""

from typing import Any

import numpy as np
import torch
from stock_networks import pictures
from torch import Tensor, nn


def linear(weights: list[list[float]]) -> nn.Module:
    """Return a model of one row of weights a class, over the flattened image, without bias."""
    layer = nn.Linear(len(weights[0]), len(weights), bias=False)
    layer.weight = nn.Parameter(torch.tensor(weights, dtype=torch.double))
    return nn.Sequential(nn.Flatten(), layer).eval()


def random_linear(channels: int = 3, size: int = 8) -> nn.Module:
    """Return a linear model of two classes with random weights."""
    weights = pictures(1, size, channels, seed=3).flatten(1)
    return linear(torch.cat([weights, -weights.flip(1)]).tolist())


def flat(_model: nn.Module, images: Tensor, _targets: Any = None) -> Tensor:
    """Return relevance of 0 everywhere."""
    return torch.zeros_like(images)


# Two classes: the first logit is the sum 1 + 2 + 3 + 4 of FOUR's pixels, the other is 0.
SUM = linear([[1.0, 1, 1, 1], [0.0, 0, 0, 0]])
FOUR = torch.tensor([[[[1.0, 2], [3, 4]]]], dtype=torch.double)


def quantus_scores(
    metric: Any,
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    maps: Tensor,
    masks: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Return one score for each image, by a metric of Quantus."""
    arrays = [None if a is None else a.numpy() for a in (images, targets, maps, masks)]
    names = ("x_batch", "y_batch", "a_batch", "s_batch")
    result = metric(model=model, **dict(zip(names, arrays, strict=True)), device="cpu", **options)
    return torch.tensor(np.array(result, dtype=float))
