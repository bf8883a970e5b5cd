"""Charts of numbers: bars, lines and points, tables of numbers, and a table of words.

Each function returns a Matplotlib `Figure` of its own; `figure` (plots/images.py) shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from xai_course.core.translation import message, translate
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
    ShownFigure,
    broken,
    finite_numbers,
    in_words,
    styled,
    with_ends,
    with_sign,
)

TITLE_LETTER = 0.1  # inches: the mean width of a letter of a title

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

Array = NDArray[np.float64]


# ---- bars ----------------------------------------------------------------------------------------


@styled
def bars(
    values: Mapping[str, Any],
    *,
    references: Mapping[str, float] | None = None,
    title: str | None = None,
    label: str | None = None,
    reference_label: str = message("a map that knows nothing"),
    signed: bool = True,
) -> Figure:
    """Draw one horizontal bar for each number: vermilion above 0 and blue below.

    Args:
        values: name to a number, or to (value, low, high), whose interval is drawn as a line.
        references: name to a number to compare with, drawn as a grey tick.
        title: of the figure.
        label: of the axis.
        reference_label: what the grey ticks are.
        signed: write +0.50 rather than 0.50, as suits a change or an effect.

    Returns:
        The figure.

    Raises:
        ValueError: for no bars, NaN, and unknown names.
    """
    table = with_ends("values", values.values())
    numbers = table[:, 0]
    references = references or {}
    if not set(references) <= set(values):
        raise ValueError(
            f"references: got {list(references)}; must be names of values, {list(values)}."
        )
    fig = ShownFigure(figsize=(8.0, 1.5 + 0.4 * len(numbers)))
    ax = fig.add_subplot()
    positions = np.arange(len(numbers))
    ax.barh(positions, numbers, 0.68, color=[FOR if n > 0 else AGAINST for n in numbers])
    ax.axvline(0, color=BLACK, linewidth=0.8)
    spans = [(min(0.0, *row), max(0.0, *row)) for row in table]  # what each bar's drawing covers
    for position, name in enumerate(values):
        _, low, high = table[position]
        if low < high:
            ax.plot([low, high], [position, position], color=BLACK, linewidth=1.4, marker="|")
        if name in references:
            first = name == next(iter(references))
            _draw_tick(
                ax, references[name], position, translate(reference_label) if first else None
            )
            left, right = spans[position]
            spans[position] = min(left, references[name]), max(right, references[name])
    _write_at_ends(ax, numbers, spans, signed)
    ax.set(yticks=positions, yticklabels=_names(values), ylim=(len(numbers) - 0.4, -0.6))
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)
    if references:
        fig.legend(loc="outside lower right")
    if label:
        ax.set_xlabel(label)
    if title:
        fig.suptitle(title)
    return fig


def _draw_tick(ax: Axes, value: float, position: int, label: str | None) -> None:
    """Draw a grey tick with a pale border across a bar."""
    ends = [position - 0.42, position + 0.42]
    ax.plot([value, value], ends, color=PALE, linewidth=5)
    ax.plot([value, value], ends, color=GREY, label=label)


def _write_at_ends(
    ax: Axes, numbers: Array, spans: Sequence[tuple[float, float]], signed: bool
) -> None:
    """Write each number beyond the end of its bar, and leave room for it."""
    left, right = min(low for low, _ in spans), max(high for _, high in spans)
    reach = right - left or 1.0
    for position, (number, (low, high)) in enumerate(zip(numbers, spans, strict=True)):
        words = with_sign(number) if signed else f"{number:.3g}"
        end, side = high + 0.015 * reach, "left"
        if number < 0:
            end, side = low - 0.015 * reach, "right"
        ax.text(end, position, words, va="center", ha=side, fontsize=10)
    room = 0.13 * reach
    ax.set_xlim(left - room if (numbers < 0).any() else left, None)
    ax.set_xlim(None, right + room)


@styled
def part_bars(
    values: Mapping[str, float] | Mapping[str, Mapping[str, float]],
    *,
    errors: Mapping[str, float] | Mapping[str, Mapping[str, float]] | None = None,
    title: str | None = None,
    unit: str = message("logits"),
) -> Figure:
    """Draw one horizontal bar for each part, for one series or several, with its number.

    Args:
        values: part to number, coloured by sign; or name of a series to such a mapping, coloured by
            series.
        errors: half the length of each error bar, keyed like `values`.
        title: of the figure.
        unit: of the numbers.

    Returns:
        The figure.

    Raises:
        ValueError: for no values, NaN, and series that do not have the same parts.
    """
    several = isinstance(next(iter(values.values()), None), Mapping)
    series: dict[str, Any] = dict(values) if several else {"": values}
    spread: dict[str, Any] = dict(errors or {}) if several else {"": errors or {}}
    parts = list(next(iter(series.values()), {}))
    if not parts or any(list(row) != parts for row in series.values()):
        raise ValueError(
            f"values: got parts {[list(row) for row in series.values()]}; must be "
            "at least one part, and the same parts in every series."
        )
    numbers = np.array([[float(row[part]) for part in parts] for row in series.values()])
    finite_numbers("values", numbers)
    fig = ShownFigure(figsize=(8.0, 1.3 + 0.36 * len(parts) * max(1.0, 0.6 * len(series))))
    ax = fig.add_subplot()
    height = 0.8 / len(series)
    reach = float(np.abs(numbers).max()) or 1.0
    for number, (name, row) in enumerate(zip(series, numbers, strict=True)):
        positions = np.arange(len(parts)) + (number - (len(series) - 1) / 2) * height
        colours = [FOR if value > 0 else AGAINST for value in row]
        if several:
            colours = [SERIES[number % len(SERIES)]] * len(parts)
        whiskers = np.array([float(spread.get(name, {}).get(part, 0.0)) for part in parts])
        ax.barh(positions, row, 0.92 * height, color=colours, label=in_words(name))
        if whiskers.any():
            ax.errorbar(
                row, positions, xerr=whiskers, fmt="none", ecolor=BLACK, elinewidth=1.2, capsize=3
            )
        for position, value, whisker in zip(positions, row, whiskers, strict=True):
            end = value + (whisker + 0.015 * reach) * (1 if value >= 0 else -1)
            side = "left" if value >= 0 else "right"
            ax.text(end, position, with_sign(value), ha=side, va="center", fontsize=10)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.margins(x=0.14)
    ax.set(yticks=range(len(parts)), yticklabels=_names(parts), xlabel=translate(unit))
    ax.set(ylim=(len(parts) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    if several:
        _legend_below(fig, *ax.get_legend_handles_labels())
    if title:
        fig.suptitle(title)
    return fig


@styled
def shares(
    values: Mapping[str, Any],
    *,
    band: tuple[float, float] | None = None,
    band_label: str = message("chance"),
    title: str | None = None,
    label: str | None = None,
) -> Figure:
    """Draw one horizontal bar for each share, in front of a band such as chance.

    Args:
        values: name to a share from 0 to 1, or to (share, low, high), whose interval is drawn as a
            line.
        band: from where to where the band reaches; None for no band.
        band_label: what the band is.
        title: of the figure.
        label: of the axis.

    Returns:
        The figure.

    Raises:
        ValueError: for no values, or shares outside 0 to 1.
    """
    table = with_ends("values", values.values())
    numbers = table[:, 0]
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(f"values: got {dict(values)}; must be shares from 0 to 1.")
    fig = ShownFigure(figsize=(8.0, 1.5 + 0.42 * len(numbers)))
    ax = fig.add_subplot()
    positions = np.arange(len(numbers))
    ax.barh(positions, numbers, 0.7, color=BLUE)
    ends = table.max(1)
    for position, (_, low, high) in enumerate(table):
        if low < high:
            ax.plot([low, high], [position, position], color=BLACK, linewidth=1.4, marker="|")
    for position, (number, end) in enumerate(zip(numbers, ends, strict=True)):
        ax.text(end + 0.012, position, f"{number:.1%}", va="center", fontsize=10)
    if band:
        ax.axvspan(
            *band, color=ORANGE, alpha=0.5, linewidth=0, label=translate(band_label), zorder=0
        )
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1)
    ax.set(yticks=positions, yticklabels=_names(values), xlim=(0, min(1.0, ends.max()) * 1.12))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.invert_yaxis()
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)
    if label:
        ax.set_xlabel(label)
    if title:
        fig.suptitle(title)
    return fig


# ---- lines and points ----------------------------------------------------------------------------


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
    """Draw one line for each series over common x; lines differ in colour, dash and dot.

    Args:
        series: name to P values, or to P triples (value, low, high), whose intervals become a band.
        x: (P,), common to all series.
        title: of the figure.
        x_label: of the axis.
        y_label: of the axis.
        marks: name to a height at which a thin grey line crosses the chart, such as chance.
        log_x: a logarithmic axis, which needs x above 0.

    Returns:
        The figure.

    Raises:
        ValueError: for no series, more than six, other lengths, and NaN.
    """
    positions = finite_numbers("x", x)
    if not 1 <= len(series) <= len(SERIES):
        raise ValueError(f"series: got {len(series)}; must be 1 to {len(SERIES)}.")
    if log_x and (positions <= 0).any():
        raise ValueError("x: got a number of 0 or less; must be above 0 with log_x.")
    fig = ShownFigure(figsize=(8.0, 4.2))
    ax = fig.add_subplot()
    looks = zip(series.items(), SERIES, DASHES, DOTS, strict=False)
    for (name, values), colour, dash, dot in looks:
        heights, low, high = with_ends(name, values).T
        finite_numbers(name, heights, len(positions))
        ax.plot(
            positions,
            heights,
            linestyle=dash,
            marker=dot,
            color=colour,
            label=in_words(name),
            markersize=5,
        )
        if (low < high).any():
            ax.fill_between(positions, low, high, color=colour, alpha=0.15, linewidth=0)
    for name, height in (marks or {}).items():
        ax.axhline(height, color=GREY, linewidth=1, linestyle=":")
        beside = ax.get_yaxis_transform()  # x as a share of the axes, y as in the data
        ax.text(1.01, height, name, color=GREY, fontsize=10, va="center", transform=beside)
    if log_x:
        ax.set_xscale("log")
        ax.set_xticks(positions, [f"{position:g}" for position in positions])
        ax.minorticks_off()
    elif (positions == positions.round()).all():
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.grid(axis="y")
    _legend_below(fig, *ax.get_legend_handles_labels())
    if title:
        fig.suptitle(title)
    return fig


@styled
def curves(
    history: Sequence[Any] | Mapping[str, Sequence[Any]], *, title: str | None = None
) -> Figure:
    """Draw the training curves, epoch by epoch: loss at the left, accuracy at the right.

    Solid lines are test images, dashed lines training images (as they were trained on).

    Args:
        history: what `training.fit` returned, or name to history to compare several networks.
        title: of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: for an empty history.
    """
    runs = dict(history) if isinstance(history, Mapping) else {"": history}
    if not runs or not all(len(run) for run in runs.values()):
        raise ValueError("history: got no epochs; must be at least one.")
    fig = ShownFigure(figsize=(9.0, 3.7))
    left, right = fig.subplots(1, 2)
    for number, (name, run) in enumerate(runs.items()):
        colour, epochs = SERIES[number % len(SERIES)], [e.epoch for e in run]
        dots = "o" if len(run) < 15 else ""
        prefix = f"{name}, " if name else ""
        for ax, field, dashes, label in (
            (left, "train_loss", "--", prefix + translate("training")),
            (right, "train_accuracy", "--", prefix + translate("training")),
            (right, "test_accuracy", "-", prefix + translate("test")),
        ):
            values = [np.nan if (v := getattr(e, field)) is None else v for e in run]
            if not np.isnan(values).all():
                ax.plot(
                    epochs, values, dashes, color=colour, marker=dots, markersize=4, label=label
                )
    left.set(xlabel=translate("epoch"), ylabel=translate("cross-entropy"), ylim=(0, None))
    right.set(xlabel=translate("epoch"), ylabel=translate("accuracy"), ylim=(0, 1.03))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for ax in (left, right):
        ax.grid(axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    # Long enough for more than one dash, beside the marker in the middle.
    _legend_below(fig, *right.get_legend_handles_labels(), handlelength=4.5)
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
    """Draw a scatter plot of two series of numbers.

    Args:
        x: (N,).
        y: (N,).
        title: of the figure.
        x_label: of the axis.
        y_label: of the axis.
        diagonal: the name of the line y = x; None draws no such line.

    Returns:
        The figure.

    Raises:
        ValueError: for series of different lengths, none, or NaN.
    """
    across, up = (np.asarray(values, dtype=float).ravel() for values in (x, y))
    if len(across) != len(up) or not len(across):
        raise ValueError(f"x, y: got {len(across)} and {len(up)} numbers; must be equally many.")
    finite_numbers("x", across)
    finite_numbers("y", up)
    fig = ShownFigure(figsize=(6.0, 4.6))
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


@styled
def reliability(
    results: Mapping[str, tuple[Any, Any]], *, bins: int = 10, title: str | None = None
) -> Figure:
    """Draw, for each network, its accuracy against its confidence (a reliability diagram).

    Points are bins of equal width with their 95 % Wilson intervals; below, the number of images in
    each bin. On the diagonal, confidence equals accuracy. The expected calibration error is the
    mean distance of the bins from the diagonal, weighted by their images:

        ECE = Σ images of bin b · |accuracy of b - confidence of b| / images

    Args:
        results: name to (confidence (N,) from 0 to 1, correct (N,) of 0 and 1).
        bins: number of bins.
        title: of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: as `calibration_bins`, and for no results.

    References:
        Guo et al.: On Calibration of Modern Neural Networks. ICML 2017, arXiv:1706.04599.
    """
    if not results:
        raise ValueError("results: got none; must be at least one network.")
    fig = ShownFigure(figsize=(min(10.0, 0.6 + 3.7 * len(results)), 4.8))
    grid = fig.subplots(2, len(results), sharex=True, squeeze=False, height_ratios=[4, 1])
    for (top, bottom), (name, (confidence, correct)) in zip(grid.T, results.items(), strict=True):
        count, mean_confidence, accuracy = calibration_bins(confidence, correct, bins)
        error = float((count * np.abs(accuracy - mean_confidence)).sum() / count.sum())
        full = count > 0
        n, p, x = count[full], accuracy[full], mean_confidence[full]
        centre = (p + 1.92 / n) / (1 + 3.84 / n)
        half = 1.96 * np.sqrt(p * (1 - p) / n + 0.96 / n**2) / (1 + 3.84 / n)
        top.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        top.vlines(x, centre - half, centre + half, color=BLUE, linewidth=1.5)
        top.plot(x, p, "o", color=BLUE, markersize=6, clip_on=False)
        top.set_title(f"{name}: ECE {error:.1%}")
        top.set(xlim=(0, 1.02), ylim=(0, 1.05))
        top.grid(axis="y")
        bottom.bar((np.arange(bins) + 0.5) / bins, count, 0.9 / bins, color=BLUE)
        bottom.set(xlabel=translate("confidence"), yticks=[0, int(count.max())])
        for axis in (top.yaxis, bottom.xaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
    grid[0, 0].set_ylabel(translate("accuracy"))
    grid[1, 0].set_ylabel(translate("images"))
    if title:
        fig.suptitle(title)
    return fig


def calibration_bins(confidence: Any, correct: Any, bins: int = 10) -> tuple[Array, Array, Array]:
    """Sort predictions into bins of equal width by their confidence.

    A bin holds its upper edge.

    Args:
        confidence: (N,), from 0 to 1.
        correct: (N,), 0 or 1.
        bins: number of bins.

    Returns:
        Of each bin, the number of images, the mean confidence and the accuracy; the last two are 0
        where it is empty.

    Raises:
        ValueError: for other shapes and values.

    Example:
        >>> from xai_course.plots import calibration_bins
        >>> count, confidence, accuracy = calibration_bins([0.2, 0.75, 0.75], [0, 1, 0], bins=2)
        >>> count.tolist(), confidence.tolist(), accuracy.tolist()
        ([1.0, 2.0], [0.2, 0.75], [0.0, 0.5])
    """
    sure, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if sure.ndim != 1 or sure.shape != right.shape or len(sure) == 0:
        raise ValueError(
            f"confidence, correct: got shapes {sure.shape} and {right.shape}; must be "
            "two lists of one length, at least 1."
        )
    if not ((sure >= 0) & (sure <= 1)).all() or not np.isin(right, (0, 1)).all():
        raise ValueError("confidence, correct: must be numbers from 0 to 1, and 0 or 1.")
    if bins < 1:
        raise ValueError(f"bins: got {bins}; must be 1 or more.")
    index = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins).astype(float)
    divisor = np.maximum(count, 1)
    mean_confidence = np.bincount(index, sure, bins) / divisor
    accuracy = np.bincount(index, right, bins) / divisor
    return count, mean_confidence, accuracy


# ---- tables --------------------------------------------------------------------------------------


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
    """Draw a table as colours, with each number written in its cell.

    Args:
        values: (R, C); NaN leaves a cell empty.
        rows: R names.
        columns: C names.
        title: of the figure.
        signed: blue below 0, white at 0, vermilion above, with one scale for both signs; otherwise
            white at 0 to dark blue at the largest number, which needs numbers of at least 0.
        fmt: format of a number.
        label: of the colour bar; with `tint`, below the table.
        tint: (R, C), numbers that colour the cells in place of the values, as where columns differ
            in unit. Then there is no colour bar, and `label` tells what the colours mean.

    Returns:
        The figure.

    Raises:
        ValueError: for another shape than that of the names, infinity, and negative unsigned
            numbers.
    """
    written = np.asarray(values, dtype=float)
    coloured = written if tint is None else np.asarray(tint, dtype=float)
    for name, numbers in (("values", written), ("tint", coloured)):
        if numbers.shape != (len(rows), len(columns)) or numbers.size == 0:
            raise ValueError(
                f"{name}: got shape {numbers.shape}; must be {(len(rows), len(columns))}."
            )
    if np.isinf([written, coloured]).any() or (not signed and (coloured < 0).any()):
        raise ValueError("values: must be finite numbers, and without `signed` at least 0.")
    end = float(np.nanmax(np.abs(coloured), initial=0.0)) or 1.0
    fig = ShownFigure(figsize=(2.2 + 0.72 * len(columns), 1.6 + 0.42 * len(rows)))
    ax = fig.add_subplot()
    colours = DIVERGING if signed else COUNTS
    image = ax.imshow(coloured, cmap=colours, vmin=-end if signed else 0, vmax=end, aspect="auto")
    for row, column in np.ndindex(coloured.shape):
        if np.isfinite(number := written[row, column]):
            words = fmt.format(number).replace("-", "−")
            ink = "white" if abs(coloured[row, column]) > 0.65 * end else BLACK
            ax.text(column, row, words, ha="center", va="center", fontsize=9, color=ink)
    ax.set_xticks(
        range(len(columns)), _names(columns), rotation=35, ha="right", rotation_mode="anchor"
    )
    ax.set_yticks(range(len(rows)), _names(rows))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if tint is None:
        bar = fig.colorbar(image, ax=ax, shrink=0.8, aspect=25)
        bar.set_label(label, fontsize=10)
        bar.outline.set_visible(False)
    else:
        fig.supxlabel(label, fontsize=10)
    if title:  # a narrow table cuts a long title off
        fig.suptitle(_fitted(title, fig))
    return fig


@styled
def confusion(counts: Any, classes: Sequence[str], *, title: str | None = None) -> Figure:
    """Draw the confusion matrix with its counts; colour is the share of the row.

    Args:
        counts: whole numbers (K, K), rows the true classes, columns the predicted ones.
        classes: K names.
        title: of the figure; None for the accuracy and the most frequent confusion.

    Returns:
        The figure.

    Raises:
        ValueError: for another shape, counts that are negative or not whole, and K other than the
            number of names.
    """
    table = np.asarray(counts, dtype=float)
    if table.ndim != 2 or table.shape != (len(classes), len(classes)) or table.size == 0:
        raise ValueError(
            f"counts: got shape {table.shape}; must be a square of the {len(classes)} classes."
        )
    if not np.isfinite(table).all() or (table < 0).any() or (table != np.round(table)).any():
        raise ValueError("counts: got negative, broken or NaN values; must be whole numbers.")
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    size = 0.52 * len(classes)
    fig = ShownFigure(figsize=(min(10.0, size + 3.2), min(10.0, size + 2.1)))
    ax = fig.add_subplot()
    image = ax.imshow(share, cmap=COUNTS, vmin=0, vmax=1)
    for true, predicted in np.argwhere(table > 0):
        ink = "white" if share[true, predicted] > 0.45 else BLACK
        words = f"{table[true, predicted]:.0f}"
        ax.text(predicted, true, words, ha="center", va="center", color=ink, fontsize=10)
    positions = range(len(classes))
    ax.set(
        xticks=positions,
        yticks=positions,
        yticklabels=classes,
        xlabel=translate("predicted"),
        ylabel=translate("true"),
    )
    ax.set_xticklabels(classes, rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(PALE)
    bar = fig.colorbar(image, shrink=0.6, aspect=25, format=PercentFormatter(1.0))
    bar.set_label(translate("share of the true class"), fontsize=10)
    bar.outline.set_visible(False)
    fig.suptitle(_fitted(_confusion_title(table, classes) if title is None else title, fig))
    return fig


def _confusion_title(table: Array, classes: Sequence[str]) -> str:
    """Return the accuracy and the most frequent confusion in words."""
    accuracy = np.trace(table) / max(table.sum(), 1)
    wrong = table - np.diag(np.diag(table))
    if wrong.max() > 0:
        true, predicted = (int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
        return translate(
            "{accuracy:.1%} right; {true} taken for {predicted} most often ({count:.0f}×)",
            accuracy=accuracy,
            true=classes[true],
            predicted=classes[predicted],
            count=wrong.max(),
        )
    return translate("{accuracy:.1%} right", accuracy=accuracy)


@styled
def decision_chart(
    rows: Sequence[tuple[str, str, str]], *, title: str | None = None, width: float = 10.0
) -> Figure:
    """Draw which method answers which question.

    A method that begins with "no" (no map answers this) is grey, the others are vermilion, as a
    method that is ahead is elsewhere. Long texts are broken into lines.

    Args:
        rows: (question, method, what was measured) each.
        title: of the figure.
        width: of the figure, in inches.

    Returns:
        The figure.

    Raises:
        ValueError: for no rows.
    """
    if not rows:
        raise ValueError("rows: got none; must be at least one (question, method, measured).")
    table = [
        (broken(question, 31), broken(method, 27), broken(measured, 51))
        for question, method, measured in rows
    ]
    line_counts = [max(text.count("\n") + 1 for text in row) for row in table]
    fig = ShownFigure(figsize=(width, 0.6 + sum(0.2 * n + 0.2 for n in line_counts)))
    ax = fig.add_subplot()
    ax.set(xlim=(0, 100), ylim=(sum(n + 1 for n in line_counts), 0))
    ax.axis("off")
    y = 0.0
    for (question, method, measured), line_count in zip(table, line_counts, strict=True):
        middle = y + (line_count + 1) / 2
        box: dict[str, Any] = {"boxstyle": "round,pad=0.45", "facecolor": "white", "linewidth": 1.3}
        ax.text(1, middle, question, va="center", fontsize=10.5, bbox={**box, "edgecolor": GREY})
        arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.5}
        ax.annotate("", (34, middle), (29, middle), arrowprops=arrow)
        colour = GREY if method.startswith(("no ", "没有")) else VERMILION
        bold: dict[str, Any] = {"fontsize": 10.5, "fontweight": "bold", "color": colour}
        ax.text(35.5, middle, method, va="center", bbox={**box, "edgecolor": colour}, **bold)
        ax.text(62, middle, measured, va="center", fontsize=9.5)
        y += line_count + 1
        ax.axhline(y, color=PALE, linewidth=0.8)
    if title:
        fig.suptitle(title)
    return fig


def _fitted(title: str, fig: Figure) -> str:
    """Break the lines of a title that are wider than the figure."""
    fits = int(fig.get_figwidth() / TITLE_LETTER)
    return "\n".join(broken(line, fits) for line in title.splitlines())


def _names(names: Iterable[str]) -> list[str]:
    """Return names, such as those of a beetle's parts, in the reader's language."""
    return [in_words(name) for name in names]


def _legend_below(
    fig: Figure, handles: Sequence[Any], labels: Sequence[Any], *, handlelength: float = 2.0
) -> None:
    """Put a legend below the axes, in as many columns as fit, at most four."""
    for columns in range(min(len(labels), 4), 0, -1):
        legend = fig.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=columns,
            handlelength=handlelength,
        )
        fig.draw_without_rendering()  # or the legend has no size yet
        # One that fills the whole width looks cut off.
        if columns == 1 or legend.get_window_extent().width <= 0.97 * fig.bbox.width:
            return
        legend.remove()
