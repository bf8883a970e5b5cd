"""Real networks and real photographs, without the internet where possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PHOTOGRAPHS", "photograph", "pixels"]


PHOTOGRAPHS = (  # the photographs inside the scikit-image package itself
    *("astronaut", "brick", "camera", "chelsea", "clock", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "moon", "rocket"),
)


def photograph(name: str) -> Image:
    """Return one of scikit-image's photographs as an RGB picture, without the internet.

    Raises ValueError for a name that is not in `PHOTOGRAPHS`.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"name: got {name!r}; allowed are {', '.join(PHOTOGRAPHS)}.")
    import skimage.data
    from PIL import Image

    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def pixels(inputs: Tensor, transform: Any) -> Tensor:
    """Undo a transform's normalisation for display: inputs (…, 3, H, W) to RGB in [0, 1].

    `transform`: what `photo_network` returned (it knows its `mean` and `std`, per channel).
    """
    mean, std = (inputs.new_tensor(t).view(3, 1, 1) for t in (transform.mean, transform.std))
    return (inputs.detach() * std + mean).clamp(0, 1)
