"""Technique 1: the gates of the ReLUs, and the linear map that is left once they are fixed.

A ReLU is a gate: open, it hands its input on; closed, it gives 0. Around one image no gate changes,
so there the network is a linear map, and its logit a sum without remainder:

    logit = ⟨gradient, image⟩ + Σ over biases of ⟨derivative at its place, bias⟩
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.core.hooks import BiasTracer, relu_upper_bound
from xai_course.core.inputs import upsample_keep_sum, validate_inputs

__all__ = [
    "LocalLinear",
    "capture_relu_masks",
    "dead_relus",
    "full_grad",
    "local_linear",
    "mask_agreement",
    "relu_masks",
]


@contextmanager
def capture_relu_masks(
    model: nn.Module, keep: Callable[[Tensor], Tensor] = lambda is_open: is_open
) -> Iterator[dict[str, list[Tensor]]]:
    """Note which ReLUs are open while the model runs: name to a list, one entry a forward pass.

    The names stand in the order of the first pass: the module's for a ReLU module, "after" the
    last module for a function, with a number from its second call in a pass on. A gate is open
    where input > 0; a ReLU6 also needs input < 6. `keep`: what is kept of each boolean tensor
    (N, ...), to save memory. Seen is every spelling, as with `relu_rule`.

    Raises ValueError if no ReLU runs.
    """
    seen: dict[str, list[Tensor]] = {}
    calls: Counter[str] = Counter()
    place = [""]

    class Watch(TorchFunctionMode):
        def __init__(self, seen: dict[str, list[Tensor]]) -> None:
            super().__init__()
            self.seen = seen

        def __torch_function__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            out = func(*args, **kwargs)
            top = relu_upper_bound(func, args, kwargs)
            if top is not None:
                calls[place[0]] += 1
                name = place[0] + (f" ({calls[place[0]]})" if calls[place[0]] > 1 else "")
                self.seen.setdefault(name, []).append(keep((out > 0) & (out < top)))
            return out

    with ExitStack() as stack:

        def at(name: str) -> Callable[[nn.Module, Any], None]:
            return lambda _module, _inputs: place.__setitem__(0, name)

        stack.enter_context(model.register_forward_pre_hook(lambda *_: calls.clear()))
        for name, module in model.named_modules():
            if not any(module.children()):
                is_relu = isinstance(module, nn.ReLU | nn.Hardtanh | nn.Threshold)
                where = at(name if is_relu else f"after {name}")
                stack.enter_context(module.register_forward_pre_hook(where))
        with Watch(seen):
            yield seen
    if not seen:
        raise ValueError("model: no ReLU was seen in its forward pass, so it has no gates.")


@torch.inference_mode(False)
@torch.no_grad()
def relu_masks(
    model: nn.Module, images: Tensor, *, batch_size: int | None = None
) -> dict[str, Tensor]:
    """Return which ReLUs are open, for each image: name to a boolean tensor (N, ...).

    One entry for each call of a ReLU, in the order of the forward pass, named as `capture_relu_masks`
    does; (N, K, h, w) behind a convolution, (N, F) behind a linear layer. A gate is open where
    input > 0; a ReLU6 also needs input < 6. `batch_size`: images in one forward pass.

    One forward pass. Raises ValueError for wrong arguments and for a network without ReLUs.
    """
    with capture_relu_masks(model) as seen:
        validate_inputs(model, images, batch_size=batch_size)
    return {name: torch.cat(parts) for name, parts in seen.items()}


@torch.inference_mode(False)
@torch.no_grad()
def dead_relus(
    model: nn.Module, images: Tensor, *, batch_size: int | None = None
) -> dict[str, Tensor]:
    """Return which channels of each ReLU never open, at any place of any image: name to (K,).

    Boolean, True for dead. `images` (N, C, H, W): dead for these images need not be dead for
    others. `batch_size`: images in one forward pass.

    One forward pass. Raises ValueError for wrong arguments and for a network without ReLUs.
    """

    def ever_open(is_open: Tensor) -> Tensor:
        return is_open.flatten(2).any(2).any(0) if is_open.ndim > 2 else is_open.any(0)

    with capture_relu_masks(model, ever_open) as seen:
        validate_inputs(model, images, batch_size=batch_size)
    return {name: ~torch.stack(parts).any(0) for name, parts in seen.items()}


def mask_agreement(
    opened: Mapping[str, Tensor], others: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the share of a ReLU's gates that two images have in common: name to (N, M).

    `opened`, `others`: what `relu_masks` gives for N and for M images of one network and one size;
    without `others`, the N images among themselves. In common: both open or both closed.

        share[n, m] = mean over gates of [opened[n] = others[m]]

    Raises ValueError if the two do not come from the same network and size.
    """
    others = opened if others is None else others
    shapes = [{name: part.shape[1:] for name, part in side.items()} for side in (opened, others)]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise ValueError("others: allowed are gates of the same network and image size as opened.")
    shares = {}
    for name, part in opened.items():
        a, b = part.flatten(1).double(), others[name].flatten(1).double()
        both_open, both_closed = a @ b.T, (1 - a) @ (1 - b).T
        shares[name] = (both_open + both_closed) / a.shape[1]
    return shares


class LocalLinear(NamedTuple):
    """The linear map that a network is around each image, for one logit.

    `logit` (N,); `weights` (N, C, H, W), the gradient; `from_input` (N,), ⟨weights, image⟩;
    `biases`, name to (N,): what each added constant contributes. All but `weights` in logits:

        logit = from_input + Σ biases
    """

    logit: Tensor
    weights: Tensor
    from_input: Tensor
    biases: dict[str, Tensor]


@torch.inference_mode(False)
@torch.enable_grad()
def local_linear(model: nn.Module, images: Tensor, targets: Any = None) -> LocalLinear:
    """Take the chosen logit apart into the image's share and that of every bias, exactly.

    `images` (N, C, H, W). `targets`: class indices (N,), one index, or None for the predicted
    class. Biases carry their parameter's name; constants that are no parameter, such as the
    ceilings of ReLU6, the operation's. Those of one name are added up.

        logit = ⟨∂ logit / ∂ image, image⟩ + Σ over constants of ⟨∂ logit / ∂ its place, constant⟩

    One forward and one backward pass. Raises ValueError for wrong arguments, and where the sum is
    not the logit: for a network that is not piecewise linear (GELU, softmax, attention).
    """
    with BiasTracer(model) as constants:
        x, chosen, _ = validate_inputs(model, images, targets)
    places = [x, *(constant.edge for constant in constants.found)]
    slopes: Any = [None]
    if chosen.requires_grad:
        slopes = torch.autograd.grad(chosen.sum(), places, allow_unused=True)
    if slopes[0] is None:
        raise ValueError("model: its output has no derivative by the images (no_grad or detach?).")
    from_input = (slopes[0] * x.detach()).flatten(1).sum(1)
    biases: dict[str, Tensor] = {}
    for constant, slope in zip(constants.found, slopes[1:], strict=True):
        if slope is not None and slope.ndim > 1 and len(slope) == len(x):
            share = (slope * constant.value).flatten(1).sum(1)
            biases[constant.name] = biases.get(constant.name, 0) + share
    terms = torch.stack([from_input, *biases.values(), -chosen.detach()]).double()
    if (terms.sum(0).abs() > torch.finfo(x.dtype).eps ** 0.5 * terms.abs().sum(0)).any():
        raise ValueError(
            "model: its gradient and biases do not sum to the logit, as it is not piecewise linear "
            "(GELU, sigmoid, softmax, attention?); use integrated_gradients instead."
        )
    return LocalLinear(chosen.detach(), slopes[0], from_input, biases)


@torch.inference_mode(False)
@torch.enable_grad()
def full_grad(
    model: nn.Module, images: Tensor, targets: Any = None, *, only: str | None = None
) -> Tensor:
    """Return the full gradient as a map: what the image adds, and what each bias adds, and where.

    `images` (N, C, H, W) to relevance (N, 1, H, W), in logits. `targets` as in `local_linear`.
    Each layer's biases stand at the places where they are added; the layer's map is enlarged with
    its sum kept. What has no place (a linear layer's biases) is spread evenly over the image.
    `only`: "input", or the name of one bias as in `local_linear`, for that map alone.

        Σ over H·W of the relevance = logit        (without `only`)

    As published, the biases' maps lose their sign and are rescaled to [0, 1] before they are added
    up; here they keep both sign and sum. One forward and one backward pass. Raises ValueError for
    wrong arguments, and if the sum is not the logit (see `local_linear`).

    Srinivas, Fleuret: Full-Gradient Representation for Neural Network Visualization. NeurIPS 2019,
    arXiv:1905.00780.
    """
    with BiasTracer(model) as constants:
        x, chosen, _ = validate_inputs(model, images, targets)
    places = [x, *(constant.edge for constant in constants.found)]
    slopes: Any = [None]
    if chosen.requires_grad:
        slopes = torch.autograd.grad(chosen.sum(), places, allow_unused=True)
    if slopes[0] is None:
        raise ValueError("model: its output has no derivative by the images (no_grad or detach?).")
    parts = [("input", (slopes[0] * x.detach()).sum(1, keepdim=True))]
    for constant, slope in zip(constants.found, slopes[1:], strict=True):
        if slope is not None and slope.ndim > 1 and len(slope) == len(x):
            if constant.value.numel() == slope.shape[1]:  # one number for each channel
                part = torch.einsum("nk...,k->n...", slope, constant.value.flatten())[:, None]
            else:
                part = (slope * constant.value).sum(1, keepdim=True)
            if part.ndim != 4:  # it has no place
                part = part.flatten(1).sum(1).view(-1, 1, 1, 1)
            parts.append((constant.name, part))
    terms = torch.stack([*(part.sum((1, 2, 3)) for _, part in parts), -chosen.detach()]).double()
    if not (terms.sum(0).abs() <= torch.finfo(x.dtype).eps ** 0.5 * terms.abs().sum(0)).all():
        raise ValueError(
            "model: its gradient and biases do not sum to the logit, as it is not piecewise linear "
            "(GELU, sigmoid, softmax, attention?); use integrated_gradients instead."
        )
    names = dict(parts)
    if only is not None and only not in names:
        raise ValueError(f"only: got {only!r}; allowed are None, {', '.join(names)}.")
    by_size: dict[torch.Size, Tensor] = {}
    for name, part in parts:
        if only in (None, name):
            by_size[part.shape] = by_size.get(part.shape, 0) + part
    full = (x.shape[2], x.shape[3])
    return torch.stack([upsample_keep_sum(part, full) for part in by_size.values()]).sum(0)
