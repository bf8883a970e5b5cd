"""Numbers in words, and the one meaning of *clear*."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

__all__ = [
    "LEVEL",
    "chance_words",
    "counted",
    "least_count",
    "listed",
    "number",
    "precise",
    "short_source",
    "without_arguments",
]


LEVEL = 0.05  # of significance; divided by the number of comparisons (Bonferroni)


def chance_words(share: float) -> str:
    """Write a small share in words.

    Args:
        share: from 0 to 1.

    Returns:
        It in percent.

    Example:
        >>> from xai_course.report import chance_words
        >>> chance_words(0.0352), chance_words(1.0), chance_words(0.0001)
        ('3.5 %', '100 %', 'less than 0.1 %')
    """
    if share < 0.001:
        return "less than 0.1 %"
    percent = 100 * share
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def least_count(level: float) -> int:
    """Return how often a coin must show heads in a row to be below a level by chance."""
    return math.floor(math.log2(1 / level)) + 1


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Join names with commas and a last "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def number(value: float) -> str:
    """Write a number with two decimals."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no "−0.00"


def precise(value: float) -> str:
    """Write a number with two decimals, or one digit if two decimals would make it 0."""
    rounds_to_zero = value and not round(float(value), 2)
    return f"{value:.1g}".replace("-", "−") if rounds_to_zero else number(value)


def without_arguments(message: str) -> str:
    """Leave out of a message the sentences that name an argument, as "pass it as model="."""
    sentences = re.split(r"(?<=[.;]) ", message)
    argument = re.compile(r"(?<![\w(])[a-z_]+=|\([a-z_]+=\)")  # not those in a call, f(x=1)
    kept = [sentence for sentence in sentences if not argument.search(sentence)]
    return re.sub(r";$", ".", " ".join(kept)) or message


def short_source(source: str) -> str:
    """Return what names a network or a folder, with the last name of each path alone."""
    parts = re.sub(r"^[A-Za-z]:(?=[\\/])", "", source).split(":")  # without a drive
    return ":".join(part.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] for part in parts)
