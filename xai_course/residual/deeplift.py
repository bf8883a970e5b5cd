"""DeepLIFT with the rescale rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.core.baselines import baseline_images
from xai_course.core.inputs import validate_inputs

__all__ = ["RescaleRule", "deeplift"]


@torch.inference_mode(False)
@torch.no_grad()
def deeplift(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    baseline: float | str | Tensor = "mean",
) -> Tensor:
    """Return DeepLIFT by the rescale rule: the change of the logit, handed back unit by unit.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits.
    `targets`: class indices (N,), one index, or None for the class predicted for the image.
    `baseline`: x₀, a number, a tensor, "mean" or "blur" (see `baseline_images`).

        relevance = (x − x₀) · ∂f/∂x,  with Δout/Δin for the derivative of each activation
        Σ relevance = f(x) − f(x₀)        exactly

    f is the chosen logit. See `RescaleRule` for the activations and max-pools. Two forward passes,
    of the images and of the baselines, and one backward pass. Raises ValueError for wrong
    arguments, and if the sum fails: where activations are multiplied (squeeze-and-excitation,
    attention), divided (layer normalisation) or mixed (softmax), the rule does not hold.

    Shrikumar, Greenside, Kundaje: Learning Important Features Through Propagating Activation
    Differences. ICML 2017, arXiv:1704.02685.
    """
    rule = RescaleRule()
    with rule:
        x, chosen, classes = validate_inputs(model, images, targets)
    base = baseline_images(x, baseline).clone()
    with rule, torch.enable_grad():
        logits = model(base.requires_grad_().clone())
        expected = logits.gather(1, classes[:, None])[:, 0]
    slope = None
    if expected.requires_grad:
        each = torch.ones_like(expected)
        (slope,) = torch.autograd.grad(expected, base, each, allow_unused=True)
    if slope is None:
        raise ValueError("model: its output has no derivative by the images (a no_grad?).")
    relevance = (x - base.detach()) * slope
    before, eps = expected.detach(), torch.finfo(x.dtype).eps
    allowed = eps ** (2 / 3) * relevance.abs().flatten(1).sum(1)  # for rounding
    allowed += 16 * eps * (chosen.abs() + before.abs())
    if not ((relevance.flatten(1).sum(1) - (chosen - before)).abs() <= allowed).all():
        raise ValueError(
            "model: the relevance does not sum to f(x) − f(x₀), as it has a step that is neither "
            "linear, nor an activation of single units, nor a max-pool (a product of activations, "
            "attention, layer normalisation, softmax); use integrated_gradients instead."
        )
    return relevance


class RescaleRule(TorchFunctionMode):
    """DeepLIFT's rescale rule: in a second run of a model, slopes that span the first one, too.

        with rule:
            ...                        # first run, without gradients: on the images
        with rule, torch.enable_grad():
            ...                        # second run: on the baselines, to be differentiated

    In the second run each step keeps its value. The derivative of an activation, of whatever kind
    and spelling and in place or not, is Δout/Δin between the two runs, and its own where the two
    inputs agree. A max-pool's change goes to the two places p and p₀ where the maximum was, in the
    shares a and 1 − a with a·Δ[p] + (1 − a)·Δ[p₀] = Δout. These shares lie in [0, 1], since
    Δ[p₀] ≤ Δout ≤ Δ[p]; where both runs have it at one place, all goes there.
    """

    activations = (
        "celu clamp clamp_max clamp_min clip elu expit gelu hardshrink hardsigmoid hardswish "
        "hardtanh leaky_relu log_sigmoid mish prelu relu relu6 rrelu selu sigmoid silu softplus "
        "softshrink softsign tanh tanhshrink threshold"
    )

    class _Rescaled(torch.autograd.Function):
        """An activation whose derivative is Δout/Δin between two inputs; it may work in place."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, first: Tensor, func: Callable[[Tensor], Tensor]) -> Tensor:
            change = first - x
            value = func(x)
            if value is x:
                ctx.mark_dirty(x)
            slope = (func(first.clone()) - value) / change
            # Where the inputs agree up to rounding, which is seldom, its own derivative.
            gap = change.abs_().sub_(first.abs(), alpha=2 * torch.finfo(x.dtype).eps)
            if not gap.min() > 0:
                with torch.enable_grad():
                    end = first.clone().requires_grad_()
                    (own,) = torch.autograd.grad(func(end.clone()).sum(), end)
                slope = torch.where(gap > 0, slope, own)
            ctx.save_for_backward(slope)
            return value

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            return grad * ctx.saved_tensors[0], None, None

    def __init__(self) -> None:
        """Start with nothing noted."""
        super().__init__()
        self.noted: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`; of an activation or a max-pool, note the input or change the derivative."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "").strip("_").removesuffix("_with_indices")
        if name in ("max_pool2d", "adaptive_max_pool2d"):
            x, *rest = args
            asked = kwargs.pop("return_indices", False)
            wide = x.detach() * (2 ** (round(-math.log2(torch.finfo(x.dtype).eps)) // 3) + 1)
            rounded = wide - (wide - x.detach())  # so that rounding does not decide between equals
            _, places = getattr(F, name)(rounded, *rest, **kwargs, return_indices=True)
            maxima = self._max_pool(x, places)
            return (maxima, places) if asked else maxima
        if name not in self.activations.split():
            return func(*args, **kwargs)
        x, *rest = args if args else (kwargs.pop("input"),)
        if not torch.is_grad_enabled():
            self.noted.append(x.clone())
            return func(x, *rest, **kwargs)
        first = self.noted.pop(0)
        out: Tensor = self._Rescaled.apply(x, first, lambda x: func(x, *rest, **kwargs))
        return out

    def _max_pool(self, x: Tensor, places: Tensor) -> Tensor:
        """Note where the maxima were, or share their change between the places of both runs."""
        flat, here = x.flatten(2), places.flatten(2)
        maxima = flat.detach().gather(2, here)
        if not torch.is_grad_enabled():
            self.noted.append((x.clone(), here))
            return maxima.view(places.shape)
        first, there = self.noted.pop(0)
        change = first.flatten(2) - flat.detach()
        low, high = change.gather(2, here), change.gather(2, there)
        out = first.flatten(2).gather(2, there) - maxima
        share = torch.where(high > low, (out - low) / (high - low), 0.5)
        mixed = share * flat.gather(2, there) + (1 - share) * flat.gather(2, here)
        return (maxima + (mixed - mixed.detach())).view(places.shape)
