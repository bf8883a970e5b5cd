"""Graphs of numbers: lines over an axis, tables as colours, and signed bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xai_course.style import (
    AGAINST,
    BLACK,
    COUNTS,
    DIVERGING,
    FOR,
    GREY,
    PALE,
    SERIES,
    finite,
    styled,
    triples,
    with_sign,
)

__all__ = ["bars", "lines", "matrix"]

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
DOTS = ("o", "s", "^", "D", "v", "P")


@styled
def lines(
    series: Mapping[str, Any],
    x: Any,
    *,
    title: str | None = None,
    x_label: str | None = None,
    y_label: str | None = None,
    marks: Mapping[str, float] | None = None,
    log_x: bool = False,
) -> Figure:
    """Return one line a series over common places x (P,), told apart by colour, dash and dot.

    `series`: name to P values, or to P triples (value, low, high), whose intervals become a band.
    `marks`: name to a height at which a thin grey line crosses the picture, such as chance.
    `log_x`: a logarithmic axis, which needs x above 0.
    Raises ValueError for no series, more than six, other lengths, and NaN.
    """
    places = finite("x", x)
    if not 1 <= len(series) <= len(SERIES):
        raise ValueError(f"series: got {len(series)}; allowed are 1 to {len(SERIES)}.")
    if log_x and (places <= 0).any():
        raise ValueError("x: got a number of 0 or less; allowed with log_x are numbers above 0.")
    fig = Figure(figsize=(8.0, 4.2))
    ax = fig.add_subplot()
    styles = zip(series.items(), SERIES, DASHES, DOTS, strict=False)
    for (name, values), colour, dash, dot in styles:
        heights, low, high = triples(name, values).T
        finite(name, heights, len(places))
        ax.plot(places, heights, linestyle=dash, marker=dot, color=colour, label=name, markersize=5)
        if (low < high).any():
            ax.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    for name, height in (marks or {}).items():
        ax.axhline(height, color=GREY, linewidth=1, linestyle=":")
        ax.text(
            1.01,
            height,
            name,
            color=GREY,
            fontsize=10,
            va="center",
            transform=ax.get_yaxis_transform(),
        )
    if log_x:
        ax.set_xscale("log")
        ax.set_xticks(places, [f"{place:g}" for place in places])
        ax.minorticks_off()
    elif (places == places.round()).all():
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.grid(axis="y")
    fig.legend(loc="outside lower center", ncols=min(len(series), 4))
    if title:
        fig.suptitle(title)
    return fig


@styled
def matrix(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str | None = None,
    signed: bool = True,
    fmt: str = "{:.2f}",
    label: str = "",
    tint: Any = None,
) -> Figure:
    """Return a table (R, C) as colours with each number written in its cell.

    `signed`: blue below 0, white at 0, vermilion above, the same strength on both sides; otherwise
    white at 0 to dark blue at the largest number, which needs numbers of at least 0. NaN: empty.
    `tint` (R, C): numbers that colour the cells in place of the values, as where columns differ in
    unit; then `label`, below, says what the colours mean, and there is no colour bar.
    Raises ValueError for another shape than the names say, infinity, and negative unsigned numbers.
    """
    written = np.asarray(values, dtype=float)
    table = written if tint is None else np.asarray(tint, dtype=float)
    for name, numbers in (("values", written), ("tint", table)):
        if numbers.shape != (len(rows), len(columns)) or numbers.size == 0:
            raise ValueError(
                f"{name}: got shape {numbers.shape}; allowed is {(len(rows), len(columns))}."
            )
    if np.isinf([written, table]).any() or (not signed and (table < 0).any()):
        raise ValueError("values: allowed are finite numbers, and without `signed` none below 0.")
    end = float(np.nanmax(np.abs(table), initial=0.0)) or 1.0
    fig = Figure(figsize=(2.2 + 0.72 * len(columns), 1.6 + 0.42 * len(rows)))
    ax = fig.add_subplot()
    colours = DIVERGING if signed else COUNTS
    image = ax.imshow(table, cmap=colours, vmin=-end if signed else 0, vmax=end, aspect="auto")
    for row, column in np.ndindex(table.shape):
        if np.isfinite(number := written[row, column]):
            words = fmt.format(number).replace("-", "−")
            ink = "white" if abs(table[row, column]) > 0.65 * end else BLACK
            ax.text(column, row, words, ha="center", va="center", fontsize=9, color=ink)
    ax.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if tint is None:
        bar = fig.colorbar(image, ax=ax, shrink=0.8, aspect=25)
        bar.set_label(label, fontsize=10)
        bar.outline.set_visible(False)
    else:
        fig.supxlabel(label, fontsize=10)
    if title:
        fig.suptitle(title)
    return fig


@styled
def bars(
    values: Mapping[str, Any],
    *,
    nulls: Mapping[str, float] | None = None,
    title: str | None = None,
    label: str | None = None,
    null_label: str = "a map that knows nothing",
    signed: bool = True,
) -> Figure:
    """Return one horizontal bar a number, vermilion above 0 and blue below, with its value written.

    `values`: name to a number, or to (value, low, high), whose interval is drawn as a line.
    `signed`: write +0.50 rather than 0.50, as suits a change or an effect. `nulls`: name to the
    number that a null gives there, drawn as a grey tick.
    Raises ValueError for no bars, NaN, and unknown names.
    """
    table = triples("values", values.values())
    numbers = table[:, 0]
    if not set(nulls or {}) <= set(values):
        raise ValueError(f"nulls: got {list(nulls or {})}; allowed are names of {list(values)}.")
    fig = Figure(figsize=(8.0, 1.5 + 0.4 * len(numbers)))
    ax = fig.add_subplot()
    places = np.arange(len(numbers))
    ax.barh(places, numbers, 0.68, color=[FOR if n > 0 else AGAINST for n in numbers])
    ax.axvline(0, color=BLACK, linewidth=0.8)
    spans = [(min(0.0, *row), max(0.0, *row)) for row in table]
    for place, name in enumerate(values):
        _, low, high = table[place]
        if low < high:
            ax.plot([low, high], [place, place], color=BLACK, linewidth=1.4, marker="|")
        if nulls and name in nulls:
            ax.plot([nulls[name]] * 2, [place - 0.42, place + 0.42], color=PALE, linewidth=5)
            named = null_label if name == next(iter(nulls)) else None
            ax.plot([nulls[name]] * 2, [place - 0.42, place + 0.42], color=GREY, label=named)
            spans[place] = min(spans[place][0], nulls[name]), max(spans[place][1], nulls[name])
    reach = max(high for _, high in spans) - min(low for low, _ in spans) or 1.0
    for place, (number, (low, high)) in enumerate(zip(numbers, spans, strict=True)):
        end, side = (
            (high + 0.015 * reach, "left") if number >= 0 else (low - 0.015 * reach, "right")
        )
        words = with_sign(number) if signed else f"{number:.3g}"
        ax.text(end, place, words, va="center", ha=side, fontsize=10)
    ax.set_xlim(min(low for low, _ in spans) - 0.13 * reach * bool((numbers < 0).any()), None)
    ax.set_xlim(None, max(high for _, high in spans) + 0.13 * reach)
    ax.set(yticks=places, yticklabels=list(values), ylim=(len(numbers) - 0.4, -0.6))
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)
    if nulls:
        fig.legend(loc="outside lower right")
    if label:
        ax.set_xlabel(label)
    if title:
        fig.suptitle(title)
    return fig
