"""Images unlike the training set: how far each is from what the network was trained on.

Each score is one number for each image; the larger, the further from the training set.
`detected_at_fpr` in `xai_course.core` turns a score into an alarm, and `auroc_placements` measures
how well it separates out-of-distribution images from in-distribution ones.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_number
from xai_course.core.inputs import check_images, validate_all_logits
from xai_course.core.outputs import check_two_classes
from xai_course.core.switches import own_switches
from xai_course.fully_connected.embeddings import embed, nearest_examples

__all__ = ["knn_distance", "mahalanobis_distance", "max_softmax_uncertainty"]


@own_switches(grad=False)
def max_softmax_uncertainty(model: nn.Module, images: Tensor, *, batch_size: int = 250) -> Tensor:
    """Return 1 minus the largest probability: the baseline, which needs nothing but the logits.

        uncertainty = 1 - max over classes of softmax(f(x))

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        batch_size: images in one pass.

    Returns:
        One number for each image, (N,), from 0 to 1, in double precision.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass.

    References:
        Hendrycks, Gimpel: A Baseline for Detecting Misclassified and Out-of-Distribution Examples
        in Neural Networks. ICLR 2017, arXiv:1610.02136.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import max_softmax_uncertainty
        >>> logits = torch.tensor([[0.0, 0.0], [9.0, -9.0]]).view(2, 1, 1, 2)
        >>> max_softmax_uncertainty(nn.Flatten().eval(), logits).round(decimals=3)
        tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    # These are checks; the passes below are over all images.
    check_images(images)
    check_two_classes(validate_all_logits(model, images[:1], probabilities=True)[1])
    batches = torch.split(images, int(batch_size))
    return torch.cat([1 - model(batch).double().softmax(1).amax(1) for batch in batches])


def knn_distance(
    model: nn.Module, images: Tensor, examples: Tensor, *, count: int = 1, batch_size: int = 250
) -> Tensor:
    """Return the distance from each image to its count-th nearest example, in the embedding.

        distance = count-th smallest over examples of ‖e(image) - e(example)‖

    e is the embedding: what the last linear layer takes in.

    Args:
        model: a classifier in evaluation mode that ends in a linear layer.
        images: (N, C, H, W), floating point.
        examples: (M, C, H, W), images that the network was trained on.
        count: which neighbour, from 1 for the nearest to M.
        batch_size: images in one pass.

    Returns:
        One distance for each image, (N,), in units of the embedding, in double precision.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass over images and examples.

    References:
        Sun, Ming, Zhu, Li: Out-of-Distribution Detection with Deep Nearest Neighbors. ICML 2022,
        arXiv:2204.06507 (with embeddings scaled to length 1, which is not done here).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import knn_distance
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).eval()  # embedding: the pixels
        >>> examples = torch.tensor([[0.0, 0.0], [3.0, 4.0]]).view(2, 1, 1, 2)
        >>> image = torch.zeros(1, 1, 1, 2)
        >>> knn_distance(model, image, examples, count=2)
        tensor([5.], dtype=torch.float64)
    """
    with warnings.catch_warnings():  # what is far is for the caller to decide
        warnings.filterwarnings("ignore", message="nothing is near")
        neighbours = nearest_examples(model, images, examples, count=count, batch_size=batch_size)
    return neighbours.distance[:, -1].double()


@own_switches(grad=False)
def mahalanobis_distance(
    model: nn.Module,
    images: Tensor,
    examples: Tensor,
    labels: Tensor,
    *,
    ridge: float = 1e-3,
    batch_size: int = 250,
) -> Tensor:
    """Return the Mahalanobis distance from each image to the nearest class's mean.

        distance = min over c of √((e - μ_c)ᵀ Σ⁻¹ (e - μ_c))

    e is the image's embedding, μ_c the mean embedding of class c, and Σ the covariance of the
    examples around their classes' means, the same for all classes.

    Args:
        model: a classifier in evaluation mode that ends in a linear layer.
        images: (N, C, H, W), floating point.
        examples: (M, C, H, W), images that the network was trained on.
        labels: class indices (M,) of the examples.
        ridge: this many times the mean variance is added to each variance, so that a unit which is
            0 for all examples does not divide by 0.
        batch_size: images in one pass.

    Returns:
        One distance for each image, (N,), in standard deviations, in double precision.

    Raises:
        ValueError: if an argument is not as described, or Σ cannot be inverted.

    Cost:
        One forward pass over images and examples.

    References:
        Lee, Lee, Lee, Shin: A Simple Unified Framework for Detecting Out-of-Distribution Samples
        and Adversarial Attacks. NeurIPS 2018, arXiv:1807.03888.

    Example:
        Examples at ±2 and ±1 around 0; the variance across is 2, and √(2² / 2) = 1.4142:

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import mahalanobis_distance
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).eval()  # embedding: the pixels
        >>> examples = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]]).view(4, 1, 1, 2)
        >>> image, labels = torch.tensor([2.0, 0]).view(1, 1, 1, 2), torch.zeros(4).long()
        >>> mahalanobis_distance(model, image, examples, labels, ridge=0.0)
        tensor([1.4142], dtype=torch.float64)
    """
    check_images(examples)
    if not isinstance(labels, Tensor) or labels.shape != (len(examples),):
        got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels: got {got}; must be a class for each of {len(examples)}.")
    if labels.is_floating_point():
        raise ValueError(f"labels: got {labels.dtype}; must be whole numbers.")
    check_number("ridge", ridge, least=0)
    known = embed(model, examples, batch_size=batch_size).double()  # (M, F)
    asked = embed(model, images, batch_size=batch_size).double()  # (N, F)
    labels = labels.to(known.device)
    means, deviations = [], known.clone()
    for c in sorted(set(labels.tolist())):
        means.append(known[labels == c].mean(0))
        deviations[labels == c] -= means[-1]
    covariance = deviations.T @ deviations / len(known)
    covariance.diagonal().add_(ridge * covariance.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError(
            f"ridge: got {ridge}, with which the covariance of {len(known)} examples in "
            f"{known.shape[1]} features cannot be inverted; must be larger, or give more examples."
        )
    gaps = asked[:, None] - torch.stack(means)  # (N, classes, F)
    # With Σ = L Lᵀ, the distance is the length of L⁻¹ (e - μ).
    white = torch.linalg.solve_triangular(factor, gaps.flatten(0, 1).T, upper=False)
    nearest: Tensor = white.square().sum(0).view(len(asked), -1).amin(1).sqrt()
    return nearest
