"""Numbers in words, and the one meaning of *clear*."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from xai_course.core.translation import message, translate

__all__ = [
    "LEVEL",
    "chance_words",
    "comma_listed",
    "counted",
    "in_a_row",
    "least_count",
    "listed",
    "number",
    "percent",
    "precise",
    "semicolon_listed",
    "short_source",
    "without_arguments",
]


NOUNS = {  # in the singular and in the plural
    "comparison": (message("{count} comparison"), message("{count} comparisons")),
    "image": (message("{count} image"), message("{count} images")),
    "other": (message("{count} other"), message("{count} others")),
    "pair": (message("{count} pair"), message("{count} pairs")),
    "picture": (message("{count} picture"), message("{count} pictures")),
}
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
        return translate("less than {share}", share=percent(0.001, 1))
    return percent(share, 1 if 100 * share < 9.95 else 0)


def percent(share: float, digits: int = 0) -> str:
    """Write a share in percent.

    Args:
        share: from 0 to 1.
        digits: after the point.

    Returns:
        The words.

    Example:
        >>> from xai_course.report.words import percent
        >>> percent(0.125), percent(0.125, 1)
        ('12 %', '12.5 %')
    """
    return translate("{number} %", number=f"{share:.{digits}%}".rstrip("%"))


def least_count(level: float) -> int:
    """Return how often a coin must show heads in a row to be below a level by chance."""
    return math.floor(math.log2(1 / level)) + 1


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, one of `NOUNS`, in the plural where it is not one."""
    one, several = NOUNS[noun]
    return translate(one if count == 1 else several, count=count)


def listed(names: Sequence[str]) -> str:
    """Join names with commas and a last "and"."""
    if len(names) < 2:
        return "".join(names)
    return translate("{names} and {last}", names=comma_listed(names[:-1]), last=names[-1])


def comma_listed(names: Sequence[str]) -> str:
    """Join names with commas."""
    return translate(", ").join(names)


def in_a_row(first: str, second: str) -> str:
    """Put two sentences after one another; in Chinese without a space between them."""
    return translate("{first} {second}", first=first, second=second)


def semicolon_listed(words: Sequence[str]) -> str:
    """Join words with semicolons."""
    return translate("; ").join(words)


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
