"""Checks of plain arguments: counts, numbers, choices. One form of error: what it got, what it must be.

PyTorch is not needed here, so that also the drawing of BeetleBox can use them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

__all__ = ["check_choice", "check_count", "check_number"]


def check_count(name: str, value: Any, *, least: int = 1, most: int | None = None) -> None:
    """Raise ValueError unless a value is a whole number of at least `least` and at most `most`."""
    if (
        isinstance(value, bool)
        or not isinstance(value, Integral)
        or value < least
        or (most is not None and value > most)
    ):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: got {value!r}; must be a whole number, {limits}.")


def check_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Raise ValueError unless a value is a finite number within limits.

    `least`, `most`: the smallest and the largest allowed value. `above`, `below`: limits that are
    not allowed themselves.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if (
        not is_number
        or not least <= value <= most
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    ):
        limits = [f"above {above:g}"] if above is not None else []
        limits += [f"at least {least:g}"] if least > -math.inf else []
        limits += [f"at most {most:g}"] if most < math.inf else []
        limits += [f"below {below:g}"] if below is not None else []
        words = f", {' and '.join(limits)}" if limits else ""
        raise ValueError(f"{name}: got {value!r}; must be a finite number{words}.")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ValueError unless a value is one of the choices, which the error lists."""
    choices = list(choices)
    if value not in choices:
        words = ", ".join(
            str(choice) if isinstance(choice, str) else repr(choice) for choice in choices
        )
        raise ValueError(f"{name}: got {value!r}; must be one of {words}.")
