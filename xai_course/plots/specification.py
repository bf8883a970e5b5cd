"""Specification curves: one result under all choices that an analyst could have made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from xai_course.core.translation import message, translate
from xai_course.plots.style import (
    AGAINST,
    BLACK,
    COUNTS,
    FOR,
    GREY,
    ShownFigure,
    in_words,
    styled,
    with_ends,
)

__all__ = ["choice_table", "specification_curve"]

Array = NDArray[np.float64]

MOST = 240  # columns that can be told apart; more readings share a column


@styled
def specification_curve(
    differences: Sequence[Any],
    choices: Mapping[str, Sequence[str]],
    *,
    marked: Sequence[bool] | None = None,
    title: str | None = None,
    label: str = message("lead over the hardest null"),
    marked_label: str = message("declared readout"),
) -> Figure:
    """Draw the results of all readings in order, and below them which choices each was made with.

    Above: each reading's difference and its interval, sorted from the lowest to the highest;
    vermilion where the interval is above 0, blue where it is below, grey where it holds 0. Below: a
    row for each value of each choice, with a mark where a reading was made with it. If there are
    more readings than columns, neighbours share one, and the mark is as dark as their share.

    Args:
        differences: of S readings, (difference, low, high) each.
        choices: by name of a choice, its value in each of the S readings.
        marked: S readings that are marked by a black dot above the curve; None for none.
        title: of the figure.
        label: of the upper axis.
        marked_label: what the black dots are.

    Returns:
        The figure.

    Raises:
        ValueError: for no readings, NaN, or choices of another number of readings.

    References:
        Simonsohn, Simmons, Nelson: Specification Curve Analysis. Nature Human Behaviour 4, 2020.
    """
    table = with_ends("differences", differences)
    for name, values in {**choices, "marked": marked or [False] * len(table)}.items():
        if len(values) != len(table):
            raise ValueError(f"{name}: got {len(values)} values; must be {len(table)}.")
    order = np.argsort(table[:, 0], kind="stable")
    rows = [(name, value) for name in choices for value in dict.fromkeys(choices[name])]
    fig = ShownFigure(figsize=(8.0, 2.6 + 0.24 * len(rows) + 0.12 * len(choices)))
    above, below = fig.subplots(
        2, 1, sharex=True, height_ratios=[2.4, 0.24 * len(rows) + 0.12 * len(choices)]
    )
    _draw_curve(above, table[order])
    if marked is not None:
        places = np.flatnonzero(np.asarray(marked)[order])
        top = table[:, 2].max() + 0.06 * np.ptp(table[:, 1:])
        above.plot(places, np.full(len(places), top), ".", color=BLACK, markersize=3)
    above.set_ylabel(translate(label))
    _draw_dashboard(below, choices, rows, order)
    fig.legend(
        handles=_legend(translate(marked_label) if marked is not None else None),
        ncols=4,
        loc="outside lower center",
        handletextpad=0.4,
        columnspacing=1.2,
    )
    if title:
        fig.suptitle(title)
    return fig


def _draw_curve(ax: Axes, table: Array) -> None:
    """Draw sorted differences with their intervals, coloured by what they say."""
    places = np.arange(len(table))
    colours = np.where(table[:, 1] > 0, FOR, np.where(table[:, 2] < 0, AGAINST, GREY))
    thin = max(0.5, min(2.0, 300 / len(table)))
    ax.vlines(places, table[:, 1], table[:, 2], color=colours, linewidth=thin, alpha=0.35)
    ax.scatter(places, table[:, 0], s=max(2.0, min(14.0, 1500 / len(table))), c=colours, zorder=3)
    ax.axhline(0, color=BLACK, linewidth=0.8)
    ax.tick_params(bottom=False)
    ax.spines["bottom"].set_visible(False)


def _draw_dashboard(
    ax: Axes,
    choices: Mapping[str, Sequence[str]],
    rows: Sequence[tuple[str, str]],
    order: NDArray[np.int64],
) -> None:
    """Draw a row for each value of each choice, dark where readings were made with it."""
    columns = min(len(order), MOST)
    edges = np.linspace(0, len(order), columns + 1).round().astype(int)
    position, positions = 0.0, []
    for number, (choice, value) in enumerate(rows):
        if number and choice != rows[number - 1][0]:
            position += 0.5  # a gap between choices
        has = (np.asarray(choices[choice], dtype=object)[order] == value).astype(float)
        shares = np.array([has[a:b].mean() for a, b in pairwise(edges)])
        ax.imshow(
            shares[None],
            cmap=COUNTS,
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="nearest",
            extent=(-0.5, len(order) - 0.5, position + 0.4, position - 0.4),
        )
        positions.append(position)
        position += 1
    ax.set(ylim=(position - 0.4, -0.6), xlim=(-0.5, len(order) - 0.5))
    labels = [
        in_words(f"{choice}: {value}" if not number or choice != rows[number - 1][0] else value)
        for number, (choice, value) in enumerate(rows)
    ]
    ax.set_yticks(positions, labels, fontsize=9)
    ax.set_xlabel(translate("{count} readings, sorted", count=len(order)))
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)


def _legend(marked_label: str | None) -> list[Line2D]:
    """Return the entries of the legend: a dot of each colour."""
    words = {translate("below"): AGAINST, translate("open"): GREY, translate("above"): FOR}
    if marked_label:
        words[marked_label] = BLACK
    return [
        Line2D([], [], linestyle="", marker="o", markersize=4, color=colour, label=word)
        for word, colour in words.items()
    ]


@styled
def choice_table(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[tuple[str, str]],
    *,
    title: str | None = None,
    label: str | None = None,
) -> Figure:
    """Draw shares as a table of colours, its columns grouped by choice; numbers in per cent.

    Args:
        values: shares (R, C) from 0 to 1; NaN leaves a cell empty.
        rows: R names, such as methods.
        columns: C pairs (choice, value); neighbours of the same choice form a group.
        title: of the figure.
        label: below the table.

    Returns:
        The figure.

    Raises:
        ValueError: for another shape than that of the names, or shares outside 0 to 1.
    """
    shares = np.asarray(values, dtype=float)
    if shares.shape != (len(rows), len(columns)) or shares.size == 0:
        raise ValueError(f"values: got shape {shares.shape}; must be {(len(rows), len(columns))}.")
    if not ((shares >= 0) & (shares <= 1) | np.isnan(shares)).all():
        raise ValueError("values: got a share outside its limits; must be from 0 to 1, or NaN.")
    groups = [choice for choice, _ in columns]
    starts = [c for c in range(len(columns)) if not c or groups[c] != groups[c - 1]]
    places = np.array(
        [c + 0.3 * (sum(start <= c for start in starts) - 1) for c in range(len(columns))]
    )
    fig = ShownFigure(figsize=(2.0 + 0.42 * (places[-1] + 1), 2.1 + 0.27 * len(rows)))
    ax = fig.add_subplot()
    for (row, column), share in np.ndenumerate(shares):
        if np.isnan(share):
            continue
        x = float(places[column])
        ax.add_patch(
            Rectangle((x - 0.5, row - 0.5), 1, 1, facecolor=COUNTS(share), edgecolor="white")
        )
        ink = "white" if share > 0.55 else BLACK
        ax.text(x, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9, color=ink)
    ax.set(xlim=(-0.6, places[-1] + 0.6), ylim=(len(rows) - 0.4, -0.6))
    ax.set_xticks(
        places,
        [in_words(value) for _, value in columns],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        fontsize=9,
    )
    ax.set_yticks(range(len(rows)), [in_words(row) for row in rows], fontsize=9)
    for start, end in zip(starts, [*starts[1:], len(columns)], strict=True):
        middle = float(places[start] + places[end - 1]) / 2
        words = in_words(groups[start])
        ax.text(middle, -0.75, words, ha="center", va="bottom", fontsize=9, weight="bold")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if label:
        fig.supxlabel(label, fontsize=10)
    if title:
        fig.suptitle(title)
    return fig
