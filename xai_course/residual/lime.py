"""LIME: a linear model of the network's answers, in which each segment is shown or hidden."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.randomness import new_generator
from xai_course.core.switches import own_switches
from xai_course.residual.coalitions import Game, segment_games
from xai_course.residual.segments import segment_map

__all__ = ["lime", "lime_coefficients"]


@own_switches(grad=False)
def lime(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    segments: Tensor | None = None,
    samples: int = 1000,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    output: str = "logit",
    baseline: float | str | Tensor = "mean",
    seed: int = 0,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return LIME: the coefficients of a local linear model, each spread over its segment.

        minimise over a, c   Σ over z of  k(z) · (f(z) − a − c · z)²  +  ridge · |c|²
        k(z) = exp(−d² / (2 · width²)),    d = 1 − √(share of the segments that z shows)

    z is a random row of zeros and ones, which hides and shows the segments; f(z) is the output for
    the image so masked, k(z) how near it is to the whole image, and d the cosine distance of z from
    a row of ones. The sum of the relevance over a segment is its coefficient c: a pixel gets the
    coefficient divided by the segment's area. (In `occlusion` and `rise` a pixel gets the whole
    effect of its surroundings instead.)

    Kernel SHAP (`shapley_values`) is the same regression with another kernel, no penalty, and
    coefficients whose sum is held at f(whole) − f(nothing). LIME's need not add up to anything.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        segments: labels (N, H, W), or (H, W) for all images, such as `superpixels` and
            `grid_segments` return; pixels of a negative label stay as they are. Or masks
            (N, S, H, W), boolean or from 0 to 1: what share of a pixel they hide; where several
            overlap, the shares add up to at most 1. None is a grid of 8 × 8.
        samples: rows z; each segment is shown with probability ½, and the first row shows all.
        kernel_width: width, above 0; 0.25 in the authors' package.
        ridge: weight of the penalty, at least 0; 1 in the authors' package.
        output: f: the "logit" of the target class, or its "probability" (the authors' package).
        baseline: what is seen where a segment is hidden: a number, a tensor, "mean" or "blur" (see
            `baseline_images`).
        seed: of the rows z. Images with equally many segments get the same rows.
        batch_size: images in one forward pass, which bounds the memory.
        progress: show a bar of progress over the images.

    Returns:
        Relevance (N, 1, H, W), in logits or in probability, as the output is.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        `samples` forward passes, and one for the whole image; no derivative.

    References:
        Ribeiro, Singh, Guestrin: "Why Should I Trust You?": Explaining the Predictions of Any
        Classifier. KDD 2016, arXiv:1602.04938.

    Example:
        A model that adds up the pixels is linear already; without a penalty LIME finds it.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import lime
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).eval()
        >>> _ = nn.init.ones_(model[1].weight)
        >>> images, labels = torch.tensor([[[[1.0, 2, 4, 8]]]]), torch.tensor([[0, 0, 1, 1]])
        >>> lime(model, images, segments=labels, baseline=0, ridge=0).round(decimals=4).tolist()
        [[[[1.5, 1.5, 6.0, 6.0]]]]
    """
    coefficients = lime_coefficients(
        model,
        images,
        targets,
        segments=segments,
        samples=samples,
        kernel_width=kernel_width,
        ridge=ridge,
        output=output,
        baseline=baseline,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    return segment_map(coefficients, segments, images)


@own_switches(grad=False)
def lime_coefficients(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    segments: Tensor | None = None,
    samples: int = 1000,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    output: str = "logit",
    baseline: float | str | Tensor = "mean",
    seed: int = 0,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return the coefficients of LIME, one for each segment.

    Args:
        model: as for `lime`, and so are all others.
        images: (N, C, H, W).
        targets: the classes.
        segments: labels or masks.
        samples: rows z.
        kernel_width: width of the kernel.
        ridge: weight of the penalty.
        output: "logit" or "probability".
        baseline: what is seen where a segment is hidden.
        seed: of the rows z.
        batch_size: images in one forward pass.
        progress: show a bar of progress over the images.

    Returns:
        Coefficients (N, S), in logits or in probability, in double precision; S is the largest
        label plus 1, or the number of masks. A segment without pixels has 0.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        As `lime`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import lime_coefficients
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).eval()
        >>> _ = nn.init.ones_(model[1].weight)
        >>> images, labels = torch.tensor([[[[1.0, 2, 4, 8]]]]), torch.tensor([[0, 0, 1, 1]])
        >>> found = lime_coefficients(model, images, segments=labels, baseline=0, ridge=0)
        >>> found.round(decimals=4).tolist()
        [[3.0, 12.0]]
    """
    samples = check_count("samples", samples, least=2)
    check_number("kernel_width", kernel_width, above=0)
    check_number("ridge", ridge, least=0)
    new_generator(seed)  # checks the seed
    count, games = segment_games(
        model, images, targets, segments, baseline, output, batch_size, "LIME", progress
    )
    coefficients = torch.zeros(len(images), count, dtype=torch.double)
    for n, players, game in games:
        rows = torch.rand(
            samples, len(players), generator=new_generator(seed), dtype=torch.double
        ).round()
        rows[0] = 1
        coefficients[n, players] = _fit(game, rows, kernel_width, ridge)
    return coefficients


def _fit(game: Game, rows: Tensor, kernel_width: float, ridge: float) -> Tensor:
    """Return the coefficients (P,) of the weighted ridge regression on rows (samples, P)."""
    outputs = game(rows.bool())
    distance = 1 - rows.mean(1).sqrt()  # cosine distance from a row of ones
    weight = torch.exp(-distance.square() / (2 * kernel_width**2))
    # Measured from their weighted means, rows and outputs need no intercept, which has no penalty.
    share = weight / weight.sum()
    z, y = rows - share @ rows, outputs - share @ outputs
    normal = (z.T * weight) @ z + ridge * torch.eye(z.shape[1], dtype=z.dtype)
    # The pseudoinverse also has an answer where a few rows leave it open.
    inverse: Tensor = torch.linalg.pinv(normal, hermitian=True)
    return inverse @ (z.T @ (weight * y))
