"""Checks of plain arguments: whole numbers, numbers, choices.

Every error has the form "name: got this; must be that." PyTorch is not needed here, so that the
drawing of BeetleBox can use the checks, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

__all__ = ["check_choice", "check_count", "check_number"]


def check_count(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """Check that a value is a whole number within limits, and return it as a Python number.

    Args:
        name: the argument's name, for the error.
        value: what was given. True and False are no numbers.
        least: the smallest number that may be given.
        most: the largest one; None for no limit.

    Returns:
        The value. A whole number of NumPy becomes one of Python, which PyTorch takes everywhere.

    Raises:
        ValueError: if it is not.

    Example:
        >>> from xai_course.core import check_count
        >>> check_count("steps", 8)
        8
        >>> check_count("steps", 2.5)
        Traceback (most recent call last):
        ValueError: steps: got 2.5; must be a whole number, at least 1.
    """
    is_count = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_count or value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: got {value!r}; must be a whole number, {limits}.")
    return int(value)


def check_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Check that a value is a finite number within limits.

    Args:
        name: the argument's name, for the error.
        value: what was given. True and False are no numbers.
        least: the smallest number that may be given.
        most: the largest number that may be given.
        above: the number must be larger.
        below: the number must be smaller.

    Raises:
        ValueError: if it is not.

    Example:
        >>> from xai_course.core import check_number
        >>> check_number("epsilon", 8 / 255, least=0)
        >>> check_number("epsilon", -1, least=0)
        Traceback (most recent call last):
        ValueError: epsilon: got -1; must be a finite number, at least 0.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and least <= value <= most and above < value < below:
        return
    limits = [
        f"{words} {limit:g}"
        for words, limit in (
            ("above", above), ("at least", least), ("at most", most), ("below", below)
        )
        if math.isfinite(limit)
    ]  # fmt: skip
    within = f", {' and '.join(limits)}" if limits else ""
    raise ValueError(f"{name}: got {value!r}; must be a finite number{within}.")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Check that a value is one of some choices.

    Args:
        name: the argument's name, for the error.
        value: what was given.
        choices: what may be given. The error lists them.

    Raises:
        ValueError: if it is none of them.

    Example:
        >>> from xai_course.core import check_choice
        >>> check_choice("rule", "gamma", ["epsilon", "gamma"])
        >>> check_choice("rule", "beta", ["epsilon", "gamma"])
        Traceback (most recent call last):
        ValueError: rule: got 'beta'; must be one of epsilon, gamma.
    """
    choices = list(choices)
    try:
        is_known = value in choices
    except ValueError:  # an array, which has no single answer
        is_known = False
    if not is_known:
        words = ", ".join(choice if isinstance(choice, str) else repr(choice) for choice in choices)
        raise ValueError(f"{name}: got {value!r}; must be one of {words}.")
