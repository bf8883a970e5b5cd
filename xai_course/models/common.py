"""What the course's networks share: checks of their arguments, and the number of weights."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["count_weights"]


def _check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse anything but a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _check_images(images: Tensor) -> None:
    """Refuse anything but a floating-point batch of RGB images."""
    if not isinstance(images, Tensor):
        raise ValueError(f"images must be a tensor (N, 3, H, W), got {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(f"images must have shape (N, 3, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point, got {images.dtype}")


def count_weights(model: nn.Module) -> int:
    """Count the trainable numbers of a model."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
