"""Scenes as tensors: stacks of images and masks, and a data set that draws its scenes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from xai_course.beetlebox.scene import CLUTTER, PARTS, SPECIES, Scene, image_bytes
from xai_course.beetlebox.scene import scenes as first_scenes
from xai_course.core.checks import check_count
from xai_course.data.transforms import normalise

__all__ = ["DrawnScenes", "clutter_masks", "stack_images", "stack_masks"]


# ---- scenes as tensors ---------------------------------------------------------------------------


def stack_images(scenes: Iterable[Scene], size: int = 64) -> Tensor:
    """Draw scenes into one tensor, not normalised.

    Args:
        scenes: N scenes.
        size: height and width in pixels, from 32 to 512.

    Returns:
        Images (N, 3, size, size), float32 in [0, 1].

    Raises:
        ValueError: if there are no scenes.

    Example:
        >>> from xai_course.beetlebox import scenes, stack_images
        >>> stack_images(scenes("test", "Ellipsa_polita", 2), size=32).shape
        torch.Size([2, 3, 32, 32])
    """
    images = [scene.image(size) for scene in scenes]
    if not images:
        raise ValueError("scenes: got none; must be at least one scene.")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def stack_masks(scenes: Iterable[Scene], size: int = 64) -> Tensor:
    """Draw the masks of the parts of scenes.

    Args:
        scenes: N scenes.
        size: height and width in pixels, from 32 to 512.

    Returns:
        Masks (N, len(PARTS), size, size), float32 in [0, 1], in the order of PARTS.

    Raises:
        ValueError: if there are no scenes.

    Example:
        >>> from xai_course.beetlebox import PARTS, scenes, stack_masks
        >>> masks = stack_masks(scenes("test", "Ellipsa_polita", 1), size=32)
        >>> dict(zip(PARTS, (masks.sum((0, 2, 3)) > 0).tolist()))["label"]  # no museum label
        False
    """
    return named_masks(scenes, PARTS, size)


def clutter_masks(scenes: Iterable[Scene], size: int = 64) -> Tensor:
    """Draw the masks of the pieces of clutter of scenes.

    Args:
        scenes: N scenes.
        size: height and width in pixels, from 32 to 512.

    Returns:
        Masks (N, pieces, size, size), float32 in [0, 1], in the order of CLUTTER. `pieces` is that
        of the scene with the most; a piece that a scene does not have is all zero.

    Raises:
        ValueError: if there are no scenes.

    Example:
        >>> from xai_course.beetlebox import clutter_masks, scenes
        >>> bare, littered = scenes("test", "Ellipsa_polita", 2)
        >>> masks = clutter_masks([bare, littered.with_clutter(3)], size=32)
        >>> masks.shape, (masks.sum((2, 3)) > 0).tolist()
        (torch.Size([2, 3, 32, 32]), [[False, False, False], [True, True, True]])
    """
    scenes = list(scenes)
    return named_masks(scenes, clutter_names(scenes), size)


def clutter_names(scenes: Iterable[Scene]) -> tuple[str, ...]:
    """Return the names of the pieces of clutter up to the highest that a scene has."""
    return CLUTTER[: max((number + 1 for scene in scenes for number in scene.clutter), default=0)]


def named_masks(scenes: Iterable[Scene], names: Sequence[str], size: int) -> Tensor:
    """Draw the masks of parts or clutter, by name: (N, names, size, size); 0 for what is not there.

    Raises ValueError if there are no scenes.
    """
    drawn = [scene.masks(size) for scene in scenes]
    if not drawn:
        raise ValueError("scenes: got none; must be at least one scene.")
    masks = np.zeros((len(drawn), len(names), size, size), np.float32)
    for n, by_name in enumerate(drawn):
        for i, name in enumerate(names):
            if name in by_name:
                masks[n, i] = by_name[name]
    return torch.from_numpy(masks)


# ---- loaders -------------------------------------------------------------------------------------


class DrawnScenes(Dataset[tuple[Tensor, int]]):
    """BeetleBox without a disk: each image is drawn when it is asked for, and then forgotten.

    It holds the first scenes of each species in a split, in the order of the folders on disk and
    with their 8-bit pixels. Item i is a pair of the normalised image (3, size, size) and the class.
    Memory does not grow with the number of scenes, and nothing depends on the number of worker
    processes. An image takes a millisecond or two each time, so where all fit into memory, use
    `in_memory` on it.

    Args:
        split: "train", "test", or "extra" for neither.
        per_species: scenes of each species, from 1 to 1,000,000.
        size: height and width in pixels, from 32 to 512.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> from xai_course.beetlebox import DrawnScenes
        >>> drawn = DrawnScenes("train", per_species=2, size=32)
        >>> image, label = drawn[19]  # the second of the tenth species
        >>> len(drawn), image.shape, label
        (20, torch.Size([3, 32, 32]), 9)
    """

    def __init__(self, split: str = "train", per_species: int = 400, size: int = 64) -> None:
        """Note where the seeds of each species begin."""
        check_count("per_species", per_species, most=1_000_000)
        self.first = [first_scenes(split, name, 1)[0] for name in SPECIES]
        self.per_species, self.size = per_species, size
        self.first[0].image(size)  # an unknown size is refused here, not in a worker

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.first) * self.per_species

    def scene(self, index: int) -> Scene:
        """Return the scene of an item, counted from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"index: got {index}; must be 0 to {len(self) - 1}.")
        label, number = divmod(index, self.per_species)
        return replace(self.first[label], seed=self.first[label].seed + number)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Draw one image."""
        image = torch.from_numpy(image_bytes(self.scene(index), self.size))
        # As torchvision reads a file: channels first, and a product, which rounds differently
        # from a division by 255.
        image = image.permute(2, 0, 1).float() * (1 / 255)
        return normalise(image).contiguous(), index // self.per_species
