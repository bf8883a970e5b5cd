"""Folders of images, transforms and loaders: for BeetleBox and for any ImageFolder.

Pixels are floats in [0, 1]. A network's input is `normalise(pixels)`: the ImageNet mean taken away,
divided by the ImageNet standard deviation, each channel for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
)

from xai_course import beetles
from xai_course.folders import (
    check_folder,
    data_folder,
    download,
    load_folder,
    load_folders,
    read_image,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "DrawnScenes",
    "article_transform",
    "augment",
    "check_folder",
    "data_folder",
    "denormalise",
    "download",
    "in_memory",
    "load_folder",
    "load_folders",
    "loader",
    "modern_transform",
    "normalise",
    "read_image",
    "stack_images",
    "stack_masks",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


# ---- scenes as tensors ---------------------------------------------------------------------------


def stack_images(scenes: Iterable[beetles.Scene], size: int = 64) -> Tensor:
    """Draw scenes into one tensor (N, 3, size, size), float32 in [0, 1]; not normalised.

    Raises ValueError if there are no scenes.
    """
    images = [scene.image(size) for scene in scenes]
    if not images:
        raise ValueError("scenes must hold at least one scene, got none")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def stack_masks(scenes: Iterable[beetles.Scene], size: int = 64) -> Tensor:
    """Draw the masks of scenes: (N, len(PARTS), size, size), float32 in [0, 1], in order of PARTS.

    Raises ValueError if there are no scenes.
    """
    masks = []
    for scene in scenes:
        by_part = scene.masks(size)
        masks.append(np.stack([by_part[part] for part in beetles.PARTS]))
    if not masks:
        raise ValueError("scenes must hold at least one scene, got none")
    return torch.from_numpy(np.stack(masks))


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


# ---- loaders -------------------------------------------------------------------------------------


class DrawnScenes(Dataset[tuple[Tensor, int]]):
    """BeetleBox without a disk: each image is drawn when it is asked for, and then forgotten.

    The first `per_species` scenes of each species in a split, in the order of the folders on disk
    and with their 8-bit pixels: item i is (normalised image (3, size, size), class). Memory does
    not grow with the number, nor does anything depend on the number of worker processes. An image
    takes a millisecond or two each time, so where all fit, use `in_memory` on it.

    Raises ValueError for an unknown split or size, and for a number outside 1 to 1,000,000.
    """

    def __init__(self, split: str = "train", per_species: int = 400, size: int = 64) -> None:
        """Note where the seeds of each species begin."""
        if not isinstance(per_species, int) or not 1 <= per_species <= 1_000_000:
            raise ValueError(
                f"per_species: got {per_species!r}; allowed is a whole number from 1 to 1,000,000."
            )
        self.first = [beetles.scenes(split, name, 1)[0] for name in beetles.SPECIES]
        self.per_species, self.size = per_species, size
        self.first[0].image(size)  # an unknown size is refused here, not in a worker

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.first) * self.per_species

    def scene(self, index: int) -> beetles.Scene:
        """Return the scene of an item, counted from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"index: got {index}; allowed is 0 to {len(self) - 1}.")
        label, number = divmod(index, self.per_species)
        return replace(self.first[label], seed=self.first[label].seed + number)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Draw one image."""
        bytes_ = np.rint(self.scene(index).image(self.size) * 255).astype(np.uint8)
        pixels = torch.from_numpy(bytes_).permute(2, 0, 1).float() * (1 / 255)  # as torchvision
        return normalise(pixels).contiguous(), index // self.per_species


def in_memory(dataset: Dataset[Any], *, most_bytes: int = 4_000_000_000) -> TensorDataset:
    """Read and transform every image once: a TensorDataset of images (N, C, H, W) and classes (N,).

    For a small network, decoding takes longer than learning. The transform runs once, so it should
    not be an augmenting one (use `augment` on the batches). 4000 images of 64 pixels take 0.2 GB.

    Raises ValueError if the data set is empty, gives anything but tensors of one shape, or would
    need more than `most_bytes`.
    """
    count = len(dataset)  # type: ignore[arg-type]
    if count == 0:
        raise ValueError("dataset must hold at least one image, got none")
    images = None
    labels = torch.empty(count, dtype=torch.long)
    for i in range(count):
        image, label = dataset[i]
        if not isinstance(image, Tensor):
            raise ValueError(
                "dataset must give tensors; open it with a transform such as modern_transform(), "
                f"got {type(image).__name__}"
            )
        if images is None:
            if (needed := count * image.numel() * image.element_size()) > most_bytes:
                raise ValueError(
                    f"dataset would need {needed / 1e9:.1f} GB of memory, allowed is most_bytes = "
                    f"{most_bytes / 1e9:.1f} GB; give it to loader() as it is, or make it smaller"
                )
            images = torch.empty(count, *image.shape, dtype=image.dtype)
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"dataset must give images of one shape, got {tuple(images.shape[1:])} and, at "
                f"index {i}, {tuple(image.shape)}; resize them to one size in the transform"
            )
        images[i] = image
        labels[i] = label
    assert images is not None
    return TensorDataset(images, labels)


def loader(
    dataset: Dataset[Any],
    batch_size: int = 64,
    shuffle: bool = False,
    seed: int = 0,
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> DataLoader[Any]:
    """Return a DataLoader whose order depends on `seed` alone, whatever the number of workers.

    Each pass over it has an order of its own; all draw on `loader.generator`, whose state, saved
    and set again, continues the series of orders. Worker processes get different seeds for PyTorch,
    NumPy and Python, derived from it too, so an augmenting transform is repeatable for one number
    of workers; with none, it draws on PyTorch's global generator (`torch.manual_seed`).

    A TensorDataset is already in memory: a batch is then one indexing operation, and `workers` is
    not used.

    `share`: (number, count), for process `number`, from 0, of `count` that train together: of each
    batch it gets the images number, number + count, ... All processes go through the same batches
    in the same order and get equally many images; of the last batch, what cannot be shared out
    evenly is left out.

    Raises ValueError if `batch_size`, `workers` or `share` is out of range, if a batch cannot be
    shared out evenly, or the data set is empty.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    count = len(dataset)  # type: ignore[arg-type]
    if count == 0:
        raise ValueError("dataset must hold at least one image, got none")
    generator = torch.Generator().manual_seed(seed)
    order: Sampler[int] = (
        RandomSampler(range(count), generator=generator)
        if shuffle
        else SequentialSampler(range(count))
    )
    batches: Sampler[list[int]] = BatchSampler(order, batch_size, drop_last=False)
    if share != (0, 1):
        batches = _Share(batches, count, batch_size, *share)
    if isinstance(dataset, TensorDataset):
        return DataLoader(dataset, batch_size=None, sampler=batches, generator=generator)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        generator=generator,
    )


class _Share(Sampler[list[int]]):
    """Of each batch of indices, the share of one process."""

    def __init__(
        self, batches: Sampler[list[int]], items: int, batch_size: int, number: int, count: int
    ) -> None:
        if not 0 <= number < count:
            raise ValueError(
                f"share must be (number, count) with number from 0 to count - 1, got "
                f"{(number, count)}"
            )
        if batch_size % count:
            raise ValueError(
                f"batch_size must be a multiple of {count}, the processes that share a batch, got "
                f"{batch_size}"
            )
        self.batches, self.number, self.count = batches, number, count
        self.length = items // batch_size + (items % batch_size >= count)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            even = len(batch) - len(batch) % self.count
            if even:
                yield batch[self.number : even : self.count]
