"""Batches of images on their way into a model: where they lie, how, and what they must be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from xai_course.core.outputs import check_two_classes

__all__ = ["choose_device"]


class Loader(Protocol):
    """Anything with a length that yields batches of images (N, C, H, W) and labels (N,)."""

    def __iter__(self) -> Iterator[Any]:
        """Start a pass over the batches."""

    def __len__(self) -> int:
        """Return the number of batches."""


def choose_device() -> torch.device:
    """Choose the fastest device there is: CUDA, else Apple's MPS, else the CPU.

    Returns:
        The device.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def image_layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Choose how a batch of images lies in memory when a model is trained on a device.

    On the CPU with channels last, which makes convolutions faster (~1.5x). Not so if the model has
    a 1x1 convolution with a stride and fewer input channels than fit a register (8 with AVX2, 16
    with AVX-512): in its backward pass oneDNN 3.12 writes past its memory, which ends in wrong
    gradients, a crash or neither (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """
    if device.type != "cpu":
        return torch.contiguous_format
    channels = 8 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 16
    for layer in model.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and layer.stride != (1, 1)
            and layer.in_channels < channels
        ):
            return torch.contiguous_format
    return torch.channels_last


def move_images(images: Tensor, device: torch.device, model: nn.Module) -> Tensor:
    """Move images to a device, in the layout that the model is fast with."""
    return images.to(device).contiguous(memory_format=image_layout(model, device))


def count_batches(name: str, loader: Loader) -> int:
    """Return the number of batches; raise ValueError for a loader without length or batches."""
    try:
        count = len(loader)
    except TypeError:
        raise ValueError(
            f"{name}: got {type(loader).__name__}; must have a length, the number of its batches."
        ) from None
    if count < 1:
        raise ValueError(f"{name}: got an empty loader; must have at least one batch.")
    return count


def check_batch(name: str, images: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless images are (N, C, H, W), floating point, and labels N class indices.

    `name`: of the argument that yielded the batch.
    """
    for part, value in (("images", images), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}: its {part} are {type(value).__name__}; must be tensors.")
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"{name}: got images {tuple(images.shape)} {images.dtype}; "
            "must be floating-point images (N, C, H, W)."
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
        raise ValueError(
            f"{name}: got labels {tuple(labels.shape)} {labels.dtype}; "
            f"must be int64, one for each of {len(images)} images (at least 1)."
        )


def check_logits(name: str, logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless logits are (N, classes) and labels are among these classes."""
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(
            f"model: got the output {tuple(logits.shape)} for {len(labels)} images; "
            "must be logits (N, classes)."
        )
    check_two_classes(logits)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"{name}: got labels from {low} to {high}; must be from 0 to {logits.shape[1] - 1}, "
            f"because the model has {logits.shape[1]} classes."
        )
