"""Folders of images, transforms and loaders: for BeetleBox and for any ImageFolder.

Pixels are floats in [0, 1]. A network's input is `normalise(pixels)`: the ImageNet mean taken away,
divided by the ImageNet standard deviation, each channel for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
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

__all__ = ["in_memory", "loader"]


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
