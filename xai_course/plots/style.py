"""The look of every figure: one palette, one style, and no trace in the reader's settings."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "AGAINST",
    "BLACK",
    "BLUE",
    "COUNTS",
    "DIVERGING",
    "FOR",
    "GREEN",
    "GREY",
    "ORANGE",
    "PALE",
    "PURPLE",
    "SERIES",
    "SKY",
    "STYLE",
    "VERMILION",
    "P",
    "R",
    "finite",
    "png",
    "styled",
    "triples",
    "with_sign",
]


P = ParamSpec("P")
R = TypeVar("R")


# Okabe and Ito's colours, which colour-blind readers can tell apart.
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
BLACK, GREY, PALE = "#222222", "#6B6B6B", "#E6E6E6"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
AGAINST, FOR = BLUE, VERMILION  # negative and positive relevance
COUNTS = LinearSegmentedColormap.from_list("counts", ["#FFFFFF", "#9CC9E5", "#0072B2", "#00395C"])


DIVERGING = LinearSegmentedColormap.from_list("diverging", [AGAINST, "#FFFFFF", FOR])


STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "text.color": BLACK,
    "axes.labelcolor": BLACK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw in the course's style, whatever the reader's own settings are, and leave those alone."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return inside


@styled
def png(fig: Figure) -> bytes:
    """Return the figure as a PNG of 256 colours without date and version: same figure, same bytes.

    A dithered palette takes a quarter of the space of full colour, and the eye hardly sees it.
    """
    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png", dpi=90)
    picture = Image.open(full).convert("RGB")
    picture.quantize(256, Image.Quantize.FASTOCTREE).save(small, "PNG", optimize=True)
    return small.getvalue()


def finite(name: str, numbers: Any, length: int | None = None) -> NDArray[np.float64]:
    """Return numbers as an array (N,), or refuse NaN, infinity, none, and another length."""
    array = np.asarray(numbers, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got NaN or infinite values; allowed are finite numbers.")
    if array.size == 0 or (length is not None and array.shape != (length,)):
        raise ValueError(f"{name}: got shape {array.shape}; allowed is ({length or 'N ≥ 1'},).")
    return array


def triples(name: str, numbers: Iterable[Any]) -> NDArray[np.float64]:
    """Return rows (value, low, high) (N, 3) of numbers or such triples; a number is its own ends.

    Raises ValueError for none, NaN, other lengths, and a low end above the high one.
    """
    given = list(numbers)
    try:
        rows = np.array([np.broadcast_to(np.asarray(one, dtype=float), 3) for one in given])
    except ValueError:
        raise ValueError(
            f"{name}: got {given}; allowed are numbers, and triples (value, low, high)."
        ) from None
    finite(name, rows.ravel())
    if (rows[:, 1] > rows[:, 2]).any():
        raise ValueError(f"{name}: got {given}; allowed is (value, low, high) with low ≤ high.")
    return rows


def with_sign(value: float) -> str:
    """Return a number with its sign, a real minus, and two decimals; 0 without a sign."""
    return f"{value:+.2f}".replace("-", "−") if value else "0"
