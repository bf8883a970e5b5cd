"""From pictures to the network's input: resize, normalise, augment."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "article_transform",
    "augment",
    "denormalise",
    "modern_transform",
    "normalise",
    "random_horizontal_flip",
]


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


# ---- transforms ----------------------------------------------------------------------------------


def normalise(pixels: Tensor) -> Tensor:
    """Turn pixels in [0, 1] into a network's input: (pixels - mean) / std for each channel.

    (N, 3, H, W) or (3, H, W), floating point. Zero in the result is the mean colour, not black.
    """
    mean, std = _constants(pixels, "pixels")
    return (pixels - mean) / std


def denormalise(images: Tensor) -> Tensor:
    """Turn a network's input back into pixels, the inverse of `normalise`: images * std + mean."""
    mean, std = _constants(images, "images")
    return images * std + mean


def _constants(images: Tensor, name: str) -> tuple[Tensor, Tensor]:
    if images.ndim not in (3, 4) or images.shape[-3] != 3:
        raise ValueError(
            f"{name} must have shape (N, 3, H, W) or (3, H, W), got {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {images.dtype}")
    mean, std = (
        images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return mean, std


def article_transform(size: int = 224) -> Callable[[Image.Image], Tensor]:
    """Return the article's transform: an RGB picture to a network's input (3, size, size).

    Resize (which squashes a picture that is not square), ToTensor, Normalize.
    """
    from torchvision import transforms

    steps = [
        transforms.Resize((size, size)),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return transforms.Compose(steps)  # type: ignore[no-any-return]


def modern_transform(size: int = 64, augment: bool = False) -> Callable[[Image.Image], Tensor]:
    """Return the same transform in today's form, torchvision.transforms.v2, with the same result.

    With `augment`, what leaves a beetle's species as it is: mirror images; turns, shifts and zooms,
    so small that they seldom reach past an antenna; other light and colours. Not in it: crops and
    erasing (they may take away the part that makes the species) and blur (it takes the pattern).
    The random numbers are PyTorch's own: `torch.manual_seed` repeats them.
    """
    from torchvision.transforms import v2

    grey = [round(255 * mean) for mean in IMAGENET_MEAN]  # becomes 0 when normalised
    variations = [
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(degrees=15, translate=(0.06, 0.06), scale=(0.9, 1.1), fill=grey),
        v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05),
    ]
    steps = [
        v2.Resize((size, size)),
        *(variations if augment else []),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return v2.Compose(steps)  # type: ignore[no-any-return]


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary a batch of images (N, C, H, W), each in its own way, by one resampling.

    Half of them mirrored; turned by up to 15 degrees, shifted by up to 6 % of the size, zoomed by
    up to 10 %. What comes in over the edge is the picture's own reflection. Same shape, dtype and
    device; the same state of the generator gives the same result.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"images must be floating point (N, C, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    count, _, height, width = images.shape
    random = torch.rand(count, 5, 1, 1, generator=generator, device=generator.device) * 2 - 1
    turn, zoom, right, down, mirror = random.to(images).unbind(1)  # each (N, 1, 1) in [-1, 1)
    turn, zoom = turn * torch.pi / 12, 1 + 0.1 * zoom
    # For each place of the result, from -1 to 1, the place of the image to read: F.affine_grid
    # does the same, but takes as long as all the rest.
    x = (torch.arange(width).to(images) * 2 + 1) / width - 1
    y = ((torch.arange(height).to(images) * 2 + 1) / height - 1)[:, None]
    x, y = x * torch.where(mirror < 0, -width, width), y * height  # pixels are square
    x, y = (x * turn.cos() - y * turn.sin()) / zoom, (x * turn.sin() + y * turn.cos()) / zoom
    grid = torch.stack([x / width + 0.12 * right, y / height + 0.12 * down], dim=1)  # (N, 2, H, W)
    return F.grid_sample(
        images, grid.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False
    )


def random_horizontal_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image (N, C, H, W), left to right, with probability 1/2: for `fit(augment=)`.

    Almost free, and a beetle in the mirror keeps its species; `data.augment` varies more.
    """
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.to(images.device)[:, None, None, None], images.flip(3), images)
