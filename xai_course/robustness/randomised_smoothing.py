"""Randomised smoothing: a network votes on noisy copies of a picture, and that provably holds.

The vote's winner cannot change while the picture moves by less than a radius that follows from how
clear the vote is. This holds for any network and against any attack, known or not, but for a
chance of error that is chosen, and for changes measured by their length.

Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing. ICML 2019,
arXiv:1902.02918.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.inputs import validate_inputs
from xai_course.core.statistics import _check_alpha, _log_tail, lower_bound

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
    """Count what a model of pixels says to `samples` noisy copies of each image: (N, classes).

    The noise is Gaussian with standard deviation `sigma` in each value; the sums are not cut to
    [0, 1]. It is drawn from `seed`. Raises ValueError for a model in training mode and for options
    that cannot be used.
    """
    _check(sigma, samples)
    x, _, _ = validate_inputs(model, images, batch_size=batch_size)
    generator = torch.Generator(x.device).manual_seed(seed)
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
    """Return the class that wins the vote on noisy copies: (N,), or ABSTAIN where it is too close.

    Too close: if the first two classes were equally likely, so clear a lead, either way, would come
    with a probability above `alpha`. So with 1 - alpha it is the winner of an endless vote. Other
    arguments and errors as in `noisy_votes`.
    """
    _check_alpha(alpha)
    votes = noisy_votes(
        model, images, sigma=sigma, samples=samples, seed=seed, batch_size=batch_size
    )
    (first, second), best = votes.topk(2).values.T, votes.argmax(1)
    chance = torch.tensor(
        [
            2 * float(_log_tail(int(a), int(a + b), torch.tensor(0.5, dtype=torch.double)).exp())
            for a, b in zip(first, second, strict=True)
        ]
    )
    return best.where(chance.to(best.device) <= alpha, ABSTAIN)


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
    """Return the smoothed class (N,) and the radius (N,), in pixel units, within which it stays.

    A first vote of `first` copies names the class, a second one of `samples` says how sure it is:

        radius = sigma · Φ⁻¹(p)      p: lower bound on the class's share of all noisy copies

    No change of the picture with a length (ℓ2) below the radius changes the smoothed class, with a
    probability of error of at most `alpha` for each image. Where p is not above 1/2: ABSTAIN and 0.
    Other arguments and errors as in `noisy_votes`. Cohen, Rosenfeld, Kolter, arXiv:1902.02918.
    """
    _check_alpha(alpha)
    _check(sigma, first)
    options: dict[str, Any] = {"sigma": sigma, "batch_size": batch_size}
    # The two votes must not share their noise.
    named = noisy_votes(model, images, samples=first, seed=2 * seed, **options).argmax(1)
    votes = noisy_votes(model, images, samples=samples, seed=2 * seed + 1, **options)
    hits = votes.gather(1, named[:, None])[:, 0].tolist()
    shares = torch.tensor([lower_bound(hit, samples, alpha) for hit in hits], dtype=torch.double)
    radius = sigma * torch.special.ndtri(shares.clamp(min=0.5))
    where = named.device
    return named.where(radius.to(where) > 0, ABSTAIN), radius.to(images)


def _check(sigma: float, samples: int) -> None:
    if not isinstance(sigma, int | float) or not 0 < sigma < math.inf:
        raise ValueError(f"sigma: got {sigma!r}; allowed is a finite number above 0.")
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise ValueError(f"samples: got {samples!r}; allowed is a whole number from 1.")
