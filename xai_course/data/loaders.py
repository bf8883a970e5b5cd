"""Batches for training: a data set in memory, and a loader whose order depends on a seed alone.

They serve BeetleBox and any ImageFolder.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
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

from xai_course.core.checks import check_count
from xai_course.core.progress import bar_class
from xai_course.data.image_files import read_image
from xai_course.data.parallel import read_in_processes

__all__ = ["in_memory", "loader"]


def in_memory(
    dataset: Dataset[Any],
    *,
    most_bytes: int = 4_000_000_000,
    workers: int | None = None,
    progress: bool = True,
) -> TensorDataset:
    """Read and transform every image once, and keep them as tensors.

    Decoding images takes a small network longer than learning from them. The transform runs once,
    so it should not be an augmenting one (use `augment` on the batches). 4000 images of 64 pixels
    take 0.2 GB.

    The files of a folder that `load_folder` opened are read by several processes. The transform
    runs in this one, image by image in their order, so the result does not depend on `workers`.

    Args:
        dataset: items (image, class), with images as tensors (C, H, W) of one shape.
        most_bytes: the most memory that the images may take, in bytes.
        workers: processes that read files. None: one for each core, up to 8, or this one alone for
            few images. 1: this process.
        progress: True shows a bar if it takes longer than a second.

    Returns:
        A data set of images (N, C, H, W) and class indices (N,).

    Raises:
        ValueError: if the data set is empty, gives anything but tensors of one shape, or would need
            more memory.

    Example:
        >>> import torch
        >>> from xai_course.data import in_memory
        >>> images, classes = in_memory([(torch.zeros(3, 4, 4), 1)] * 5).tensors
        >>> images.shape, classes
        (torch.Size([5, 3, 4, 4]), tensor([1, 1, 1, 1, 1]))
    """
    count = _length(dataset)
    images: Tensor | None = None
    labels = torch.empty(count, dtype=torch.long)
    with closing(_items(dataset, count, workers, progress)) as items:
        for i, (image, label) in enumerate(items):
            if images is None:
                images = _room_for(image, count, most_bytes)
            if not isinstance(image, Tensor) or image.shape != images.shape[1:]:
                got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
                raise ValueError(
                    f"dataset: got images of shape {tuple(images.shape[1:])} and, at index {i}, "
                    f"{got}; must be of one shape. Resize them in the transform."
                )
            images[i] = image
            labels[i] = label
    assert images is not None
    return TensorDataset(images, labels)


def _room_for(image: Any, count: int, most_bytes: int) -> Tensor:
    """Return an empty tensor (count, C, H, W) for images like this one."""
    if not isinstance(image, Tensor):
        raise ValueError(
            f"dataset: got images of the type {type(image).__name__}; must give tensors. Open "
            "it with a transform such as modern_transform()."
        )
    needed = count * image.numel() * image.element_size()
    if needed > most_bytes:
        raise ValueError(
            f"dataset: got images of {needed / 1e9:.1f} GB in all; must be at most "
            f"most_bytes = {most_bytes / 1e9:.1f} GB. Give it to loader() as it is, or make it "
            "smaller."
        )
    return torch.empty(count, *image.shape, dtype=image.dtype)


def _items(
    dataset: Dataset[Any], count: int, workers: int | None, progress: bool
) -> Generator[tuple[Any, Any], None, None]:
    """Yield all items of a data set; the files of a folder are read by several processes."""
    if getattr(dataset, "loader", None) is not read_image or not _is_plain_folder(dataset):
        bar = bar_class()(range(count), "reading", delay=1, leave=False, disable=not progress)
        yield from (dataset[i] for i in bar)
        return
    folder: Any = dataset
    paths = [Path(path) for path, _ in folder.samples]
    reading = read_in_processes(
        paths, "reading", with_pixels=True, workers=workers, progress=progress
    )
    with closing(reading) as answers:
        for (facts, pixels), (_, label) in zip(answers, folder.samples, strict=True):
            if "problem" in facts:
                raise ValueError(facts["problem"])
            image = Image.frombytes("RGB", facts["size"], pixels)
            yield (
                image if folder.transform is None else folder.transform(image),
                label if folder.target_transform is None else folder.target_transform(label),
            )


def _is_plain_folder(dataset: Any) -> bool:
    """Return whether a data set gets its items as ImageFolder does, and no other way."""
    from torchvision.datasets import ImageFolder

    return isinstance(dataset, ImageFolder) and type(dataset).__getitem__ is ImageFolder.__getitem__


def loader(
    dataset: Dataset[Any],
    batch_size: int = 64,
    shuffle: bool = False,
    seed: int = 0,
    workers: int = 0,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Any]:
    """Return a DataLoader whose order depends on `seed` alone, whatever the number of workers.

    Each pass over it has an order of its own. All are drawn from `loader.generator`; its state,
    saved and set again, continues the series of orders. Worker processes get different seeds for
    PyTorch, NumPy and Python, derived from the generator too, so an augmenting transform is
    repeatable for one number of workers; without workers it draws from PyTorch's global generator.

    A TensorDataset is already in memory: a batch is then one indexing operation, and `workers` is
    not used.

    Args:
        dataset: items (image, class).
        batch_size: images in a batch, of all processes together.
        shuffle: True for a random order, another one in each pass.
        seed: of the orders.
        workers: processes that read images; 0 reads them in this process.
        rank: the number of this process among those that train together, from 0.
        world_size: how many processes train together. All go through the same batches in the same
            order; of each batch this one gets the images rank, rank + world_size, ... Of the last
            batch, what cannot be shared evenly is left out.

    Returns:
        A DataLoader of batches (images, classes).

    Raises:
        ValueError: if the data set is empty, a number is out of range, or a batch cannot be shared
            evenly.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> from xai_course.data import loader
        >>> data = TensorDataset(torch.arange(7))
        >>> [batch[0].tolist() for batch in loader(data, batch_size=4, rank=1, world_size=2)]
        [[1, 3], [5]]
    """
    check_count("batch_size", batch_size)
    check_count("workers", workers, least=0)
    check_count("world_size", world_size)
    check_count("rank", rank, least=0, most=world_size - 1)
    count = _length(dataset)
    generator = torch.Generator().manual_seed(seed)
    order: Sampler[int] = (
        RandomSampler(range(count), generator=generator)
        if shuffle
        else SequentialSampler(range(count))
    )
    batches: Sampler[list[int]] = BatchSampler(order, batch_size, drop_last=False)
    if world_size > 1:
        batches = _RankSampler(batches, count, batch_size, rank, world_size)
    if isinstance(dataset, TensorDataset):
        return DataLoader(dataset, batch_size=None, sampler=batches, generator=generator)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        generator=generator,
    )


def _length(dataset: Dataset[Any]) -> int:
    """Return the number of items, or raise ValueError if there are none."""
    count = len(dataset)  # type: ignore[arg-type]
    if count == 0:
        raise ValueError("dataset: got no images; must hold at least one image.")
    return count


class _RankSampler(Sampler[list[int]]):
    """Of each batch of indices, those of one process."""

    def __init__(
        self, batches: Sampler[list[int]], items: int, batch_size: int, rank: int, world_size: int
    ) -> None:
        """Keep the batches of all processes, of `items` indices in all."""
        if batch_size % world_size:
            raise ValueError(
                f"batch_size: got {batch_size}; must be a multiple of {world_size}, the number of "
                "processes that share a batch."
            )
        self.batches, self.rank, self.world_size = batches, rank, world_size
        self.length = items // batch_size + (items % batch_size >= world_size)

    def __len__(self) -> int:
        """Return the number of batches that are not empty."""
        return self.length

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's indices of each batch."""
        for batch in self.batches:
            even = len(batch) - len(batch) % self.world_size
            if even:
                yield batch[self.rank : even : self.world_size]
