"""Real photographs, without the internet, and a network's input turned back into an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from xai_course.core.checks import check_choice

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PHOTOGRAPHS", "photograph", "to_pixels"]


PHOTOGRAPHS = (  # the photographs inside the scikit-image package itself
    *("astronaut", "brick", "camera", "chelsea", "clock", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "moon", "rocket"),
)


def photograph(name: str) -> Image:
    """Return one of scikit-image's photographs, without the internet.

    Args:
        name: one of `PHOTOGRAPHS`.

    Returns:
        An RGB image.

    Raises:
        ValueError: if there is no photograph of this name.

    Example:
        >>> from xai_course.data import photograph
        >>> photograph("coffee").size
        (600, 400)
    """
    check_choice("name", name, PHOTOGRAPHS)
    import skimage.data
    from PIL import Image

    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def to_pixels(inputs: Tensor, transform: Any) -> Tensor:
    """Undo a transform's normalisation, for display.

        pixels = clip(input · std + mean)

    Args:
        inputs: a network's input (..., 3, H, W).
        transform: what `photo_network` returned; it has `mean` and `std`, one number a channel.

    Returns:
        RGB pixels (..., 3, H, W) in [0, 1].
    """
    mean, std = (inputs.new_tensor(t).view(3, 1, 1) for t in (transform.mean, transform.std))
    return (inputs.detach() * std + mean).clamp(0, 1)
