"""What every explainer checks about its arguments, and how it chooses the logit to explain.

Two functions, each of which stands alone, so that an explainer can be copied together with them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def check_images(model: nn.Module, images: Tensor) -> Tensor:
    """Return a copy of the images that may be changed and differentiated; refuse what is wrong.

    `images`: floating-point tensor (N, C, H, W), without NaN or infinity. N may be zero.
    The copy has no history and no gradient, and may be used in autograd even if `images`
    was made under `torch.inference_mode()`.

    Raises ValueError if `model` is not an `nn.Module` in evaluation mode, or `images` is wrong.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: got {type(model).__name__}; allowed is a torch.nn.Module.")
    if any(module.training for module in model.modules()):
        name = next(name for name, module in model.named_modules() if module.training)
        raise ValueError(
            f"model: in training mode ({name or 'all of it'}), where batch normalisation and "
            "dropout make an explanation depend on the batch and on chance: call model.eval()."
        )
    if not isinstance(images, Tensor):
        raise ValueError(f"images: got {type(images).__name__}; allowed is a tensor (N, C, H, W).")
    if images.ndim != 4 or 0 in images.shape[1:]:
        hint = " For one image, pass images[None]." if images.ndim == 3 else ""
        raise ValueError(f"images: got shape {tuple(images.shape)}; allowed is (N, C, H, W).{hint}")
    if not images.is_floating_point():
        raise ValueError(f"images: got {images.dtype}; allowed is a floating-point tensor.")
    if not images.isfinite().all():
        raise ValueError("images: got NaN or infinite values; allowed are finite numbers.")
    return images.detach().clone()


def choose_classes(logits: Tensor, targets: Any = None) -> Tensor:
    """Return the index (N,) of the logit to explain in each row of the logits (N, classes).

    `targets`: None for the predicted class, one class index for all images, or N class indices.

    Raises ValueError if `logits` is not (N, classes) or not finite, or `targets` is wrong.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] == 0:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: its output is {shape}; allowed is one tensor (N, classes).")
    if not logits.isfinite().all():
        raise ValueError("model: its output has NaN or infinite values; allowed are finite logits.")
    if targets is None:
        return logits.argmax(1)
    count, classes = logits.shape
    allowed = f"allowed are None, one class index, or {count} of them, from 0 to {classes - 1}."
    try:
        chosen = torch.as_tensor(targets, device=logits.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"targets: got {targets!r}; {allowed}") from error
    if chosen.dtype == torch.bool or chosen.is_floating_point() or chosen.is_complex():
        raise ValueError(f"targets: got {chosen.dtype}; {allowed}")
    if chosen.ndim == 0:
        chosen = chosen.expand(count)
    if chosen.shape != (count,):
        raise ValueError(f"targets: got shape {tuple(chosen.shape)}; {allowed}")
    wrong = chosen[(chosen < 0) | (chosen >= classes)]
    if len(wrong):
        raise ValueError(f"targets: got {int(wrong[0])}; {allowed}")
    return chosen.long()
