"""Technique 1: what the ReLUs let through. Explanations by the derivative of a logit.

A network of convolutions and ReLUs is piecewise linear: around one image it is a linear map, and
the gradient is that map's weights. On the way back a ReLU lets the gradient through where it let
the signal through on the way there. DeconvNet and guided backpropagation give it another rule:

    gradient                 grad · [input > 0]
    DeconvNet                grad · [grad > 0]
    guided backpropagation   grad · [input > 0] · [grad > 0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.core.hooks import relu_upper_bound
from xai_course.core.inputs import validate_inputs

__all__ = [
    "deconvnet",
    "gradient",
    "gradient_times_input",
    "guided_backprop",
    "relu_rule",
    "smooth_grad",
]


@torch.inference_mode(False)
@torch.enable_grad()
def gradient(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return the derivative of the chosen logit by each input value, with its sign.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits per unit of the input.
    `targets`: class indices (N,), one index, or None for the predicted class.

        relevance = ∂ logit[target] / ∂ images

    One forward and one backward pass. Raises ValueError for wrong arguments, and for a model
    whose output autograd cannot follow back to the input.

    Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks: Visualising Image
    Classification Models and Saliency Maps. ICLR workshop 2014, arXiv:1312.6034.
    """
    x, chosen, _ = validate_inputs(model, images, targets)
    relevance = None
    if chosen.requires_grad:  # the sum: each logit depends on its own image alone
        (relevance,) = torch.autograd.grad(chosen.sum(), x, allow_unused=True)
    if relevance is None:
        raise ValueError(
            "model: its output has no derivative by the images; allowed is a forward pass "
            "without no_grad, detach or numpy."
        )
    return relevance


@torch.inference_mode(False)
def gradient_times_input(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return the derivative of the chosen logit by each input value, times that value.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits. `targets` as in `gradient`.

        relevance = images · ∂ logit[target] / ∂ images

    In a network of ReLUs the sum is the logit minus what the biases add (see `local_linear`). It
    compares with an input of zeros: with normalised images that is a mean colour, not black.

    One forward and one backward pass. Raises ValueError as `gradient` does.

    Shrikumar, Greenside, Shcherbina, Kundaje: Not Just a Black Box: Learning Important Features
    Through Propagating Activation Differences. 2016, arXiv:1605.01713.
    """
    relevance = gradient(model, images, targets)
    return relevance * images.detach()


@contextmanager
def relu_rule(rule: Callable[[Tensor, Tensor], Tensor]) -> Iterator[list[str]]:
    """Give every ReLU that runs inside another rule for the way back; the way there stays.

        with relu_rule(lambda is_open, grad: grad.clamp(min=0) * is_open) as seen:
            relevance = gradient(model, images)

    `rule` gets, for one ReLU, where it is open (input > 0; a ReLU6 also needs input < 6) and the
    gradient by its output, and returns the gradient by its input. The list yielded gets one name
    for each ReLU seen. Seen is every spelling: relu, relu6, hardtanh from 0, clamp and threshold
    at 0, as functions, methods and modules, in place or not; the model is not touched.

    Raises ValueError if no ReLU runs, or an activation that is no ReLU does.
    """
    seen: list[str] = []
    names = "celu elu gelu glu hardshrink hardsigmoid hardswish leaky_relu log_sigmoid mish prelu "
    names += "log_softmax rrelu selu sigmoid silu softmax softmin softplus softshrink softsign "
    others = frozenset(f"{names} tanh tanhshrink".split())
    refusal = "model: {}. DeconvNet and guided backpropagation are rules for ReLUs alone: use "
    refusal += "integrated_gradients or occlusion instead."

    class Gate(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, relu: Callable[[Tensor], Tensor], top: float) -> Tensor:
            out = relu(x)
            if out is x:
                ctx.mark_dirty(x)  # it works in place
            ctx.save_for_backward(out > 0 if top == torch.inf else (out > 0) & (out < top))
            return out

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            (is_open,) = ctx.saved_tensors
            return rule(is_open, grad), None, None

    class Rule(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            name = getattr(func, "__name__", "").strip("_")
            top = relu_upper_bound(func, args, kwargs)
            if top is None and (name == "hardtanh" or name in others):
                raise ValueError(refusal.format(f"it uses {name}, which is no ReLU"))
            if top is None:
                return func(*args, **kwargs)
            seen.append(name)
            x, *rest = args if args else (kwargs.pop("input"),)
            return Gate.apply(x, lambda x: func(x, *rest, **kwargs), top)

    with Rule():
        yield seen
    if not seen:
        raise ValueError(refusal.format("no ReLU was seen in its forward pass"))


def deconvnet(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return the DeconvNet map: at each ReLU, the way back keeps what is positive on the way back.

    `images` (N, C, H, W) to relevance (N, C, H, W). `targets` as in `gradient`. It is no derivative
    and has no unit: the gates of the forward pass are not looked at, those of ReLU6 included; only
    max-pooling still depends on them.

        at each ReLU:  grad · [grad > 0]

    One forward and one backward pass. Raises ValueError as `gradient` does, and for a network
    without ReLUs or with another activation.

    Zeiler, Fergus: Visualizing and Understanding Convolutional Networks. ECCV 2014,
    arXiv:1311.2901.
    """
    with relu_rule(lambda _is_open, grad: grad.clamp(min=0)):
        return gradient(model, images, targets)


def guided_backprop(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return guided backpropagation: each ReLU keeps what is positive on both ways.

    `images` (N, C, H, W) to relevance (N, C, H, W). `targets` as in `gradient`. It is no derivative
    and has no unit. A ReLU6 is open where 0 < input < 6.

        at each ReLU:  grad · [input > 0] · [grad > 0]

    One forward and one backward pass. Raises ValueError as `gradient` does, and for a network
    without ReLUs or with another activation.

    Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for Simplicity: The All Convolutional
    Net. ICLR workshop 2015, arXiv:1412.6806.
    """
    with relu_rule(lambda is_open, grad: grad.clamp(min=0) * is_open):
        return gradient(model, images, targets)


@torch.inference_mode(False)
@torch.no_grad()
def smooth_grad(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    noise: float = 0.15,
    samples: int = 16,
    seed: int = 0,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return SmoothGrad: the gradient averaged over noisy copies of each image.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits per unit of the input. `targets`:
    class indices (N,), one index, or None for the class predicted for the image without noise.
    `noise`: standard deviation, as a share of each image's range (largest minus smallest value).
    `samples`: noisy copies. Every image meets the same noise, which `seed` decides, so an image's
    map does not depend on its neighbours. `batch_size`: images in one pass. `progress`: show a bar.

        relevance = mean over samples of ∂ logit[target] / ∂ images  at  images + noise · range · ε

    `samples` forward and backward passes, and one forward pass. Raises ValueError as `gradient`.

    Smilkov, Thorat, Kim, Viégas, Wattenberg: SmoothGrad: Removing Noise by Adding Noise. 2017,
    arXiv:1706.03825.
    """
    if not isinstance(noise, int | float) or not 0 <= noise < torch.inf:
        raise ValueError(f"noise: got {noise!r}; allowed is a finite number from 0.")
    if not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples: got {samples!r}; allowed is a whole number from 1.")
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    spread = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    chance = torch.Generator().manual_seed(seed)
    epsilon = torch.randn(samples, *x.shape[1:], generator=chance, dtype=torch.double).to(x)
    every = torch.cartesian_prod(torch.arange(samples), torch.arange(len(x))).to(x.device)
    passes: Any = torch.split(every, batch_size)  # lines of (sample, image)
    if progress:
        from tqdm.auto import tqdm

        passes = tqdm(passes, "smooth_grad")
    total = torch.zeros_like(x)
    for some in passes:
        s, n = some.T
        moved = x.index_select(0, n) + spread[n] * epsilon.index_select(0, s)
        total.index_add_(0, n, gradient(model, moved, classes[n]))
    return total / samples
