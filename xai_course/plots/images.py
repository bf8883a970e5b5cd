"""Images side by side, relevance in colour over images, and how a figure is shown.

Each function returns a Matplotlib `Figure` of its own, free of pyplot's global state; `figure`
shows it in a notebook.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xai_course.core.translation import message, translate
from xai_course.plots import style
from xai_course.plots.style import AGAINST, FOR, GREY, ShownFigure, in_words, png, styled

__all__ = ["figure", "gallery", "overlay", "relevance_colours", "words"]


Array = NDArray[np.float64]


def figure(fig: Figure, alt: str, caption: str | None = None) -> None:
    """Show a figure in a notebook as a PNG with a text for those who cannot see it.

    The same figure gives the same bytes. The figure is emptied afterwards.

    Args:
        fig: the figure.
        alt: what the figure shows, in words.
        caption: Markdown, shown below; None for no caption.

    Raises:
        ValueError: without an `alt`.
    """
    from IPython.display import Image, Markdown, display

    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt: got {alt!r}; must be a sentence that tells what the figure shows.")
    picture = png(fig, dpi=180 if style.retina else 90)
    display(  # type: ignore[no-untyped-call]
        Image(data=picture, format="png", alt=alt.strip(), retina=style.retina)  # type: ignore[no-untyped-call]
    )
    if caption:
        display(Markdown(f"*{caption.strip()}*"))  # type: ignore[no-untyped-call]
    fig.clear()


def words(covered: str) -> str:
    """Read words that the student's edition covers, so that no figure's title answers a prediction.

    Args:
        covered: the words in UTF-8, encoded as base64.

    Returns:
        The words.

    Raises:
        ValueError: for a text that is no base64.

    Example:
        >>> words("QSBiZWV0bGU=")
        'A beetle'
    """
    return base64.b64decode(covered, validate=True).decode()


# ---- galleries and overlays ----------------------------------------------------------------------


@styled
def gallery(
    images: Any,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 5,
    title: str | None = None,
    size: float = 1.8,
) -> Figure:
    """Draw images side by side, each under its own title.

    Args:
        images: a tensor (N, 3, H, W), or a sequence of images: tensors (3, H, W) or (1, H, W),
            NumPy arrays (H, W, 3) or (H, W), or PIL images; numbers from 0 to 1, or whole numbers
            from 0 to 255.
        titles: one for each image; None for no titles.
        columns: images in a row.
        title: of the figure.
        size: width of one image, in inches; smaller where the row would pass 10 inches.

    Returns:
        The figure.

    Raises:
        ValueError: for other shapes, NaN, values outside 0 to 1, and titles of another number.
    """
    arrays = [_image_array(image, "images") for image in images]
    fig, axes = _grid(arrays, titles, columns, title, size)
    for ax, array in zip(axes, arrays, strict=True):
        ax.imshow(array, interpolation="nearest" if len(array) < 100 else "antialiased")
    return fig


@styled
def overlay(
    images: Any,
    relevance: Sequence[Any] | Any,
    titles: Sequence[str] | None = None,
    *,
    shared_scale: bool = True,
    quantile: float = 0.995,
    columns: int = 4,
    title: str | None = None,
    unit: str = message("logits"),
    sides: tuple[str, str] = (message("against the class"), message("for the class")),
    size: float = 2.6,
) -> Figure:
    """Draw signed relevance in colour over a grey version of each image.

    Vermilion supports the class and blue opposes it; the stronger, the more opaque; where relevance
    is zero, only the grey image is seen.

    Args:
        images: as in `gallery`.
        relevance: as many maps (C, H, W), (1, C, H, W) or (H, W), or a tensor (N, C, H, W);
            channels are added up. A map that is None shows its image in colour.
        titles: one for each image; None for no titles.
        shared_scale: one scale for all panels. Otherwise each panel has its own, written below it:
            for methods whose units differ.
        quantile: the scale ends at this quantile of the absolute values, so that a few extreme
            pixels do not make the rest invisible (the colour bar tells it); 1 is the maximum.
        columns: images in a row.
        title: of the figure.
        unit: of the relevance, for the colour bar.
        sides: what values below and above zero mean, for the colour bar, as ("negative",
            "positive") where the sign is neither for nor against the class.
        size: width of one image, in inches; smaller where the row would pass 10 inches.

    Returns:
        The figure.

    Raises:
        ValueError: for NaN, for sizes that do not fit, and a quantile outside (0, 1].
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile: got {quantile}; must be above 0 and at most 1.")
    arrays = [_image_array(image, "images") for image in images]
    maps = [None if r is None else _map_array(r) for r in relevance]
    _check_sizes(maps, arrays)
    drawn = [values for values in maps if values is not None]
    shared = _scale(drawn, quantile) if shared_scale else 0.0
    below_each = 0.0 if shared_scale else 0.25  # inches, for the line below a panel
    below_all = 0.95 if drawn else 0.0  # inches, for the colour bar
    fig, axes = _grid(arrays, titles, columns, title, size, below_each, below_all)
    for ax, array, values in zip(axes, arrays, maps, strict=True):
        if values is None:
            ax.imshow(array)
            continue
        scale = shared if shared_scale else _scale([values], quantile)
        ax.imshow(0.25 + 0.75 * array.mean(2), cmap="gray", vmin=0, vmax=1)
        ax.imshow(relevance_colours(values, scale), interpolation="nearest")
        if not shared_scale:
            words = translate("full colour at ±{scale:.2g}", scale=scale)
            ax.set_xlabel(words, fontsize=10, color=GREY)
    if drawn:
        end = shared if shared_scale and shared > 0 else 1.0
        measure = translate(unit if shared_scale else message("share of each panel's own scale"))
        words = translate("{measure}; full colour at the largest value", measure=measure)
        if quantile < 1:
            words = translate(
                "{measure}; full colour for the largest {percent:g} % of the values",
                measure=measure,
                percent=round(100 * (1 - quantile), 3),
            )
        _relevance_bar(fig, axes, end, words, sides)
    return fig


def _check_sizes(maps: list[Array | None], images: list[Array]) -> None:
    """Raise ValueError unless there is a map, or None, of the size of each image."""
    if len(maps) != len(images):
        raise ValueError(f"relevance: got {len(maps)} maps; must be {len(images)}, as images.")
    for values, image in zip(maps, images, strict=True):
        if values is not None and values.shape != image.shape[:2]:
            raise ValueError(
                f"relevance: got a map of {values.shape}; must be of the size of its image, "
                f"{image.shape[:2]}."
            )


def relevance_colours(relevance: Array, scale: float) -> Array:
    """Return the colour and opacity of signed relevance, symmetric about zero.

    Transparent at 0; 0.9 opaque at ±`scale` and beyond.

    Args:
        relevance: (H, W).
        scale: where the colour is full, in the unit of the relevance; 0, for a map without
            relevance, makes everything transparent.

    Returns:
        Red, green, blue and opacity (H, W, 4), from 0 to 1.

    Example:
        >>> import numpy as np
        >>> from xai_course.plots import relevance_colours
        >>> relevance_colours(np.array([[0.0, 1.0, 2.0, 9.0]]), scale=2.0)[..., 3]  # opacity
        array([[0.  , 0.45, 0.9 , 0.9 ]])
    """
    strength = np.clip(relevance / scale, -1, 1) if scale > 0 else np.zeros_like(relevance)
    ends = np.array([to_rgb(AGAINST), to_rgb(FOR)])
    colours = np.empty((*relevance.shape, 4))
    colours[..., :3] = ends[(strength > 0).astype(int)]
    colours[..., 3] = 0.9 * np.abs(strength)
    return colours


def _relevance_bar(
    fig: Figure, axes: list[Axes], end: float, label: str, sides: tuple[str, str]
) -> None:
    """Draw one colour bar for all panels: the colours as they look on a light grey."""
    values = np.linspace(-1, 1, 255)
    colours = relevance_colours(values[None], 1.0)[0]
    mixed = colours[:, :3] * colours[:, 3:] + 0.92 * (1 - colours[:, 3:])
    mappable = ScalarMappable(Normalize(-end, end), ListedColormap(mixed))
    bar = fig.colorbar(mappable, ax=axes, location="bottom", shrink=0.7, aspect=45, pad=0.04)
    below, above = (translate(side) for side in sides)
    relevance, unit = translate("relevance"), translate("({label})", label=label)
    bar.set_label(f"← {below}        {relevance}        {above} →\n{unit}")
    ticks = [-end, -end / 2, 0, end / 2, end]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}".replace("-", "−") for tick in ticks])
    bar.outline.set_visible(False)


def _scale(maps: list[Array], quantile: float) -> float:
    """Return the largest, over the maps, of the quantile of the absolute values."""
    return max((float(np.quantile(np.abs(values), quantile)) for values in maps), default=0.0)


# ---- arrays and grids ----------------------------------------------------------------------------


def _image_array(image: Any, name: str) -> Array:
    """Return any kind of image as an RGB array (H, W, 3) from 0 to 1, or raise ValueError."""
    if hasattr(image, "detach"):  # a tensor has its channels first
        values = image.detach().cpu().numpy()
        values = np.moveaxis(values, 0, -1) if values.ndim == 3 else values
    else:
        values = np.asarray(image)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or 0 in values.shape:
        raise ValueError(
            f"{name}: got an image of shape {tuple(np.shape(image))}; must be a tensor "
            "(3, H, W) or (1, H, W), or an array (H, W, 3) or (H, W)."
        )
    scaled: Array = values / 255.0 if values.dtype == np.uint8 else values.astype(float)
    if not np.isfinite(scaled).all():
        raise ValueError(f"{name}: got NaN or infinite values; must be numbers from 0 to 1.")
    if scaled.min() < -1e-4 or scaled.max() > 1 + 1e-4:
        raise ValueError(
            f"{name}: got values from {scaled.min():.2f} to {scaled.max():.2f}; must be from 0 to "
            "1. Undo the normalisation before showing an image."
        )
    clipped: Array = np.clip(np.repeat(scaled, 3 // scaled.shape[2], axis=2), 0.0, 1.0)
    return clipped


def _map_array(relevance: Any) -> Array:
    """Return relevance as an array (H, W), summed over channels, or raise ValueError."""
    is_tensor = hasattr(relevance, "detach")
    values: Array = np.asarray(relevance.detach().cpu().double() if is_tensor else relevance, float)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim == 3:
        values = np.asarray(values.sum(0))
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"relevance: got a map of shape {tuple(np.shape(relevance))}; must be (H, W), "
            "(C, H, W) or (1, C, H, W)."
        )
    if not np.isfinite(values).all():
        raise ValueError("relevance: got NaN or infinite values; must be finite numbers.")
    return values


def _grid(
    images: list[Array],
    titles: Sequence[str] | None,
    columns: int,
    title: str | None,
    size: float,
    below_each: float = 0.0,
    below_all: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with one frameless axes for each image, with their titles.

    `below_each`, `below_all`: inches to leave below a row and below everything.
    """
    count = len(images)
    if count == 0:
        raise ValueError("images: got none; must be at least one.")
    if titles is not None and len(titles) != count:
        raise ValueError(f"titles: got {len(titles)}; must be {count}, one for each image.")
    if columns < 1:
        raise ValueError(f"columns: got {columns}; must be 1 or more.")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    width = min(size, 10 / columns)
    title_lines = max((text.count("\n") + 1 for text in titles or ()), default=0)
    tallest = max(image.shape[0] / image.shape[1] for image in images)
    height = width * tallest + 0.2 * title_lines + below_each + 0.05
    above_all = 0.35 if title else 0.0
    fig = ShownFigure(figsize=(max(width * columns, 4.0), height * rows + above_all + below_all))
    axes = []
    for index in range(count):
        ax = fig.add_subplot(rows, columns, index + 1, anchor="N")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if titles is not None:
            ax.set_title(in_words(titles[index]))
        axes.append(ax)
    if title:
        fig.suptitle(title)
    return fig, axes
