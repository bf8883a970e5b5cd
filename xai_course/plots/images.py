"""Pictures: galleries, relevance over photographs, and the charts. All lessons draw with these.

Each function returns a matplotlib `Figure` of its own, free of pyplot's global state; `figure`
shows it in a notebook.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xai_course.plots.style import AGAINST, FOR, GREY, png, styled

__all__ = ["figure", "gallery", "overlay", "relevance_colours"]


Array = NDArray[np.float64]


def figure(fig: Figure, alt: str, caption: str | None = None) -> None:
    """Show a figure in a notebook as a PNG with a text for those who cannot see it.

    `alt` says in words what the picture shows. `caption` is Markdown, shown below. The same figure
    gives the same bytes. The figure is emptied afterwards. Raises ValueError without an `alt`.
    """
    from IPython.display import Image, Markdown, display

    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            f"alt: got {alt!r}; allowed is a sentence that says what the figure shows."
        )
    display(Image(data=png(fig), format="png", alt=alt.strip()))  # type: ignore[no-untyped-call]
    if caption:
        display(Markdown(f"*{caption.strip()}*"))  # type: ignore[no-untyped-call]
    fig.clear()


# ------------------------------------------------------------------ pictures


@styled
def gallery(
    images: Any,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 5,
    title: str | None = None,
    size: float = 1.8,
) -> Figure:
    """Return pictures side by side, each under its own title, `columns` in a row.

    `images`: a tensor (N, 3, H, W), or a sequence of pictures: tensors (3, H, W) or (1, H, W),
    NumPy arrays (H, W, 3) or (H, W), or PIL pictures; numbers in [0, 1] or whole numbers 0 to 255.
    `size`: inches of one picture, made smaller where the row would pass 10 inches.
    Raises ValueError for other shapes, NaN, values outside [0, 1], and titles of another number.
    """
    pictures = [_picture(image, "images") for image in images]
    fig, axes = _grid(pictures, titles, columns, title, size)
    for ax, picture in zip(axes, pictures, strict=True):
        ax.imshow(picture, interpolation="nearest" if len(picture) < 100 else "antialiased")
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
    unit: str = "logits",
    size: float = 2.6,
) -> Figure:
    """Return signed relevance in colour over a grey version of each picture.

    `images`: as in `gallery`. `relevance`: as many maps (C, H, W), (1, C, H, W) or (H, W), or a
    tensor (N, C, H, W); channels are added up. A map that is None shows its picture in colour.
    Vermilion speaks for the class and blue against it; the stronger, the more opaque; at zero the
    grey picture is all there is.
    `shared_scale`: one scale for all panels. Otherwise each panel has its own, written below it:
    for methods whose units differ.
    `quantile`: the scale ends where this share of the absolute values does, so that a few
    extreme pixels do not make the rest invisible (the colour bar says so); 1 is the maximum.
    Raises ValueError for NaN, for sizes that do not fit, and a quantile outside (0, 1].
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile: got {quantile}; allowed is above 0 and at most 1.")
    pictures = [_picture(image, "images") for image in images]
    maps = [None if r is None else _map(r) for r in relevance]
    if len(maps) != len(pictures):
        raise ValueError(
            f"relevance: got {len(maps)} maps; allowed are {len(pictures)}, as images."
        )
    for picture, values in zip(pictures, maps, strict=True):
        if values is not None and values.shape != picture.shape[:2]:
            raise ValueError(
                f"relevance: got a map of {values.shape}; allowed is the size of its image, "
                f"{picture.shape[:2]}."
            )
    drawn = [values for values in maps if values is not None]
    common = _scale(drawn, quantile) if shared_scale else 0.0
    extra = 0.0 if shared_scale else 0.25  # inches, for the line below a panel
    fig, axes = _grid(pictures, titles, columns, title, size, extra, 0.95 if drawn else 0.0)
    for ax, picture, values in zip(axes, pictures, maps, strict=True):
        if values is None:
            ax.imshow(picture)
            continue
        scale = common if shared_scale else _scale([values], quantile)
        ax.imshow(0.25 + 0.75 * picture.mean(2), cmap="gray", vmin=0, vmax=1)
        ax.imshow(relevance_colours(values, scale), interpolation="nearest")
        if not shared_scale:
            ax.set_xlabel(f"full colour at ±{scale:.2g}", fontsize=10, color=GREY)
    if drawn:
        end = common if shared_scale and common > 0 else 1.0
        ends = "maximum" if quantile == 1 else f"{100 * quantile:g} % quantile"
        measure = unit if shared_scale else "share of each panel's own scale"
        _relevance_bar(fig, axes, end, f"{measure}; full colour at the {ends} of |relevance|")
    return fig


def relevance_colours(relevance: Array, scale: float) -> Array:
    """Return the colour and opacity (H, W, 4) of signed relevance (H, W), symmetric about zero.

    Transparent at 0; 0.9 opaque at ±`scale` and beyond. A scale of 0, of a map without relevance,
    makes everything transparent.
    """
    strength = np.clip(relevance / scale, -1, 1) if scale > 0 else np.zeros_like(relevance)
    ends = np.array([to_rgb(AGAINST), to_rgb(FOR)])
    colours = np.empty((*relevance.shape, 4))
    colours[..., :3] = ends[(strength > 0).astype(int)]
    colours[..., 3] = 0.9 * np.abs(strength)
    return colours


def _relevance_bar(fig: Figure, axes: list[Axes], end: float, label: str) -> None:
    """Draw one colour bar for all panels: the colours as they look on a light grey."""
    values = np.linspace(-1, 1, 255)
    colours = relevance_colours(values[None], 1.0)[0]
    mixed = colours[:, :3] * colours[:, 3:] + 0.92 * (1 - colours[:, 3:])
    mappable = ScalarMappable(Normalize(-end, end), ListedColormap(mixed))
    bar = fig.colorbar(mappable, ax=axes, location="bottom", shrink=0.7, aspect=45, pad=0.04)
    bar.set_label(f"← against the class        relevance        for the class →\n({label})")
    ticks = [-end, -end / 2, 0, end / 2, end]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}".replace("-", "−") for tick in ticks])
    bar.outline.set_visible(False)


def _scale(maps: list[Array], quantile: float) -> float:
    """Return the largest, over the maps, of the quantile of the absolute values."""
    return max((float(np.quantile(np.abs(values), quantile)) for values in maps), default=0.0)


def _picture(image: Any, name: str) -> Array:
    """Return any kind of picture as an RGB array (H, W, 3) in [0, 1], or say what is wrong."""
    if hasattr(image, "detach"):  # a tensor has its channels first
        values = image.detach().cpu().numpy()
        values = np.moveaxis(values, 0, -1) if values.ndim == 3 else values
    else:
        values = np.asarray(image)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or 0 in values.shape:
        raise ValueError(
            f"{name}: got a picture of shape {tuple(np.shape(image))}; allowed are tensors "
            "(3, H, W) or (1, H, W) and arrays (H, W, 3) or (H, W)."
        )
    scaled: Array = values / 255.0 if values.dtype == np.uint8 else values.astype(float)
    if not np.isfinite(scaled).all():
        raise ValueError(f"{name}: got NaN or infinite values; allowed are numbers from 0 to 1.")
    if scaled.min() < -1e-4 or scaled.max() > 1 + 1e-4:
        raise ValueError(
            f"{name}: got values from {scaled.min():.2f} to {scaled.max():.2f}; allowed is 0 to 1. "
            "Undo the normalisation before showing an image."
        )
    clipped: Array = np.clip(np.repeat(scaled, 3 // scaled.shape[2], axis=2), 0.0, 1.0)
    return clipped


def _map(relevance: Any) -> Array:
    """Return relevance as an array (H, W), summed over channels, or say what is wrong."""
    tensor = hasattr(relevance, "detach")
    values: Array = np.asarray(relevance.detach().cpu().double() if tensor else relevance, float)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim == 3:
        values = np.asarray(values.sum(0))
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"relevance: got a map of shape {tuple(np.shape(relevance))}; allowed is (H, W), "
            "(C, H, W) or (1, C, H, W)."
        )
    if not np.isfinite(values).all():
        raise ValueError("relevance: got NaN or infinite values; allowed are finite numbers.")
    return values


def _grid(
    pictures: list[Array],
    titles: Sequence[str] | None,
    columns: int,
    title: str | None,
    size: float,
    below_each: float = 0.0,
    below_all: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with one frameless axes a picture, `columns` in a row, with their titles.

    `below_each`, `below_all`: inches to leave below a row and below everything.
    """
    count = len(pictures)
    if count == 0:
        raise ValueError("images: got none; allowed is at least one.")
    if titles is not None and len(titles) != count:
        raise ValueError(f"titles: got {len(titles)}; allowed are {count}, one for each image.")
    if columns < 1:
        raise ValueError(f"columns: got {columns}; allowed is 1 or more.")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    wide = min(size, 10 / columns)
    lines = max((text.count("\n") + 1 for text in titles or ()), default=0)
    high = wide * max(p.shape[0] / p.shape[1] for p in pictures) + 0.2 * lines + below_each + 0.05
    fig = Figure(figsize=(max(wide * columns, 4.0), high * rows + 0.35 * bool(title) + below_all))
    axes = []
    for place in range(count):
        ax = fig.add_subplot(rows, columns, place + 1, anchor="N")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if titles is not None:
            ax.set_title(titles[place])
        axes.append(ax)
    if title:
        fig.suptitle(title)
    return fig, axes
