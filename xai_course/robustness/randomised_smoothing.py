"""Randomised smoothing: a network votes on noisy copies of an image, with a proven radius.

The winner of the vote cannot change while the image moves by less than a radius, which follows from
how clear the vote is. This holds for any network and against any attack, known or not, with a
probability of error that is chosen, and for changes measured by their length (ℓ2).

Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing. ICML 2019,
arXiv:1902.02918.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.inputs import validate_all_logits
from xai_course.core.outputs import check_two_classes
from xai_course.core.randomness import new_generator
from xai_course.core.statistics import clopper_pearson_lower

__all__ = ["ABSTAIN", "certify", "noisy_votes", "smooth_prediction"]


ABSTAIN = -1  # the answer where the vote is too close


@torch.no_grad()
def noisy_votes(
    model: nn.Module,
    images: Tensor,
    *,
    sigma: float = 0.25,
    samples: int = 100,
    seed: int = 0,
    batch_size: int = 250,
) -> Tensor:
    """Count the classes that a model predicts for noisy copies of each image.

        votes[c] = number of copies with  argmax f(x + σ · noise) = c

    The noise is Gaussian. The noisy pixels are not clipped to [0, 1].

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W).
        sigma: standard deviation of the noise, in units of the pixels.
        samples: number of noisy copies of each image.
        seed: of the noise. The caller's random state stays as it was.
        batch_size: copies in one pass.

    Returns:
        Whole numbers (N, classes); each row adds up to `samples`.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        `samples` forward passes.

    References:
        Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing. ICML
        2019, arXiv:1902.02918.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import noisy_votes
        >>> model = nn.Flatten().eval()  # the pixels are the logits
        >>> image = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> noisy_votes(model, image, sigma=0.1, samples=50)
        tensor([[ 0, 50]])
    """
    check_number("sigma", sigma, above=0)
    samples = check_count("samples", samples)
    x, whole, _ = validate_all_logits(model, images, batch_size=batch_size)
    check_two_classes(whole)
    generator = new_generator(seed, x.device)
    rows = []
    for image in x:
        votes: Any = 0
        for start in range(0, samples, batch_size):
            count = min(batch_size, samples - start)
            noise = torch.empty(count, *image.shape, dtype=x.dtype, device=x.device)
            logits = model(image + sigma * noise.normal_(generator=generator))
            votes = votes + logits.argmax(1).bincount(minlength=logits.shape[1])
        rows.append(votes)
    return torch.stack(rows)


def smooth_prediction(
    model: nn.Module,
    images: Tensor,
    *,
    sigma: float = 0.25,
    samples: int = 100,
    alpha: float = 0.001,
    seed: int = 0,
    batch_size: int = 250,
) -> Tensor:
    """Return the class with the highest probability under noise, or ABSTAIN where it is too close.

    Too close: in a two-sided binomial test, the two classes with the most votes could be equally
    likely, p > `alpha`.

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W).
        sigma: standard deviation of the noise, in units of the pixels.
        samples: number of noisy copies of each image.
        alpha: the largest probability of a wrong class, between 0 and 1.
        seed: of the noise. The caller's random state stays as it was.
        batch_size: copies in one pass.

    Returns:
        Class indices (N,); ABSTAIN, -1, where the vote is too close.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        `samples` forward passes.

    References:
        Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing. ICML
        2019, arXiv:1902.02918.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import smooth_prediction
        >>> model = nn.Flatten().eval()  # the pixels are the logits
        >>> images = torch.tensor([[0.0, 1.0], [0.5, 0.5]]).view(2, 1, 1, 2)
        >>> smooth_prediction(model, images)  # class 1, and a vote that is too close
        tensor([ 1, -1])
    """
    from scipy.stats import binomtest

    check_number("alpha", alpha, above=0, below=1)
    votes = noisy_votes(
        model, images, sigma=sigma, samples=samples, seed=seed, batch_size=batch_size
    )
    (first, second), best = votes.topk(2).values.T, votes.argmax(1)
    is_clear = [
        binomtest(a, a + b).pvalue <= alpha
        for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    return best.where(torch.tensor(is_clear, device=best.device), ABSTAIN)


def certify(
    model: nn.Module,
    images: Tensor,
    *,
    sigma: float = 0.25,
    first: int = 100,
    samples: int = 1000,
    alpha: float = 0.001,
    seed: int = 0,
    batch_size: int = 250,
) -> tuple[Tensor, Tensor]:
    """Return the smoothed class, and the radius within which it cannot change.

        radius = σ · Φ⁻¹(p)      p: lower bound on the class's share of all noisy copies

    A first vote chooses the class, a second one bounds its share. No change of the image with a
    length (ℓ2) below the radius changes the smoothed class, with a probability of error of at most
    `alpha` for each image.

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W).
        sigma: standard deviation of the noise, in units of the pixels.
        first: noisy copies in the vote that chooses the class.
        samples: noisy copies in the vote that bounds its share.
        alpha: the largest probability of error, between 0 and 1.
        seed: of the noise. The caller's random state stays as it was.
        batch_size: copies in one pass.

    Returns:
        Class indices (N,), and radii (N,) in units of the pixels. Where p is not above 1/2, the
        class is ABSTAIN, -1, and the radius 0.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        `first` + `samples` forward passes.

    References:
        Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing. ICML
        2019, arXiv:1902.02918.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import certify
        >>> model = nn.Flatten().eval()  # the pixels are the logits
        >>> images = torch.tensor([[0.0, 1.0], [0.5, 0.5]]).view(2, 1, 1, 2)
        >>> classes, radius = certify(model, images)  # class 1, and a vote that is too close
        >>> classes.tolist(), bool(radius[0] < 0.5**0.5), radius[1].item()  # √½: the true distance
        ([1, -1], True, 0.0)
    """
    check_number("alpha", alpha, above=0, below=1)
    first = check_count("first", first)
    options: dict[str, Any] = {"sigma": sigma, "batch_size": batch_size}
    # The two votes must not share their noise.
    chosen = noisy_votes(model, images, samples=first, seed=2 * seed, **options).argmax(1)
    votes = noisy_votes(model, images, samples=samples, seed=2 * seed + 1, **options)
    hits = votes.gather(1, chosen[:, None])[:, 0].tolist()
    bounds = [clopper_pearson_lower(hit, samples, alpha) for hit in hits]
    shares = torch.tensor(bounds, dtype=torch.double)
    radius = sigma * torch.special.ndtri(shares.clamp(min=0.5))
    return chosen.where(radius.to(chosen.device) > 0, ABSTAIN), radius.to(images)
