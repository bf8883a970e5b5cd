"""Diagrams of networks: boxes, arrows, and what goes past them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from xai_course.core.translation import translate
from xai_course.plots.style import BLACK, BLUE, GREY, ShownFigure, broken, styled

__all__ = ["residual_chain"]

# Along the chain, boxes stand 1 apart.
# Half a box; from its middle back to the split, and on to the plus.
HALF, SPLIT, PLUS = 0.33, 0.42, 0.43
ABOVE = 0.72  # how high a skip connection runs


@styled
def residual_chain(
    boxes: Sequence[tuple[str, Sequence[int]]],
    *,
    skips: Iterable[str] = (),
    title: str | None = None,
) -> Figure:
    """Draw the steps of a network as a chain of boxes, with skip connections past some of them.

    A skip connection leaves the chain before a box, runs past it, and joins it again at a plus.

    Args:
        boxes: (name, shape of what comes out) each, from the input to the output.
        skips: names of the boxes that a skip connection runs past.
        title: of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: for no boxes, and for a skip connection past the first box or none of them.

    Example:
        >>> from xai_course.plots import residual_chain
        >>> chain = [("image", (3, 8, 8)), ("branch", (3, 8, 8)), ("head", (10,))]
        >>> fig = residual_chain(chain, skips=["branch"])
        >>> [text.get_text() for text in fig.axes[0].texts][-2:]
        ['head', '10']
    """
    names, past = [name for name, _ in boxes], set(skips)
    if not names:
        raise ValueError("boxes: got none; must be at least one (name, shape).")
    if not past <= set(names[1:]):
        raise ValueError(f"skips: got {sorted(past)}; must be names of boxes among {names[1:]}.")
    fig = ShownFigure(figsize=(max(4.0, 1.45 * len(names)), 2.4))
    ax = fig.add_subplot()
    ax.set(xlim=(-HALF - 0.05, len(names) - 0.5), ylim=(-0.5, 1.0))
    ax.axis("off")
    for place, (name, shape) in enumerate(boxes):
        if place:
            _draw_arrow(ax, place - 1 + (PLUS if names[place - 1] in past else HALF), place)
        if name in past:
            _draw_skip(ax, place)
        _draw_box(ax, place, name, shape, BLUE if name in past else GREY)
    if title:
        fig.suptitle(title)
    return fig


def _draw_box(ax: Axes, place: int, name: str, shape: Sequence[int], colour: str) -> None:
    """Draw a box with its name and below it the shape of what comes out."""
    look: dict[str, Any] = {"facecolor": "white", "edgecolor": colour, "linewidth": 1.5}
    corner, style = (place - HALF, -0.4), "round,pad=0,rounding_size=0.05"
    ax.add_patch(FancyBboxPatch(corner, 2 * HALF, 0.8, boxstyle=style, zorder=2, **look))
    words: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3}
    ax.text(place, 0.12, broken(name, 11), fontsize=10, fontweight="bold", **words)
    ax.text(place, -0.25, " × ".join(str(size) for size in shape), fontsize=8.5, **words)


def _draw_arrow(ax: Axes, start: float, place: int) -> None:
    """Draw the arrow along the chain to the box at a place."""
    arrow = {"arrowstyle": "-|>", "color": BLACK, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (place - HALF, 0), (start, 0), arrowprops=arrow, zorder=1)


def _draw_skip(ax: Axes, place: int) -> None:
    """Draw the skip connection past the box at a place, and the plus behind the box."""
    left, right = place - SPLIT, place + PLUS
    ax.plot([place + HALF, right], [0, 0], color=BLACK, linewidth=1.2)
    ax.plot([left, left, right], [0, ABOVE, ABOVE], color=BLUE, linewidth=1.8)
    arrow = {"arrowstyle": "-|>", "color": BLUE, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 5}
    ax.annotate("", (right, 0), (right, ABOVE), arrowprops=arrow)
    ax.text(
        place, ABOVE + 0.05, translate("skip"), ha="center", va="bottom", color=BLUE, fontsize=10
    )
    ring: dict[str, Any] = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": BLACK}
    ax.text(right, 0, "+", ha="center", va="center", fontsize=10, bbox=ring, zorder=3)
