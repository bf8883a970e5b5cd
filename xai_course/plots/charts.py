"""Charts for numbers: bars for parts, training curves, confusion, calibration.

Lessons reach them through `xai_course.show`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from xai_course.plots.style import (
    AGAINST,
    BLACK,
    BLUE,
    COUNTS,
    DIVERGING,
    FOR,
    GREY,
    ORANGE,
    PALE,
    SERIES,
    VERMILION,
    finite,
    styled,
    triples,
    with_sign,
)

__all__ = [
    "bars",
    "calibration_bins",
    "confusion",
    "curves",
    "decision_chart",
    "lines",
    "matrix",
    "part_bars",
    "reliability",
    "scatter",
    "shares",
]


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


Array = NDArray[np.float64]


@styled
def part_bars(
    values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
    *,
    errors: Mapping[str, float] | Mapping[str, Mapping[str, float]] | None = None,
    title: str | None = None,
    unit: str = "logits",
) -> Figure:
    """Return one horizontal bar a part, to the right for positive values, with its number.

    `values`: part to number, coloured by sign; or name of a series to such a mapping, coloured by
    series. `errors`: half the length of each error bar, keyed like `values`.
    Raises ValueError for no values, NaN, and series that do not have the same parts.
    """
    several = isinstance(next(iter(values.values()), None), Mapping)
    series: dict[str, Any] = dict(values) if several else {"": values}
    spread: dict[str, Any] = dict(errors or {}) if several else {"": errors or {}}
    parts = list(next(iter(series.values()), {}))
    if not parts or any(list(row) != parts for row in series.values()):
        raise ValueError(
            f"values: got parts {[list(row) for row in series.values()]}; allowed is "
            "at least one part, and the same parts in every series."
        )
    numbers = np.array([[float(row[part]) for part in parts] for row in series.values()])
    finite("values", numbers)
    fig = Figure(figsize=(8.0, 1.3 + 0.36 * len(parts) * max(1.0, 0.6 * len(series))))
    ax = fig.add_subplot()
    high = 0.8 / len(series)
    reach = float(np.abs(numbers).max()) or 1.0
    for number, (name, row) in enumerate(zip(series, numbers, strict=True)):
        places = np.arange(len(parts)) + (number - (len(series) - 1) / 2) * high
        by_sign = [FOR if value > 0 else AGAINST for value in row]
        colours = [SERIES[number % len(SERIES)]] * len(parts) if several else by_sign
        whiskers = np.array([float(spread.get(name, {}).get(part, 0.0)) for part in parts])
        ax.barh(places, row, 0.92 * high, color=colours, label=name)
        if whiskers.any():
            ax.errorbar(
                row, places, xerr=whiskers, fmt="none", ecolor=BLACK, elinewidth=1.2, capsize=3
            )
        for place, value, whisker in zip(places, row, whiskers, strict=True):
            end = value + (whisker + 0.015 * reach) * (1 if value >= 0 else -1)
            side = "left" if value >= 0 else "right"
            ax.text(end, place, with_sign(value), ha=side, va="center", fontsize=10)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.margins(x=0.14)
    ax.set(yticks=range(len(parts)), yticklabels=parts, xlabel=unit, ylim=(len(parts) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if several:
        fig.legend(loc="outside lower center", ncols=len(series))
    if title:
        fig.suptitle(title)
    return fig


@styled
def curves(
    history: Sequence[Any] | Mapping[str, Sequence[Any]], *, title: str | None = None
) -> Figure:
    """Return the training curves: loss at the left, accuracy at the right, epoch by epoch.

    `history`: what `training.fit` returned, or name to history to compare several networks. Solid
    lines are test images, dashed lines training images (as they were trained on).
    Raises ValueError for an empty history.
    """
    runs = dict(history) if isinstance(history, Mapping) else {"": history}
    if not runs or not all(len(run) for run in runs.values()):
        raise ValueError("history: got no epochs; allowed is at least one.")
    fig = Figure(figsize=(9.0, 3.7))
    left, right = fig.subplots(1, 2)
    for number, (name, run) in enumerate(runs.items()):
        colour, epochs = SERIES[number % len(SERIES)], [e.epoch for e in run]
        dots = "o" if len(run) < 15 else ""
        comma = f"{name}, " if name else ""
        for ax, field, dashes, label in (
            (left, "train_loss", "--", f"{comma}training"),
            (right, "train_accuracy", "--", f"{comma}training"),
            (right, "test_accuracy", "-", f"{comma}test"),
        ):
            values = [np.nan if (v := getattr(e, field)) is None else v for e in run]
            if not np.isnan(values).all():
                ax.plot(
                    epochs, values, dashes, color=colour, marker=dots, markersize=4, label=label
                )
    left.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.03))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for ax in (left, right):
        ax.grid(axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    lines, labels = right.get_legend_handles_labels()
    fig.legend(lines, labels, loc="outside lower center", ncols=4)
    if title:
        fig.suptitle(title)
    return fig


@styled
def confusion(counts: Any, classes: Sequence[str], *, title: str | None = None) -> Figure:
    """Return the confusion matrix with its counts; colour is the share of the row.

    `counts`: whole numbers (K, K), rows the true classes, columns the predicted ones.
    Without a `title` it says the accuracy and the most frequent confusion.
    Raises ValueError for another shape, negative or broken counts, and K other than the names.
    """
    table = np.asarray(counts, dtype=float)
    if table.ndim != 2 or table.shape != (len(classes), len(classes)) or table.size == 0:
        raise ValueError(
            f"counts: got shape {table.shape}; allowed is a square of the {len(classes)} classes."
        )
    if not np.isfinite(table).all() or (table < 0).any() or (table != np.round(table)).any():
        raise ValueError("counts: got negative, broken or NaN values; allowed are whole numbers.")
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    if title is None:
        title = f"{np.trace(table) / max(table.sum(), 1):.1%} right"
        wrong = table - np.diag(np.diag(table))
        if wrong.max() > 0:
            true, taken = np.unravel_index(wrong.argmax(), wrong.shape)
            title += f"; {classes[true]} taken for {classes[taken]} most often ({wrong.max():.0f}×)"
    size = 0.52 * len(classes)
    fig = Figure(figsize=(min(10.0, size + 3.2), min(10.0, size + 2.1)))
    ax = fig.add_subplot()
    image = ax.imshow(share, cmap=COUNTS, vmin=0, vmax=1)
    for true, taken in np.argwhere(table > 0):
        ink = "white" if share[true, taken] > 0.45 else BLACK
        ax.text(
            taken,
            true,
            f"{table[true, taken]:.0f}",
            ha="center",
            va="center",
            color=ink,
            fontsize=10,
        )
    places = range(len(classes))
    ax.set(xticks=places, yticks=places, yticklabels=classes, xlabel="predicted", ylabel="true")
    ax.set_xticklabels(classes, rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(PALE)
    bar = fig.colorbar(image, shrink=0.6, aspect=25, format=PercentFormatter(1.0))
    bar.set_label("share of the true class", fontsize=10)
    bar.outline.set_visible(False)
    fig.suptitle(title)
    return fig


@styled
def reliability(
    results: Mapping[str, tuple[Any, Any]], *, bins: int = 10, title: str | None = None
) -> Figure:
    """Return, for each network, how often it is right against how sure it is.

    `results`: name to (confidence (N,) in [0, 1], correct (N,) of 0 and 1). Points are bins of
    equal width with their 95 % Wilson intervals; below, the number of images in each bin. On the
    diagonal, confidence can be taken at its word. ECE, the expected calibration error, is the
    mean distance of bins from the diagonal, weighted by their images.
    Raises ValueError as `calibration_bins`, and for no results.

    Guo et al.: On Calibration of Modern Neural Networks. ICML 2017, arXiv:1706.04599.
    """
    if not results:
        raise ValueError("results: got none; allowed is at least one network.")
    fig = Figure(figsize=(min(10.0, 0.6 + 3.7 * len(results)), 4.8))
    grid = fig.subplots(2, len(results), sharex=True, squeeze=False, height_ratios=[4, 1])
    for (top, low), (name, (confidence, correct)) in zip(grid.T, results.items(), strict=True):
        count, sure, right = calibration_bins(confidence, correct, bins)
        error = float((count * np.abs(right - sure)).sum() / count.sum())
        full = count > 0
        n, p, x = count[full], right[full], sure[full]
        centre = (p + 1.92 / n) / (1 + 3.84 / n)
        half = 1.96 * np.sqrt(p * (1 - p) / n + 0.96 / n**2) / (1 + 3.84 / n)
        top.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        top.vlines(x, centre - half, centre + half, color=BLUE, linewidth=1.5)
        top.plot(x, p, "o", color=BLUE, markersize=6, clip_on=False)
        top.set_title(f"{name}: ECE {error:.1%}")
        top.set(xlim=(0, 1.02), ylim=(0, 1.05))
        top.grid(axis="y")
        low.bar((np.arange(bins) + 0.5) / bins, count, 0.9 / bins, color=BLUE)
        low.set(xlabel="confidence", yticks=[0, int(count.max())])
        for axis in (top.yaxis, low.xaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("images")
    if title:
        fig.suptitle(title)
    return fig


def calibration_bins(confidence: Any, correct: Any, bins: int = 10) -> tuple[Array, Array, Array]:
    """Return each bin's number of images, mean confidence and accuracy (0 where it is empty).

    `confidence` (N,) in [0, 1], `correct` (N,) of 0 and 1, both N ≥ 1. A bin holds its upper edge.
    Raises ValueError for other shapes and values.
    """
    sure, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if sure.ndim != 1 or sure.shape != right.shape or len(sure) == 0:
        raise ValueError(
            f"confidence, correct: got shapes {sure.shape} and {right.shape}; allowed "
            "are two lists of one length, at least 1."
        )
    if not ((sure >= 0) & (sure <= 1)).all() or not np.isin(right, (0, 1)).all():
        raise ValueError("confidence, correct: allowed are numbers in [0, 1], and 0 or 1.")
    if bins < 1:
        raise ValueError(f"bins: got {bins}; allowed is 1 or more.")
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins).astype(float)
    safe = np.maximum(count, 1)
    return count, np.bincount(place, sure, bins) / safe, np.bincount(place, right, bins) / safe


@styled
def shares(
    values: Mapping[str, Any],
    *,
    band: tuple[float, float] | None = None,
    band_label: str = "chance",
    title: str | None = None,
    label: str | None = None,
) -> Figure:
    """Return one horizontal bar a share in [0, 1], before the band of what chance gives.

    `values`: name to a share, or to (share, low, high), whose interval is drawn as a line.
    Raises ValueError for no values, or shares outside [0, 1].
    """
    table = triples("values", values.values())
    numbers = table[:, 0]
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(f"values: got {dict(values)}; allowed is at least one share from 0 to 1.")
    fig = Figure(figsize=(8.0, 1.5 + 0.42 * len(numbers)))
    ax = fig.add_subplot()
    places = np.arange(len(numbers))
    ax.barh(places, numbers, 0.7, color=BLUE)
    ends = table.max(1)
    for place, (_, low, high) in enumerate(table):
        if low < high:
            ax.plot([low, high], [place, place], color=BLACK, linewidth=1.4, marker="|")
    for place, (number, end) in enumerate(zip(numbers, ends, strict=True)):
        ax.text(end + 0.012, place, f"{number:.1%}", va="center", fontsize=10)
    if band:
        ax.axvspan(*band, color=ORANGE, alpha=0.5, linewidth=0, label=band_label, zorder=0)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1)
    ax.set(yticks=places, yticklabels=list(values), xlim=(0, min(1.0, ends.max()) * 1.12))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.invert_yaxis()
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)
    if label:
        ax.set_xlabel(label)
    if title:
        fig.suptitle(title)
    return fig


@styled
def scatter(
    x: Any,
    y: Any,
    *,
    title: str | None = None,
    x_label: str | None = None,
    y_label: str | None = None,
    diagonal: str | None = None,
) -> Figure:
    """Return a scatter plot of two series of numbers (N,); `diagonal` names the line y = x.

    Raises ValueError for series of different lengths, none, or NaN.
    """
    across, up = (np.asarray(values, dtype=float).ravel() for values in (x, y))
    if len(across) != len(up) or not len(across):
        raise ValueError(f"x, y: got {len(across)} and {len(up)} numbers; allowed is one length.")
    finite("x", across)
    finite("y", up)
    fig = Figure(figsize=(6.0, 4.6))
    ax = fig.add_subplot()
    ax.scatter(across, up, s=22, color=BLUE, alpha=0.55, linewidth=0)
    if (across == across.round()).all():
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if diagonal:
        both = np.concatenate([across, up])
        ends = [both.min(), both.max()]
        ax.plot(ends, ends, color=GREY, linewidth=1.2, linestyle="--", label=diagonal)
        ax.legend(loc="upper left")
    ax.set(xlabel=x_label, ylabel=y_label)
    if title:
        fig.suptitle(title)
    return fig


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
