"""The field guide: all species on one page."""

from __future__ import annotations

from matplotlib.figure import Figure

from xai_course.beetlebox.scene import SPECIES, Scene
from xai_course.core.translation import translate
from xai_course.plots.style import ShownFigure, fonts

__all__ = ["field_guide", "species_name"]


# One handsome specimen of each species, in the order of SPECIES.
SPECIMENS = (10, 59, 7, 24, 15, 16, 30, 32, 21, 37)
PAPER = "#fbf8f0"


def species_name(species: str) -> str:
    """Return a species' name as it stands in print.

    Args:
        species: the name of its folder.

    Returns:
        The name with spaces, to be set in italics.

    Raises:
        AttributeError: if it is no text.

    Example:
        >>> from xai_course.beetlebox import species_name
        >>> species_name("Ellipsa_polita")
        'Ellipsa polita'
    """
    return species.replace("_", " ")


def field_guide(size: int = 176) -> Figure:
    """Draw all ten species on one page: a specimen, its name and its four traits.

    Args:
        size: height and width of a specimen in pixels, from 32 to 512.

    Returns:
        A Matplotlib figure.

    Raises:
        ValueError: for another size.

    Example:
        >>> from xai_course.beetlebox import field_guide
        >>> len(field_guide(size=32).axes)
        10
    """
    figure = ShownFigure(figsize=(10, 6.0), facecolor=PAPER)
    axes = figure.subplots(2, 5)
    for axis, (species, traits), seed in zip(axes.flat, SPECIES.items(), SPECIMENS, strict=True):
        axis.imshow(Scene(species, seed).image(size), interpolation="lanczos")
        axis.set_title(species_name(species), style="italic", family="serif", fontsize=12.5, pad=5)
        horn = translate("no horn")
        if traits.horn != "none":
            horn = translate("{kind} horn", kind=translate(traits.horn))
        words = translate(
            "{outline}, {pattern}\n{horn}\n{antennae} antennae",
            outline=translate(traits.outline),
            pattern=translate(traits.pattern),
            horn=horn,
            antennae=translate(traits.antennae),
        )
        family = fonts().get("font.family")
        axis.set_xlabel(words, fontsize=10, labelpad=5, linespacing=1.25, fontfamily=family)
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(color="#6b5d45", linewidth=1.2)
    figure.subplots_adjust(0.015, 0.13, 0.985, 0.94, wspace=0.06, hspace=0.52)
    return figure
