"""Intervals, tests and scores of results: means, binomials, seeds, ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "auroc_placements",
    "detected_at_fpr",
    "lower_bound",
    "mean_interval",
    "seed_interval",
    "sign_test",
    "skill_score",
]


# ---- what a score is worth -----------------------------------------------------------------------


def skill_score(scores: Tensor, nulls: Mapping[str, Tensor], best: Tensor | float = 1.0) -> Tensor:
    """Put scores on the scale from the best null map, 0, to the key itself, 1: (N,).

    `scores` (N,), one a scene; `nulls`: the scores (N,) of maps that know nothing, by name; the one
    with the highest mean counts. `best`: the scores of the key itself, or their mean. Where lower
    scores are better, hand in all of them with their sign turned.

        skill[n] = (score[n] - null[n]) / (mean of best - mean of null)

    One number a scene, of which the mean is the skill; `mean_interval` gives its interval. Raises
    ValueError without nulls, for lengths that differ, and if the best is no better than the null.
    """
    if not nulls:
        raise ValueError("nulls: got none; allowed is at least one, by name.")
    for name, null in nulls.items():
        if scores.ndim != 1 or null.shape != scores.shape:
            raise ValueError(
                f"nulls: {name} has shape {tuple(null.shape)}, scores {tuple(scores.shape)}; "
                "allowed are (N,) for both."
            )
    name, null = max(nulls.items(), key=lambda item: item[1].mean().item())
    span = float(torch.as_tensor(best).double().mean() - null.double().mean())
    if not span > 0:
        raise ValueError(f"best: got a mean no better than that of the null map {name}.")
    return (scores - null).double() / span


def detected_at_fpr(scores: Tensor, clean: Tensor, *, false_alarms: float = 0.05) -> Tensor:
    """Return 1 where a score is above the alarm level that clean scores set, else 0: (N,).

    The level is exceeded by a share of at most `false_alarms` of the `clean` scores, which come
    from a model without the fault that is sought. The mean is the detection rate. Raises ValueError
    for scores that are empty or not finite, and for a share outside [0, 1).
    """
    for name, values in (("scores", scores), ("clean", clean)):
        if not values.numel() or not values.isfinite().all():
            raise ValueError(f"{name}: got {values}; allowed are finite numbers, at least one.")
    if not 0 <= false_alarms < 1:
        raise ValueError(f"false_alarms: got {false_alarms}; allowed is from 0 to below 1.")
    ordered = clean.double().flatten().sort().values
    level = ordered[len(ordered) - 1 - int(false_alarms * len(ordered))]
    return (scores > level).double()


def mean_interval(
    values: Any, *, level: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of values (N,), one a scene, and its bootstrap interval: (mean, low, high).

    The interval holds the middle `level` of the means of `samples` draws of N values with
    replacement. For two methods on the same scenes, give it the differences: a paired comparison.
    Raises ValueError for no values, NaN, or a level outside (0, 1).

    Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics, 1979.
    """
    numbers = torch.as_tensor(values, dtype=torch.double).flatten()
    if not len(numbers) or not numbers.isfinite().all():
        raise ValueError(f"values: got {values}; allowed is at least one finite number.")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}; allowed is between 0 and 1.")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(numbers), (samples, len(numbers)), generator=generator)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    low, high = numbers[drawn].mean(1).quantile(ends).tolist()
    return numbers.mean().item(), low, high


def sign_test(hits: int, images: int) -> float:
    """Return how often a fair coin gives at least so many hits: one-sided sign test, exactly.

        P = Σ from k = hits to images of C(images, k) / 2^images

    Raises ValueError if it is not 0 ≤ hits ≤ images.
    """
    if not 0 <= hits <= images:
        raise ValueError(f"hits: got {hits}; allowed is 0 to images = {images}.")
    ways = sum(math.comb(images, k) for k in range(hits, images + 1))
    return ways / float(2**images)


def auroc_placements(strange: Tensor, known: Tensor) -> Tensor:
    """Return for each strange image which share of the known ones it is stranger than: (N,).

    `strange` (N,) and `known` (M,): scores, the larger the stranger; a tie counts half. The mean is
    the area under the ROC curve: the probability that a strange image has the larger score of the
    two. 1: told apart; 0.5: a coin. `mean_interval` gives it with its interval over the strange
    images. Raises ValueError for scores that are empty, no (N,), or not finite.
    """
    for name, scores in (("strange", strange), ("known", known)):
        if scores.ndim != 1 or not len(scores) or not scores.isfinite().all():
            raise ValueError(
                f"{name}: got {tuple(scores.shape)}; allowed are finite numbers (N,), one or more."
            )
    ordered = known.double().sort().values
    below, not_above = (
        torch.searchsorted(ordered, strange.double(), right=right) for right in (False, True)
    )
    return (below + not_above).double() / (2 * len(ordered))


def lower_bound(hits: int, trials: int, alpha: float = 0.001) -> float:
    """Return a lower bound on a probability, seen in `hits` of `trials`, by Clopper and Pearson.

    The p at which so many hits, or more, would come with probability `alpha`:

        Σ over k from hits to trials of  (trials choose k) p^k (1 - p)^(trials - k)  =  alpha

    The true probability lies below it with probability `alpha` at most. Raises ValueError for hits
    outside 0 to `trials`, and alpha outside (0, 1). Clopper, Pearson: The Use of Confidence or
    Fiducial Limits Illustrated in the Case of the Binomial. Biometrika, 1934.
    """
    _check_alpha(alpha)
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"hits: got {hits} of {trials}; allowed is from 0 to trials, from 1.")
    if hits == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):  # halve the interval: the tail grows with p
        middle = (low + high) / 2
        if _log_tail(hits, trials, torch.tensor(middle, dtype=torch.double)) > math.log(alpha):
            high = middle
        else:
            low = middle
    return low


def _log_tail(hits: int, trials: int, p: Tensor) -> Tensor:
    """Return log P(at least `hits` of `trials`), each with probability p."""
    k = torch.arange(hits, trials + 1, dtype=torch.double)
    n = torch.tensor(float(trials), dtype=torch.double)
    choose = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return torch.logsumexp(choose + torch.xlogy(k, p) + torch.special.xlog1py(n - k, -p), 0)


def _check_alpha(alpha: float) -> None:
    if not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise ValueError(f"alpha: got {alpha!r}; allowed is between 0 and 1.")


# Student's t, 97.5 %, for 2 to 10 values
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def seed_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the mean of values, one a seed, and the ends of its 95 % interval.

        mean ± t · s / √n

    t by Student, for few values, where a bootstrap is too narrow. Raises ValueError for other than
    2 to 10 values.
    """
    numbers = [float(value) for value in values]
    if not 2 <= len(numbers) <= 10:
        raise ValueError(f"values: got {len(numbers)}; allowed are 2 to 10, one a seed.")
    mean = fmean(numbers)
    half = STUDENT[len(numbers) - 2] * stdev(numbers) / math.sqrt(len(numbers))
    return mean, mean - half, mean + half
