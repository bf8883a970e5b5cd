"""From images to the network's input: resize, normalise, augment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

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


# ---- pixels and a network's input ----------------------------------------------------------------


def normalise(
    pixels: Tensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Turn pixels in [0, 1] into a network's input, each channel by itself.

        input = (pixels - mean) / std

    Zero in the result is the mean colour, not black.

    Args:
        pixels: (N, C, H, W) or (C, H, W), floating point.
        mean: one number for each of the C channels.
        std: one number for each of the C channels.

    Returns:
        The input, of the same shape.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> import torch
        >>> from xai_course.data import IMAGENET_MEAN, normalise
        >>> normalise(torch.tensor(IMAGENET_MEAN).view(3, 1, 1)).flatten()
        tensor([0., 0., 0.])
    """
    check_image_batch("pixels", pixels, channels=len(mean), single=True)
    return (pixels - _by_channel(mean, pixels)) / _by_channel(std, pixels)


def denormalise(
    images: Tensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Turn a network's input back into pixels, the inverse of `normalise`.

        pixels = input · std + mean

    Args:
        images: (N, C, H, W) or (C, H, W), floating point.
        mean: one number for each of the C channels.
        std: one number for each of the C channels.

    Returns:
        Pixels, of the same shape.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> import torch
        >>> from xai_course.data import denormalise
        >>> denormalise(torch.zeros(3, 1, 1)).flatten()
        tensor([0.4850, 0.4560, 0.4060])
    """
    check_image_batch("images", images, channels=len(mean), single=True)
    return images * _by_channel(std, images) + _by_channel(mean, images)


def check_image_batch(
    name: str, images: Any, *, channels: int | None = None, single: bool = False
) -> None:
    """Raise ValueError unless images are floating point (N, C, H, W), or (C, H, W) if `single`."""
    letter = "C" if channels is None else str(channels)
    shapes = f"(N, {letter}, H, W)" + (f" or ({letter}, H, W)" if single else "")
    if not isinstance(images, Tensor):
        raise ValueError(f"{name}: got {type(images).__name__}; must be a tensor {shapes}.")
    has_batch = images.ndim == 4 or (single and images.ndim == 3)
    if not has_batch or 0 in images.shape[-2:] or channels not in (None, images.shape[-3]):
        raise ValueError(f"{name}: got shape {tuple(images.shape)}; must be {shapes}.")
    if not images.is_floating_point():
        raise ValueError(f"{name}: got {images.dtype}; must be floating point.")


def _by_channel(values: Sequence[float], images: Tensor) -> Tensor:
    """Return one number a channel as (C, 1, 1), of the images' dtype and device."""
    return images.new_tensor(values)[:, None, None]


# ---- transforms of PIL images --------------------------------------------------------------------


def article_transform(size: int = 224) -> Callable[[Image.Image], Tensor]:
    """Return the article's transform: resize, to a tensor, normalise.

    An image that is not square is squashed.

    Args:
        size: height and width of the result, in pixels.

    Returns:
        A function from an RGB image to a network's input (3, size, size).
    """
    from torchvision import transforms

    steps = [
        transforms.Resize((size, size)),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return transforms.Compose(steps)  # type: ignore[no-any-return]


def modern_transform(size: int = 64, augment: bool = False) -> Callable[[Image.Image], Tensor]:
    """Return the article's transform in today's form, torchvision.transforms.v2: the same numbers.

    `augment` adds variations that leave a beetle's species as it is: mirror images; rotations,
    shifts and zooms, so small that they seldom reach past an antenna; other light and colours. It
    adds no crops and no erasing, which may remove the part that makes the species, and no blur,
    which removes the pattern. The random numbers are drawn from PyTorch's global generator.

    Args:
        size: height and width of the result, in pixels.
        augment: True varies each image at random.

    Returns:
        A function from an RGB image to a network's input (3, size, size).
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


# ---- augmentation of batches ---------------------------------------------------------------------


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary a batch of images, each in its own way, by one resampling.

    Half of them are mirrored; all are rotated by up to 15 degrees, shifted by up to 6 % of the size
    and zoomed by up to 10 %. What comes in over the edge is the image's own reflection.

    Args:
        images: (N, C, H, W), floating point.
        generator: of the random numbers; the same state gives the same result.

    Returns:
        Varied images of the same shape, dtype and device.

    Raises:
        ValueError: if the images are not as described.
    """
    check_image_batch("images", images)
    count, _, height, width = images.shape
    draws = torch.rand(count, 5, 1, 1, generator=generator, device=generator.device) * 2 - 1
    turn, zoom, right, down, mirror = draws.to(images).unbind(1)  # each (N, 1, 1) in [-1, 1)
    turn, zoom = turn * torch.pi / 12, 1 + 0.1 * zoom
    # For each pixel of the result, the point of the image to read, in [-1, 1]: F.affine_grid
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
    """Mirror each image, left to right, with probability 1/2.

    It costs almost nothing, and a mirrored beetle keeps its species; `augment` varies more.

    Args:
        images: (N, C, H, W).
        generator: of the random numbers, on the CPU; the same state gives the same result.

    Returns:
        Images of the same shape.

    Example:
        >>> import torch
        >>> from xai_course.data import random_horizontal_flip
        >>> images = torch.tensor([[1.0, 2.0]] * 4).view(4, 1, 1, 2)
        >>> random_horizontal_flip(images, torch.Generator().manual_seed(0))[:, 0, 0, 0]
        tensor([2., 1., 2., 2.])
    """
    is_flipped = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(is_flipped.to(images.device)[:, None, None, None], images.flip(3), images)
