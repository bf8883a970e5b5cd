"""What a classifier predicts: logits and accuracy on any loader of (images, labels)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from xai_course.training.batches import Loader, check_batch, check_logits, move_images

__all__ = ["evaluate", "predict"]


def predict(model: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Return the logits and the labels of all images of a loader.

    Args:
        model: a classifier that returns logits (N, classes). It is used in evaluation mode, on its
            own device, and its modes are restored.
        loader: yields images (N, C, H, W) and class indices (N,).

    Returns:
        The logits (N, classes) and the labels (N,) of all batches, on the CPU.

    Raises:
        ValueError: for an empty loader, or labels that are not classes of the model.

    Cost:
        One forward pass.
    """
    weight = next(model.parameters(), None)
    device = torch.device("cpu") if weight is None else weight.device
    logits, labels = [], []
    with restored_modes(model), torch.no_grad():
        model.eval()
        for images, batch_labels in loader:
            check_batch("loader", images, batch_labels)
            output = model(move_images(images, device, model))  # (N, classes)
            check_logits("loader", output, batch_labels)
            logits.append(output.cpu())
            labels.append(batch_labels.cpu())
    if not logits:
        raise ValueError("loader: got an empty loader; must yield at least one batch.")
    return torch.cat(logits), torch.cat(labels)


def evaluate(model: nn.Module, loader: Loader) -> float:
    """Return the accuracy: the share of images whose largest logit is that of their label.

    Args:
        model: as for `predict`.
        loader: as for `predict`.

    Returns:
        The accuracy, from 0 to 1.

    Raises:
        ValueError: as `predict`.

    Cost:
        One forward pass.
    """
    logits, labels = predict(model, loader)
    return (logits.argmax(1) == labels).double().mean().item()


@contextmanager
def restored_modes(model: nn.Module) -> Iterator[None]:
    """At the end, put every module back into the mode (training or evaluation) it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
