"""Technique 1: what the ReLUs let through. Explanations by the derivative of a logit.

A network of convolutions and ReLUs is piecewise linear: around one image it is a linear map, and
the gradient is that map's weights.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.arguments import check_images, choose_classes

__all__ = ["forward_to_map", "grad_cam", "gradient"]


@torch.inference_mode(False)
@torch.enable_grad()
def gradient(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return the derivative of the chosen logit by each input value, with its sign.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits per unit of the input.
    `targets`: class indices (N,), one index, or None for the predicted class.

        relevance = ∂ logit[target] / ∂ images

    One forward and one backward pass. Raises ValueError for wrong arguments, and for a model
    whose output autograd cannot follow back to the input.

    Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks. 2013, arXiv:1312.6034.
    """
    x = check_images(model, images).requires_grad_()
    if len(x) == 0:
        return x.detach()
    logits = model(x.clone())  # a copy, since the first layer may work in place
    classes = choose_classes(logits, targets)
    chosen = logits.gather(1, classes[:, None]).sum()  # each row depends on its own image alone
    relevance = None
    if chosen.requires_grad:
        (relevance,) = torch.autograd.grad(chosen, x, allow_unused=True)
    if relevance is None:
        raise ValueError(
            "model: its output has no derivative by the images; allowed is a forward pass "
            "without no_grad, detach or numpy."
        )
    return relevance


@torch.inference_mode(False)
@torch.enable_grad()
def grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    layer: str | nn.Module | None = None,
    relu: bool = False,
) -> Tensor:
    """Return Grad-CAM: a layer's feature maps, each weighted by its mean gradient, summed.

    `images` (N, C, H, W) to relevance (N, 1, H, W): computed at the layer's resolution (h, w),
    then enlarged to the input's size by bilinear interpolation (pixel centres kept in place).
    `targets`: class indices (N,), one index, or None for the predicted class.
    `layer`: a module of the model or its dotted name; a module that runs several times counts
    with its last run. None: the last convolutional feature map (see `forward_to_map`).
    `relu`: False keeps the sign; True drops negative values, as published.

        weight[k]       = mean over places of ∂ logit[target] / ∂ A[k]
        relevance[i, j] = Σ_k weight[k] · A[k, i, j]        with A the layer's output (K, h, w)

    If only average pooling and one linear layer follow, the sum over the h·w places before
    enlarging is exactly the logit minus its bias. One forward pass, and the backward pass down
    to the layer. Raises ValueError for wrong arguments, and for a layer that is unknown, does
    not run, gives no (N, K, h, w) tensor, or does not affect the logit.

    Selvaraju et al.: Grad-CAM. ICCV 2017, arXiv:1610.02391.
    """
    x = check_images(model, images)
    if len(x) == 0:
        return x[:, :1]
    logits, maps = forward_to_map(model, x.requires_grad_(), layer)
    classes = choose_classes(logits, targets)
    chosen = logits.gather(1, classes[:, None]).sum()
    slope = None
    if chosen.requires_grad and maps.requires_grad:
        (slope,) = torch.autograd.grad(chosen, maps, allow_unused=True)
    if slope is None:
        raise ValueError(f"layer: the logit does not depend on {layer!r}; allowed is one it needs.")
    weights = slope.mean((2, 3), keepdim=True)
    relevance = (weights * maps.detach()).sum(1, keepdim=True)
    if relu:
        relevance = relevance.relu()
    return F.interpolate(relevance, images.shape[2:], mode="bilinear", align_corners=False)


def forward_to_map(
    model: nn.Module, x: Tensor, layer: str | nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Run the model; return its output and one layer's feature maps (N, K, h, w) on the way.

    With a `layer`, the maps are what that module returned, before any later in-place step
    changes them. Without one they are found by watching the forward pass: the last 4-D tensor
    of the same height and width as the output of the last convolution that has more than one
    place. So batch normalisation, ReLU, a residual sum or a concatenation after the last
    convolution are included, and pooling is not.

    Raises ValueError if there is no such layer or no such tensor.
    """
    if layer is None:
        with _Watch() as watch:
            output = model(x.clone())
        if watch.maps is None:
            raise ValueError("layer: no convolution was seen in the forward pass; name a layer.")
        return output, watch.maps

    modules = dict(model.named_modules(remove_duplicate=False))
    module = modules.get(layer) if isinstance(layer, str) else layer
    if not isinstance(module, nn.Module) or all(module is not m for m in modules.values()):
        near = get_close_matches(str(layer), modules, n=5, cutoff=0.3)
        raise ValueError(
            f"layer: got {layer!r}; allowed is a module of the model or its name in "
            f"model.named_modules(){', such as ' + ', '.join(near) if near else ''}."
        )
    outputs: list[Any] = []

    def keep(_module: nn.Module, _inputs: Any, result: Any) -> Any:
        outputs[:] = [result]  # the last run counts
        return result.clone() if isinstance(result, Tensor) else result

    with module.register_forward_hook(keep):
        output = model(x.clone())
    maps = outputs[-1] if outputs else None
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        came = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        came = f"returns {came}" if outputs else "does not run in the forward pass"
        raise ValueError(f"layer: {layer!r} {came}; allowed is one that gives (N, K, h, w).")
    return output, maps


class _Watch(TorchFunctionMode):
    """Keep the last feature map while a forward pass runs; nothing is hung on the model."""

    size: torch.Size | None = None
    maps: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, and look at what it gives."""
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.ndim == 4 and out.requires_grad:
            if func is F.conv2d and out.shape[2:].numel() > 1:
                self.size = out.shape[2:]
            if out.shape[2:] == self.size:
                self.maps = out
        return out
