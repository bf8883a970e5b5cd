"""Whole plates: the field guide of all species, and which method for which question."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure

from xai_course.beetles import SPECIES, Scene
from xai_course.style import BLUE, GREY, PALE, VERMILION, styled

# One handsome specimen of each species, in the order of SPECIES.
SPECIMENS = (10, 59, 7, 24, 15, 16, 30, 32, 21, 37)
PAPER = "#fbf8f0"


def latin(species: str) -> str:
    """Write a species' folder name as it stands in print: `Ellipsa_polita` as *Ellipsa polita*."""
    return species.replace("_", " ")


def field_guide(size: int = 176) -> Figure:
    """Draw the plate of all species: a specimen, its name and its four traits."""
    figure = Figure(figsize=(10, 6.0), facecolor=PAPER)
    axes = figure.subplots(2, 5)
    for axis, (species, traits), seed in zip(axes.flat, SPECIES.items(), SPECIMENS, strict=True):
        axis.imshow(Scene(species, seed).image(size), interpolation="lanczos")
        axis.set_title(latin(species), style="italic", family="serif", fontsize=12.5, pad=5)
        horn = "no horn" if traits.horn == "none" else f"{traits.horn} horn"
        words = f"{traits.outline}, {traits.pattern}\n{horn}\n{traits.antennae} antennae"
        axis.set_xlabel(words, fontsize=10, labelpad=5, linespacing=1.25)
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(color="#6b5d45", linewidth=1.2)
    figure.subplots_adjust(0.015, 0.13, 0.985, 0.94, wspace=0.06, hspace=0.52)
    return figure


@styled
def decision_chart(
    rows: Sequence[tuple[str, str, str]], *, title: str | None = None, width: float = 10.0
) -> Figure:
    """Draw which method answers which question: one row (question, method, what was measured) each.

    A method that begins with "no" (no map answers this) is vermilion, the others blue. Long texts
    are broken into lines. Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("rows: got none; allowed is at least one (question, method, measured).")
    broken = [
        (fill(question, 31), fill(method, 27), fill(found, 47)) for question, method, found in rows
    ]
    lines = [max(text.count("\n") + 1 for text in row) for row in broken]
    fig = Figure(figsize=(width, 0.6 + sum(0.2 * n + 0.3 for n in lines)))
    ax = fig.add_subplot()
    ax.set(xlim=(0, 100), ylim=(sum(n + 1.5 for n in lines), 0))
    ax.axis("off")
    y = 0.0
    for (question, method, found), n in zip(broken, lines, strict=True):
        middle = y + (n + 1.5) / 2
        box: dict[str, Any] = {"boxstyle": "round,pad=0.45", "facecolor": "white", "linewidth": 1.3}
        ax.text(1, middle, question, va="center", fontsize=10.5, bbox={**box, "edgecolor": GREY})
        ax.annotate(
            "",
            (34, middle),
            (29, middle),
            arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.5},
        )
        edge = VERMILION if method.startswith("no ") else BLUE
        weight: dict[str, Any] = {"fontsize": 10.5, "fontweight": "bold", "color": edge}
        ax.text(35.5, middle, method, va="center", bbox={**box, "edgecolor": edge}, **weight)
        ax.text(62, middle, found, va="center", fontsize=9.5)
        y += n + 1.5
        ax.axhline(y, color=PALE, linewidth=0.8)
    if title:
        fig.suptitle(title)
    return fig
