"""The look of every figure: one palette, one style, and no trace in the reader's settings."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, wraps
from pathlib import Path
from textwrap import wrap
from typing import Any, ParamSpec, TypeVar
from unicodedata import east_asian_width

import matplotlib.style
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from xai_course.core.translation import language, message, translate

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
    "ShownFigure",
    "png",
    "styled",
]


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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

# For Chinese characters, which Matplotlib's font lacks; made by tools/assets/chinese_font.py.
FONT = "Beetle Sans SC"
NOT_FIRST = "，。、；：？！）》」』”’…%"  # punctuation that no line begins with
FONT_FILE = Path(__file__).parent / "fonts" / "BeetleSansSC-Regular.otf"


def fonts() -> dict[str, Any]:
    """Return Matplotlib's settings of fonts for the reader's language; in English there are none.

    Returns:
        Letters and numbers in Matplotlib's own font, and Chinese characters in the course's. It has
        one weight, so that a title beside bold numbers would look torn: titles are not bold.
    """
    if language() != "zh":
        return {}
    _register_font()
    return {"font.family": ["DejaVu Sans", FONT], "figure.titleweight": "normal"}


@cache
def _register_font() -> None:
    """Tell Matplotlib, once, that there is a font for Chinese characters, also bold ones.

    Without an entry for bold, Matplotlib would warn wherever it takes the only weight for it.
    """
    from matplotlib.font_manager import fontManager

    fontManager.addfont(FONT_FILE)
    fontManager.ttflist.append(replace(fontManager.ttflist[-1], weight=700))


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function draw in the course's style, whatever the reader's own settings are.

    Args:
        draw: a function that makes or saves a figure.

    Returns:
        The same function in that style. The reader's settings are not changed.
    """

    @wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with matplotlib.style.context({**STYLE, **fonts()}, after_reset=True):
            return draw(*args, **kwargs)

    return in_style


# True: notebooks show their pictures at the same size, with twice the resolution. The builder of
# the slides sets it; the notebooks in the repository stay small without it.
retina = False


@styled
def png(fig: Figure, dpi: int = 90) -> bytes:
    """Save a figure as a PNG of 256 colours, without date and version.

    A figure that is drawn anew gives the same bytes. A palette takes a third of the space of full
    colour. It is chosen so that no colour is far off: other palettes put a strip of pink into a bar
    from blue to orange.

    Args:
        fig: the figure.
        dpi: pixels an inch.

    Returns:
        The content of the file.
    """
    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png", dpi=dpi)
    image = Image.open(full).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE).save(small, "PNG", optimize=True)
    return small.getvalue()


class ShownFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, also before pyplot is imported.

    Only the import of pyplot tells IPython how to show Matplotlib's own figures.
    """

    def _repr_png_(self) -> bytes | tuple[bytes, dict[str, float]]:
        """The picture, for IPython; at twice the resolution with the width at which it is shown."""
        if not retina:
            return png(self)
        return png(self, dpi=180), {"width": round(90 * self.get_figwidth())}


# ---- words and numbers for charts ----------------------------------------------------------------


# Names that lessons give to figures: of null maps, measures, ways to read a map and ways to scale;
# and of the repairs and the recipes whose results are on file.
NAMES = (
    *(message("null"), message("bright edges"), message("away from the centre"), message("noise")),
    *(message("smooth noise"), message("constant"), message("untrained network")),
    *(message("another class"), message("another image"), message("the key itself")),
    *(message("signed"), message("positive"), message("size"), message("rank")),
    *(message("top part"), message("deletion"), message("insertion"), message("last block")),
    *(message("width"), message("depth"), message("no skips"), message("data"), message("epochs")),
    *(message("skill"), message("lead"), message("training accuracy"), message("contrast")),
    *(message("trained anew"), message("label taken off"), message("label on half")),
    *(message("label painted over"), message("corner painted over"), message("gradient penalty")),
    *(message("2 counterexamples"), message("8 counterexamples"), message("32 counterexamples")),
    *(message("the article"), message("pooling"), message("normalisation")),
    *(message("residual blocks"), message("optimiser"), message("schedule")),
    *(message("batch size"), message("augmentation"), message("label smoothing")),
    *(message("more pixels"), message("unaware"), message("through"), message("past")),
    *(message("adaptive"), message("nothing"), message("bit depth"), message("random resizing")),
    *(message("pointing"), message("mass"), message("infidelity"), message("squares")),
    *(message("sensitivity"), message("sums"), message("randomisation"), message("sign")),
    *(message("magnitude"), message("margin"), message("Shapley"), message("silhouette")),
    *(message("readout"), message("change"), message("removal"), message("exchange")),
    *(message("key"), message("wing cases"), message("alone"), message("with pattern")),
    *(message("regions"), message("parts"), message("parts and clutter"), message("score")),
    *(message("family"), message("parts absent"), message("clutter")),
)


UNCLEAR = {"plain", ", ", ": "}  # *plain* is a beetle's back, or a network without skips


def in_words(name: str) -> str:
    """Return a name in the reader's language, such as *legs*, *null: edges* or *rank, signed*."""
    pieces = re.split(r"(, |: |，|：|^\+ )", name)
    return "".join(piece if piece in UNCLEAR else translate(piece) for piece in pieces)


def broken(text: str, width: int) -> str:
    """Break a text into lines of a width in letters; a Chinese character counts as two.

    Chinese has no spaces to break at, so a line ends after any character, but none begins with a
    punctuation mark, and no Latin word or number is broken.
    """
    if not any(_is_wide(letter) for letter in text):
        return "\n".join(wrap(text, width))
    lines, room = [""], width
    for piece in re.findall(r"[（《「『“]*(?:[\x21-\x7e]+|.)", text):
        needs = sum(2 if _is_wide(letter) else 1 for letter in piece)
        if needs > room and piece not in NOT_FIRST:
            lines[-1] = lines[-1].rstrip()
            piece = piece.lstrip()
            lines.append("")
            room = width
        lines[-1] += piece
        room -= needs
    return "\n".join(lines)


def _is_wide(letter: str) -> bool:
    """Say whether a character takes the room of two letters."""
    return east_asian_width(letter) in "WF"


def finite_numbers(name: str, numbers: Any, length: int | None = None) -> NDArray[np.float64]:
    """Return numbers as an array (N,); raise ValueError for NaN, infinity, none, other lengths."""
    array = np.asarray(numbers, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got NaN or infinite values; must be finite numbers.")
    if array.size == 0 or (length is not None and array.shape != (length,)):
        raise ValueError(f"{name}: got shape {array.shape}; must be ({length or 'N ≥ 1'},).")
    return array


def with_ends(name: str, numbers: Iterable[Any]) -> NDArray[np.float64]:
    """Return rows (value, low, high), (N, 3), of such triples or of numbers, which are all three.

    Raises ValueError for none, NaN, other lengths, and a low end above the high one.
    """
    given = list(numbers)
    try:
        rows = np.array([np.broadcast_to(np.asarray(one, dtype=float), 3) for one in given])
    except ValueError:
        raise ValueError(
            f"{name}: got {given}; must be numbers, or triples (value, low, high)."
        ) from None
    finite_numbers(name, rows.ravel())
    if (rows[:, 1] > rows[:, 2]).any():
        raise ValueError(f"{name}: got {given}; must be (value, low, high) with low ≤ high.")
    return rows


def with_sign(value: float) -> str:
    """Return a number with its sign, a real minus, and two decimals; 0 without a sign."""
    return f"{value:+.2f}".replace("-", "−") if value else "0"
