"""Intervals, tests and scores of results: means, proportions, seeds, ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from xai_course.core.checks import check_count, check_number
from xai_course.core.randomness import new_generator
from xai_course.core.translation import translate

__all__ = [
    "auroc_placements",
    "clopper_pearson_lower",
    "detected_at_fpr",
    "interval_text",
    "mean_interval",
    "seed_interval",
    "sign_test",
    "skill_score",
    "strongest_null",
    "wilson_interval",
]

# SciPy's distributions take half a second to load, so each function loads them when it is called.

# ---- scores of methods ------------------------------------------------------------------------


def strongest_null(scores: Mapping[str, Tensor]) -> tuple[str, Tensor]:
    """Return the null map with the highest mean score: its name and its scores.

    Where lower scores are better, pass all of them with their sign reversed.

    Args:
        scores: of each null map (N,), by name, on the same scenes; finite.

    Returns:
        The name, and its scores (N,). Of equal means the first.

    Raises:
        ValueError: if there is no null, lengths differ, or a score is not finite.

    Example:
        >>> import torch
        >>> from xai_course.core import strongest_null
        >>> scores = {"noise": torch.tensor([0.1, 0.0]), "edges": torch.tensor([0.6, 0.4])}
        >>> name, null = strongest_null(scores)
        >>> name, round(null.mean().item(), 2)
        ('edges', 0.5)
    """
    if not scores:
        raise ValueError("nulls: got none; must be at least one, by name.")
    length = next(iter(scores.values())).shape
    for name, null in scores.items():
        if null.ndim != 1 or null.shape != length or not len(null):
            raise ValueError(
                f"nulls: got shape {tuple(null.shape)} of {name}; must be (N,), as all others."
            )
        if not null.isfinite().all():
            raise ValueError(f"nulls: got scores of {name} that are not finite; must be numbers.")
    best = max(scores, key=lambda name: scores[name].double().mean().item())
    return best, scores[best]


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
    name, null = strongest_null(nulls)
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
    values: Any,
    *,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> tuple[float, float, float]:
    """Return the mean of values and its bootstrap interval, or Gaffke's if the values are bounded.

    The bootstrap interval holds the middle `level` of the means of `samples` draws of N values with
    replacement. It has no width where all values are equal, and is too narrow where nearly all lie
    at one end of what is possible. For values between known bounds, Gaffke's interval is right
    there, too:

        low  = quantile of  Σ w[n] · values[n] + w[N + 1] · bounds[0]
        high = quantile of  Σ w[n] · values[n] + w[N + 1] · bounds[1]

    The weights w are at least 0, add up to 1, and are drawn evenly from all such weights. For hits
    and misses it is the interval of Clopper and Pearson: N hits out of N give, at 95 %, a lower end
    of 0.025^(1/N). It allows for rare values that were not seen, so that for few values it is wide:
    use it for hits, and where scores lie at an end of what is possible. To compare two methods on
    the same scenes, pass the differences.

    Args:
        values: (N,), one for each scene.
        level: between 0 and 1.
        samples: draws.
        seed: of the draws.
        bounds: the lowest and the highest value that is possible: (0, 1) for shares, (-1, 1) for
            correlations and for differences of shares. None for the bootstrap.

    Returns:
        The mean, and the lower and the upper end of the interval.

    Raises:
        ValueError: if there is no value, a value is not finite or beyond the bounds, or an option
            is out of its limits.

    References:
        Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics 7, 1979.
        Gaffke: Three Test Statistics for a Nonparametric One-Sided Hypothesis on the Mean of a
        Nonnegative Variable. Mathematical Methods of Statistics 14, 2005.
        Learned-Miller, Thomas: A New Confidence Interval for the Mean of a Bounded Random Variable.
        2019, arXiv:1905.06208. They conjecture that it holds the mean as often as it says, for any
        N and any distribution; a proof is missing.

    Example:
        >>> from xai_course.core import mean_interval
        >>> mean, low, high = mean_interval([0.0, 1.0, 1.0, 1.0])
        >>> mean, low <= mean <= high
        (0.75, True)
        >>> mean_interval([1.0, 1.0, 1.0])
        (1.0, 1.0, 1.0)
        >>> [round(end, 1) for end in mean_interval([1.0, 1.0, 1.0], bounds=(0, 1))]
        [1.0, 0.3, 1.0]
    """
    numbers = torch.as_tensor(values, dtype=torch.double).flatten()
    if not len(numbers) or not numbers.isfinite().all():
        raise ValueError(f"values: got {values}; must be finite numbers, at least one.")
    check_number("level", level, above=0, below=1)
    samples = check_count("samples", samples)
    generator = new_generator(seed)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    if bounds is None:
        drawn = torch.randint(len(numbers), (samples, len(numbers)), generator=generator)
        low, high = numbers[drawn].mean(1).quantile(ends).tolist()
        return numbers.mean().item(), low, high
    least, most = _check_bounds(bounds, numbers.tolist())
    numbers = numbers.clamp(least, most)  # they may lie beyond by a rounding error
    weights = torch.empty(samples, len(numbers) + 1, dtype=torch.double)
    weights.exponential_(generator=generator)  # divided by their sum they are drawn evenly
    weights /= weights.sum(1, keepdim=True)
    means, rest = weights[:, :-1] @ numbers, weights[:, -1]
    low = (means + rest * least).quantile(ends[0]).item()
    high = (means + rest * most).quantile(ends[1]).item()
    return numbers.mean().item(), max(low, least), min(high, most)


def _check_bounds(bounds: tuple[float, float], values: Sequence[float]) -> tuple[float, float]:
    """Return the bounds, or raise ValueError if they are none or values lie beyond them."""
    try:
        least, most = map(float, bounds)
    except (TypeError, ValueError):
        least, most = math.nan, math.nan
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        raise ValueError(f"bounds: got {bounds!r}; must be two finite numbers, the lower first.")
    rounding = 1e-6 * (most - least)
    for value in (min(values), max(values)):
        if not least - rounding <= value <= most + rounding:
            raise ValueError(
                f"values: got {value:g}; must be within the bounds {least:g} and {most:g}."
            )
    return least, most


def wilson_interval(hits: int, trials: int, *, level: float = 0.95) -> tuple[float, float, float]:
    """Return a share of hits and Wilson's interval of it.

        (p + z²/2n ± z · √( p (1 − p) / n + z²/4n² )) / (1 + z²/n)

    p is the share, n the number of trials, z the quantile of the normal distribution. The interval
    has a width also where all trials are hits, or none is.

    Args:
        hits: how often the event was seen.
        trials: how often it could have been seen.
        level: between 0 and 1.

    Returns:
        The share, and the lower and the upper end of the interval.

    Raises:
        ValueError: if it is not 0 ≤ hits ≤ trials, or the level is out of its limits.

    References:
        Wilson: Probable Inference, the Law of Succession, and Statistical Inference. Journal of the
        American Statistical Association 22, 1927.

    Example:
        >>> from xai_course.core import wilson_interval
        >>> [round(end, 3) for end in wilson_interval(100, 100)]
        [1.0, 0.963, 1.0]
    """
    from scipy import stats

    check_number("level", level, above=0, below=1)
    trials = check_count("trials", trials)
    hits = check_count("hits", hits, least=0, most=trials)
    interval = stats.binomtest(hits, trials).proportion_ci(level, method="wilson")
    return hits / trials, float(interval.low), float(interval.high)


def seed_interval(
    values: Iterable[float],
    *,
    bounds: tuple[float, float] | None = None,
    images: int | None = None,
) -> tuple[float, float, float]:
    """Return the mean of values, one for each seed, and its 95 % interval by Student's t.

        mean ± t · s / √n

    s is the standard deviation of the n values, t the quantile in three decimals. For few values
    the bootstrap is too narrow. Where all seeds give the same share of hits, Student's interval has
    no width; with `images` it is widened to Wilson's interval of the mean share, since a share of
    so many images is not known better than that.

    Args:
        values: at least two, one for each seed; better three or more.
        bounds: the lowest and the highest value that is possible; the interval is cut off there.
            None cuts nothing.
        images: how many images each value is a share of, from 0 to 1. None if they are no shares.

    Returns:
        The mean, and the lower and the upper end of the interval.

    Raises:
        ValueError: if there are fewer than two values, or a value is not within its bounds.

    References:
        Student: The Probable Error of a Mean. Biometrika 6, 1908. Wilson: see `wilson_interval`.

    Example:
        >>> from xai_course.core import seed_interval
        >>> [round(end, 2) for end in seed_interval([0.9, 1.0, 1.1])]
        [1.0, 0.75, 1.25]
        >>> [round(end, 3) for end in seed_interval([0.996] * 3, images=1000)]
        [0.996, 0.99, 0.998]
    """
    from scipy import stats

    numbers = [float(value) for value in values]
    n = len(numbers)
    if n < 2:
        raise ValueError(f"values: got {n}; must be at least two, one for each seed.")
    mean = fmean(numbers)
    t = round(float(stats.t.ppf(0.975, n - 1)), 3)  # as in a printed table of Student's t
    half = t * stdev(numbers) / math.sqrt(n)
    low, high = mean - half, mean + half
    if images is not None:
        bounds = (0, 1) if bounds is None else bounds
        images = check_count("images", images)
        _check_bounds((0, 1), numbers)
        _, least_share, most_share = wilson_interval(min(round(mean * images), images), images)
        low, high = min(low, least_share), max(high, most_share)
    if bounds is not None:
        least, most = _check_bounds(bounds, numbers)
        low, high = max(low, least), min(high, most)
    return mean, low, high


def interval_text(
    interval: Sequence[float],
    digits: int = 2,
    *,
    percent: bool = False,
    signed: bool = False,
    plus_minus: bool = False,
) -> str:
    """Write a mean and its interval as text, such as "0.75 (0.50 to 1.00)".

    An interval is never printed as a single number: digits are added until its ends differ, and
    one without a width is called so.

    Args:
        interval: the mean, the lower and the upper end, as `mean_interval` returns them.
        digits: after the point.
        percent: True for percentages.
        signed: True to write a plus before positive numbers, for differences.
        plus_minus: True for the mean and half of the width, "0.75 ± 0.25", for tables.

    Returns:
        The text, in the reader's language.

    Raises:
        ValueError: if the interval is not three finite numbers.

    Example:
        >>> from xai_course.core import interval_text
        >>> interval_text((0.75, 0.5, 1.0)), interval_text((0.75, 0.5, 1.0), plus_minus=True)
        ('0.75 (0.50 to 1.00)', '0.75 ± 0.25')
        >>> interval_text((0.9962, 0.9958, 0.9964)), interval_text((0.996, 0.996, 0.996), 3)
        ('0.9962 (0.9958 to 0.9964)', '0.996 (all values equal)')
    """
    numbers = [float(number) for number in interval]
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"interval: got {interval!r}; must be a mean and two ends, finite.")
    digits = check_count("digits", digits, least=0)
    kind, plus = "%" if percent else "f", "+" if signed else ""

    def written(number: float, places: int, plus: str = plus) -> str:
        text = f"{number:{plus}.{places}{kind}}"
        # A number that rounds to 0 has no sign.
        return text if any(digit in text for digit in "123456789") else text.lstrip("+-")

    mean, low, high = numbers
    if high - low <= 1e-12 * max(abs(mean), 1e-300):
        return translate("{mean} (all values equal)", mean=written(mean, digits))
    if plus_minus:
        half, places = (high - low) / 2, digits
        while float(f"{half:.{places + 2 * percent}f}") == 0:
            places += 1
        return f"{written(mean, digits)} ± {written(half, places, '')}"
    while written(low, digits) == written(high, digits):
        digits += 1
    return translate(
        "{mean} ({low} to {high})",
        mean=written(mean, digits),
        low=written(low, digits),
        high=written(high, digits),
    )


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
