"""Intervals, tests and scores of results: means, proportions, seeds, ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from xai_course.core.checks import check_count, check_number
from xai_course.core.randomness import new_generator

__all__ = [
    "auroc_placements",
    "clopper_pearson_lower",
    "detected_at_fpr",
    "mean_interval",
    "seed_interval",
    "sign_test",
    "skill_score",
]

# SciPy's distributions take half a second to load, so each function loads them when it is called.

# ---- scores of methods ------------------------------------------------------------------------


def skill_score(scores: Tensor, nulls: Mapping[str, Tensor], best: Tensor | float = 1.0) -> Tensor:
    """Rescale scores so that the best null map has 0 and the ground truth has 1.

        skill[n] = (score[n] - null[n]) / (mean of best - mean of null)

    Where lower scores are better, pass all of them with their sign reversed. The mean is the skill,
    and `mean_interval` returns its interval.

    Args:
        scores: (N,), one for each scene.
        nulls: scores (N,) of maps that do not depend on the model, by name. The one with the
            highest mean counts.
        best: scores of the ground truth itself, or their mean.

    Returns:
        Skill (N,), in double precision.

    Raises:
        ValueError: if there is no null, if lengths differ, or if the best is no better than it.

    References:
        Murphy: Skill Scores Based on the Mean Square Error and Their Relationships to the
        Correlation Coefficient. Monthly Weather Review 116, 1988.

    Example:
        >>> import torch
        >>> from xai_course.core import skill_score
        >>> null = torch.tensor([0.5, 0.5])
        >>> skill_score(torch.tensor([0.5, 1.0]), {"edges": null}).tolist()
        [0.0, 1.0]
    """
    if not nulls:
        raise ValueError("nulls: got none; must be at least one, by name.")
    for name, null in nulls.items():
        if scores.ndim != 1 or null.shape != scores.shape:
            raise ValueError(
                f"nulls: got shape {tuple(null.shape)} of {name}; must be (N,), as the scores, "
                f"which have {tuple(scores.shape)}."
            )
    name, null = max(nulls.items(), key=lambda item: item[1].mean().item())
    span = float(torch.as_tensor(best).double().mean() - null.double().mean())
    if not span > 0:
        raise ValueError(f"best: got a mean no better than that of {name}; must be better.")
    return (scores - null).double() / span


def detected_at_fpr(scores: Tensor, clean: Tensor, *, false_alarms: float = 0.05) -> Tensor:
    """Return 1 where a score is above the threshold that clean scores set, else 0.

    The mean is the detection rate.

    Args:
        scores: (N,), of the model that is examined.
        clean: (M,), of a model without the fault. At most the share `false_alarms` of them is above
            the threshold.
        false_alarms: from 0 to below 1.

    Returns:
        1 or 0 for each score (N,), in double precision.

    Raises:
        ValueError: if scores are empty or not finite, or the share is out of its limits.

    Example:
        >>> import torch
        >>> from xai_course.core import detected_at_fpr
        >>> detected_at_fpr(torch.tensor([0.5, 0.99]), torch.arange(100) / 100)
        tensor([0., 1.], dtype=torch.float64)
    """
    for name, values in (("scores", scores), ("clean", clean)):
        if not values.numel() or not values.isfinite().all():
            raise ValueError(f"{name}: got {values}; must be finite numbers, at least one.")
    check_number("false_alarms", false_alarms, least=0, below=1)
    ordered = clean.double().flatten().sort().values
    threshold = ordered[len(ordered) - 1 - int(false_alarms * len(ordered))]
    return (scores > threshold).double()


def auroc_placements(strange: Tensor, known: Tensor) -> Tensor:
    """Return, for each strange image, the share of known images that have a smaller score.

    The mean is the area under the ROC curve (AUROC): the probability that a strange image has a
    larger score than a known one. It is 1 if the scores separate the two, and 0.5 for random
    scores. `mean_interval` returns it with its interval over the strange images.

    Args:
        strange: scores (N,) of images that should have large ones.
        known: scores (M,) of images that should have small ones.

    Returns:
        Shares (N,), from 0 to 1, in double precision. A tie counts half.

    Raises:
        ValueError: if scores are empty, not one-dimensional, or not finite.

    References:
        Hanley, McNeil: The Meaning and Use of the Area under a Receiver Operating Characteristic
        (ROC) Curve. Radiology 143, 1982.

    Example:
        >>> import torch
        >>> from xai_course.core import auroc_placements
        >>> auroc_placements(torch.tensor([3.0, 0.5]), torch.tensor([0.0, 1.0])).tolist()
        [1.0, 0.5]
    """
    for name, scores in (("strange", strange), ("known", known)):
        if scores.ndim != 1 or not len(scores) or not scores.isfinite().all():
            raise ValueError(
                f"{name}: got {tuple(scores.shape)}; must be finite numbers (N,), at least one."
            )
    ordered = known.double().sort().values
    smaller = torch.searchsorted(ordered, strange.double())
    not_larger = torch.searchsorted(ordered, strange.double(), right=True)
    return (smaller + not_larger).double() / (2 * len(ordered))


# ---- intervals and tests ----------------------------------------------------------------------


def mean_interval(
    values: Any, *, level: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of values and its bootstrap interval.

    The interval holds the middle `level` of the means of `samples` draws of N values with
    replacement. To compare two methods on the same scenes, pass the differences.

    Args:
        values: (N,), one for each scene.
        level: between 0 and 1.
        samples: draws.
        seed: of the draws.

    Returns:
        The mean, and the lower and the upper end of the interval.

    Raises:
        ValueError: if there is no value, a value is not finite, or an option is out of its limits.

    References:
        Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics 7, 1979.

    Example:
        >>> from xai_course.core import mean_interval
        >>> mean, low, high = mean_interval([0.0, 1.0, 1.0, 1.0])
        >>> mean, low <= mean <= high
        (0.75, True)
    """
    numbers = torch.as_tensor(values, dtype=torch.double).flatten()
    if not len(numbers) or not numbers.isfinite().all():
        raise ValueError(f"values: got {values}; must be finite numbers, at least one.")
    check_number("level", level, above=0, below=1)
    samples = check_count("samples", samples)
    generator = new_generator(seed)
    drawn = torch.randint(len(numbers), (samples, len(numbers)), generator=generator)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    low, high = numbers[drawn].mean(1).quantile(ends).tolist()
    return numbers.mean().item(), low, high


def seed_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the mean of values, one for each seed, and its 95 % interval by Student's t.

        mean ± t · s / √n

    s is the standard deviation of the n values, t the quantile in three decimals. For few values
    the bootstrap is too narrow.

    Args:
        values: at least two, one for each seed.

    Returns:
        The mean, and the lower and the upper end of the interval.

    Raises:
        ValueError: if there are fewer than two values.

    References:
        Student: The Probable Error of a Mean. Biometrika 6, 1908.

    Example:
        >>> from xai_course.core import seed_interval
        >>> [round(end, 2) for end in seed_interval([0.9, 1.0, 1.1])]
        [1.0, 0.75, 1.25]
    """
    from scipy import stats

    numbers = [float(value) for value in values]
    n = len(numbers)
    if n < 2:
        raise ValueError(f"values: got {n}; must be at least two, one for each seed.")
    mean = fmean(numbers)
    t = round(float(stats.t.ppf(0.975, n - 1)), 3)  # as in a printed table of Student's t
    half = t * stdev(numbers) / math.sqrt(n)
    return mean, mean - half, mean + half


def sign_test(hits: int, images: int) -> float:
    """Return the p-value of a one-sided sign test.

        p = Σ from k = hits to images of C(images, k) / 2^images

    It is the probability that a fair coin gives at least so many hits.

    Args:
        hits: on how many images the effect has the expected sign.
        images: how many images there are.

    Returns:
        The probability. 1 for no images.

    Raises:
        ValueError: if it is not 0 ≤ hits ≤ images.

    Example:
        >>> from xai_course.core import sign_test
        >>> sign_test(5, 5) == 1 / 2**5
        True
    """
    from scipy import stats

    images = check_count("images", images, least=0)
    hits = check_count("hits", hits, least=0, most=images)
    if images == 0:
        return 1.0
    return float(stats.binomtest(hits, images, alternative="greater").pvalue)


def clopper_pearson_lower(hits: int, trials: int, alpha: float = 0.001) -> float:
    """Return a lower confidence bound on a probability, by Clopper and Pearson.

        Σ over k from hits to trials of C(trials, k) p^k (1 - p)^(trials - k) = alpha

    With this p, so many hits or more have the probability `alpha`. The true probability is below
    the bound with a probability of at most `alpha`.

    Args:
        hits: how often the event was seen.
        trials: how often it could have been seen.
        alpha: probability of error, between 0 and 1.

    Returns:
        The p that solves the equation; 0 for no hits.

    Raises:
        ValueError: if hits are not from 0 to trials, or alpha is out of its limits.

    References:
        Clopper, Pearson: The Use of Confidence or Fiducial Limits Illustrated in the Case of the
        Binomial. Biometrika 26, 1934.

    Example:
        >>> from xai_course.core import clopper_pearson_lower
        >>> round(clopper_pearson_lower(hits=100, trials=100, alpha=0.05), 4)
        0.9705
        >>> round(0.05 ** (1 / 100), 4)
        0.9705
    """
    from scipy import stats

    check_number("alpha", alpha, above=0, below=1)
    trials = check_count("trials", trials)
    hits = check_count("hits", hits, least=0, most=trials)
    return float(stats.beta.ppf(alpha, hits, trials - hits + 1)) if hits else 0.0
