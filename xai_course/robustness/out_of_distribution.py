"""Pictures that a network should not be asked about: how far they are from what it has learnt.

Each score is one number an image, the larger the stranger. `judge.detection` makes an alarm of it,
`auroc_placements` says how well it tells strangers from acquaintances.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from xai_course.core.inputs import validate_inputs
from xai_course.fully_connected.embeddings import embed, nearest_examples

__all__ = ["knn_distance", "mahalanobis_distance", "max_softmax_uncertainty"]


@torch.inference_mode(False)
@torch.no_grad()
def max_softmax_uncertainty(model: nn.Module, images: Tensor, *, batch_size: int = 250) -> Tensor:
    """Return how unsure the network is: 1 minus the largest probability, (N,).

    The score to beat: it needs nothing but the answer. Raises ValueError for wrong arguments.

    Hendrycks, Gimpel: A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
    Neural Networks. ICLR 2017, arXiv:1610.02136.
    """
    validate_inputs(model, images[:1])  # its checks; the passes below are over all images
    parts = torch.split(images, batch_size)
    return torch.cat([1 - model(part).double().softmax(1).amax(1) for part in parts])


def knn_distance(
    model: nn.Module, images: Tensor, examples: Tensor, *, count: int = 1, batch_size: int = 250
) -> Tensor:
    """Return the distance from each image to its nearest example, in the embedding, (N,).

    `images` (N, C, H, W) and `examples` (M, C, H, W), which the network was trained on. `count`:
    the distance to the count-th nearest one. Without `nearest_examples`' own warning: what is far
    is for the caller to decide. Raises ValueError as `nearest_examples` does.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="nothing is near")
        found = nearest_examples(model, images, examples, count=count, batch_size=batch_size)
    return found.distance[:, -1].double()


@torch.inference_mode(False)
@torch.no_grad()
def mahalanobis_distance(
    model: nn.Module,
    images: Tensor,
    examples: Tensor,
    labels: Tensor,
    *,
    ridge: float = 1e-3,
    batch_size: int = 250,
) -> Tensor:
    """Return Mahalanobis' distance from each image to the nearest class's mean, (N,).

    `images` (N, C, H, W); `examples` (M, C, H, W) with their classes `labels` (M,), which the
    network was trained on. With e the embedding, μ_c the classes' means and Σ the covariance of the
    examples around them, the same for all classes:

        distance = min over c of √((e - μ_c)ᵀ Σ⁻¹ (e - μ_c))

    `ridge`: as many times the mean variance is added to each variance, so that a unit which is
    silent on all examples does not divide by 0. Raises ValueError for wrong arguments, and if Σ
    cannot be inverted.

    Lee, Lee, Lee, Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks. NeurIPS 2018, arXiv:1807.03888.
    """
    if not isinstance(labels, Tensor) or labels.shape != (len(examples),):
        came = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels: got {came}; allowed is a class for each of {len(examples)}.")
    if labels.is_floating_point():
        raise ValueError(f"labels: got {labels.dtype}; allowed are whole numbers.")
    if not isinstance(ridge, int | float) or not 0 <= ridge < torch.inf:
        raise ValueError(f"ridge: got {ridge!r}; allowed is a finite number from 0.")
    known, asked = (
        embed(model, some, batch_size=batch_size).double() for some in (examples, images)
    )
    labels = labels.to(known.device)
    means, around = [], known.clone()
    for c in sorted(set(labels.tolist())):
        means.append(known[labels == c].mean(0))
        around[labels == c] -= means[-1]
    covariance = around.T @ around / len(known)
    covariance.diagonal().add_(ridge * covariance.diagonal().mean())
    root, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError(
            f"ridge: with {ridge} the covariance of {len(known)} examples in {known.shape[1]} "
            "features cannot be inverted; allowed is a larger one, or more examples."
        )
    gaps = asked[:, None] - torch.stack(means)  # (N, classes, F)
    white = torch.linalg.solve_triangular(root, gaps.flatten(0, 1).T, upper=False)
    nearest: Tensor = white.square().sum(0).view(len(asked), -1).amin(1).sqrt()
    return nearest
