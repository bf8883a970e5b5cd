"""What every explainer does first and last: check its arguments, and bring a map to full size.

Each of the two functions stands alone, so that an explainer can be copied together with them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["upsample_keep_sum", "validate_inputs"]


def validate_inputs(
    model: nn.Module, images: Tensor, targets: Any = None, *, batch_size: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Check what an explainer is given, run the model once, and choose the logit to explain.

    Returns `x`, a copy of the images (N, C, H, W) without history, to differentiate by if gradients
    are on; `chosen` (N,), the logit to explain of each; and `classes` (N,), its index.
    `targets`: None for the predicted class, one class index for all, or N class indices.
    `batch_size`: images in one forward pass; None runs all at once.

    Raises ValueError if the model is no `nn.Module` in evaluation mode or does not give finite
    logits (N, classes), if the images are not finite floating-point numbers (N, C, H, W) of the
    model's dtype and device, and if there is no such target.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: got {type(model).__name__}; allowed is a torch.nn.Module.")
    for name, module in model.named_modules():
        if module.training:
            raise ValueError(
                f"model: in training mode ({name or 'all of it'}), where batch normalisation and "
                "dropout make an explanation depend on the batch and on chance: call model.eval()."
            )
    if not isinstance(images, Tensor):
        raise ValueError(f"images: got {type(images).__name__}; allowed is a tensor (N, C, H, W).")
    if images.ndim != 4 or 0 in images.shape:
        hint = " For one image, pass images[None]." if images.ndim == 3 else ""
        raise ValueError(f"images: got shape {tuple(images.shape)}; allowed is (N, C, H, W).{hint}")
    # One NaN or infinite value is seen in the sum, at once; a sum that overflows is no such value.
    if not images.is_floating_point() or not (images.sum().isfinite() or images.isfinite().all()):
        came = "NaN or infinite values" if images.is_floating_point() else str(images.dtype)
        raise ValueError(f"images: got {came}; allowed are finite floating-point numbers.")
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size: got {batch_size!r}; allowed is a whole number from 1.")

    x = images.detach().clone().requires_grad_(torch.is_grad_enabled())
    try:  # the model gets a copy, since its first layer may work in place
        outputs = [model(part.clone()) for part in torch.split(x, batch_size or len(x))]
    except RuntimeError as error:
        weight = next((p for p in model.parameters() if p.is_floating_point()), x)
        if (weight.dtype, weight.device) == (x.dtype, x.device):
            raise
        raise ValueError(
            f"images: got {x.dtype} on {x.device}; the model's weights are {weight.dtype} on "
            f"{weight.device}: move the images with images.to(next(model.parameters()))."
        ) from error
    logits = torch.cat(outputs) if isinstance(outputs[0], Tensor) else outputs[0]
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: its output is {shape}; allowed is one tensor (N, classes).")
    if not (logits.sum().isfinite() or logits.isfinite().all()):
        raise ValueError("model: its output has NaN or infinite values; allowed are finite logits.")

    count, many = logits.shape
    allowed = f"allowed are None, one class index, or {count} of them, from 0 to {many - 1}."
    try:
        classes = torch.as_tensor(logits.argmax(1) if targets is None else targets).to(x.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"targets: got {targets!r}; {allowed}") from error
    if classes.dtype == torch.bool or classes.is_floating_point() or classes.is_complex():
        raise ValueError(f"targets: got {classes.dtype}; {allowed}")
    if classes.ndim and classes.shape != (count,):
        raise ValueError(f"targets: got shape {tuple(classes.shape)}; {allowed}")
    classes = classes.long().expand(count)
    if ((classes < 0) | (classes >= many)).any():
        wrong = classes[(classes < 0) | (classes >= many)]
        raise ValueError(f"targets: got {int(wrong[0])}; {allowed}")
    return x, logits.gather(1, classes[:, None])[:, 0], classes


def upsample_keep_sum(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge maps (N, K, h, w) to (N, K, H, W) by bilinear interpolation and keep their sums.

    Each place's value is spread over the pixels around it, in the shares that the interpolation
    gives them, so what a map says in logits stays in logits. Where a map is larger than H or W,
    the places that share a pixel are added up:

        Σ over H·W of the result = Σ over h·w of the map
    """
    if maps.shape[2:] == size:
        return maps
    shares = []  # which share of each place goes to each pixel: (h, H) and (w, W)
    for n, pixels in zip(maps.shape[2:], size, strict=True):
        one_hot = torch.eye(n, dtype=maps.dtype, device=maps.device)
        if n > pixels:
            share = one_hot[:, :pixels].zero_()
            share[range(n), [place * pixels // n for place in range(n)]] = 1
        else:
            share = F.interpolate(one_hot[None], pixels, mode="linear", align_corners=False)[0]
        shares.append(share / share.sum(1, keepdim=True))
    return shares[0].T @ maps @ shares[1]
