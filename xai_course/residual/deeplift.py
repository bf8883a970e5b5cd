"""DeepLIFT with the rescale rule: the change of the logit, handed back layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.graph import derivatives
from xai_course.core.hooks import check_visible, function_name, intercept
from xai_course.core.inputs import no_derivative, validate_inputs
from xai_course.core.max_pools import MAX_POOLS, max_pool
from xai_course.core.outputs import single_output
from xai_course.core.relu_calls import ACTIVATIONS, find_relu
from xai_course.core.switches import own_switches

__all__ = ["RescaleRule", "deeplift"]


@own_switches(grad=False)
def deeplift(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    baseline: float | str | Tensor = "mean",
) -> Tensor:
    """Return DeepLIFT by the rescale rule: the change of the logit, handed back unit by unit.

        relevance = (x - x₀) · ∂f/∂x,  with Δout/Δin for the derivative of each activation
        Σ relevance = f(x) - f(x₀)        exactly

    f is the logit of the target class; Δ is the difference between the images and the baselines.
    See `RescaleRule` for the activations and max-pools.

    The sum is checked up to ε^⅔ of the size of its terms, where ε is the dtype's: 0.002 % in
    float32, 1 % in float16, 4 % in bfloat16. So a step without a rule can be missed in half
    precision: explain in float32 there.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: x, (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class predicted for the
            image, or a function of the output (see `single_output`).
        baseline: x₀: a number, a tensor, "mean" or "blur" (see `baseline_images`).

    Returns:
        Relevance (N, C, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the output does not depend on the images;
            if the sum fails: the rule does not hold where activations are multiplied
            (squeeze-and-excitation, attention), divided (layer normalisation) or mixed (softmax).

    Cost:
        Two forward passes, of the images and of the baselines, and one backward pass.

    References:
        Shrikumar, Greenside, Kundaje: Learning Important Features Through Propagating Activation
        Differences. ICML 2017, arXiv:1704.02685.

    Example:
        A ReLU's input goes from -1 to 2, its output from 0 to 2: the sum of relevance is 2.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import deeplift
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU()).eval()
        >>> _ = nn.init.ones_(model[1].weight), nn.init.constant_(model[1].bias, -1)
        >>> images = torch.tensor([[[[1.0, 2.0]]]])
        >>> relevance = deeplift(model, images, baseline=0)
        >>> round(float(relevance.sum()), 4)
        2.0
    """
    rule = RescaleRule()
    check_visible(model)
    model, targets = single_output(model, targets)
    with intercept(rule.record):
        x, chosen, classes = validate_inputs(model, images, targets)
    base = baseline_images(x, baseline).clone().requires_grad_()
    with intercept(rule.rescale), torch.enable_grad():
        logits = model(base.clone())
        expected = logits.gather(1, classes[:, None])[:, 0]
    grad = None
    if expected.requires_grad:
        (grad,) = derivatives(expected, base, torch.ones_like(expected), allow_unused=True)
    if grad is None:
        raise no_derivative(model, x)
    relevance: Tensor = (x - base.detach()) * grad
    _check_change(relevance, chosen, expected.detach())
    return relevance


def _check_change(relevance: Tensor, chosen: Tensor, expected: Tensor) -> None:
    """Raise ValueError unless relevance sums to f(x) - f(x₀), up to rounding."""
    eps = torch.finfo(relevance.dtype).eps
    tolerance = eps ** (2 / 3) * relevance.abs().flatten(1).sum(1)
    tolerance += 16 * eps * (chosen.abs() + expected.abs())
    gap = (relevance.flatten(1).sum(1) - (chosen - expected)).abs()
    if not (gap <= tolerance).all():  # also NaN is refused
        raise ValueError(
            "model: got relevance that does not sum to f(x) - f(x₀), since the model has a step "
            "that is neither linear, nor an activation of single units that can be seen, nor a "
            "max-pool (a product of activations, attention, layer normalisation, softmax, scripted "
            "code, torch.utils.checkpoint), or half precision; use integrated_gradients instead."
        )


class RescaleRule:
    """DeepLIFT's rescale rule: in a second run, derivatives that span the first run, too.

        rule = RescaleRule()
        with intercept(rule.record):   # first run: the images, without gradients
            model(images)
        with intercept(rule.rescale):  # second run: the baselines, to be differentiated
            logits = model(baselines)

    In the second run each step keeps its value. The derivative of an activation, of whatever kind
    and spelling and in place or not, is Δout/Δin between the two runs, and its own where the two
    inputs agree. A max-pool's change goes to the two positions p and p₀ of the maximum in the two
    runs, in the shares a and 1 - a with

        a · Δ[p] + (1 - a) · Δ[p₀] = Δout

    These shares lie in [0, 1], since Δ[p₀] ≤ Δout ≤ Δ[p]; where both runs have the maximum at one
    position, all goes there.
    """

    def __init__(self) -> None:
        """Start with nothing recorded."""
        self._recorded: list[Any] = []  # of each step of the first run that the second rescales

    def record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a PyTorch function of the first run and record what the second run needs of it."""
        name = function_name(func).removesuffix("_with_indices")
        if name in MAX_POOLS:
            x, (maxima, positions) = args[0], max_pool(name, *args, **kwargs)
            self._recorded.append((x.clone(), positions))
            return (maxima, positions) if kwargs.get("return_indices") else maxima
        activation = _activation(func, args, kwargs)
        if activation is not None:
            self._recorded.append(activation[0].clone())  # a copy: the function may work in place
        return func(*args, **kwargs)

    def rescale(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a PyTorch function of the second run, with the derivative Δout/Δin."""
        name = function_name(func).removesuffix("_with_indices")
        if name in MAX_POOLS:
            x, (maxima, positions) = args[0], max_pool(name, *args, **kwargs)
            maxima = _rescaled_max_pool(x, maxima, positions, *self._recorded.pop(0))
            return (maxima, positions) if kwargs.get("return_indices") else maxima
        activation = _activation(func, args, kwargs)
        if activation is not None:
            return _rescaled_activation(self._recorded.pop(0), *activation)
        return func(*args, **kwargs)


def _activation(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
    """Return the input of an activation, and the activation as a function of it; else None."""
    if function_name(func) not in ACTIVATIONS:
        relu = find_relu(func, args, kwargs)  # in another spelling, such as maximum(x, 0)
        return None if relu is None else (relu.input, relu.run)
    options = {key: value for key, value in kwargs.items() if key != "input"}
    x = args[0] if args else kwargs["input"]
    return x, lambda x: func(x, *args[1:], **options)


def _rescaled_activation(first: Tensor, input: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Run an activation on the second run's input, with the derivative Δout/Δin."""
    x = input.detach()
    copied = x.clone()  # the function may work in place
    out = run(copied)
    change = first - x
    ratio = (run(first.clone()) - out) / change

    # Where the inputs agree up to rounding, which is seldom, the activation's own derivative.
    differs = change.abs_().sub_(first.abs(), alpha=2 * torch.finfo(x.dtype).eps) > 0
    if not differs.all():
        leaf = first.clone().requires_grad_()
        (own,) = derivatives(run(leaf.clone()).sum(), leaf)
        ratio = torch.where(differs, ratio, own)

    result: Tensor = out + ratio * (input - x)  # adds 0: the value stays, the derivative is `ratio`
    return input.copy_(result) if out is copied else result


def _rescaled_max_pool(
    x: Tensor, maxima: Tensor, positions: Tensor, first: Tensor, first_positions: Tensor
) -> Tensor:
    """Return the second run's maxima, with a derivative by the maxima's positions in both runs."""
    x, first = x.flatten(2), first.flatten(2)  # (N, K, H·W)
    here, there = positions.flatten(2), first_positions.flatten(2)
    change = first - x.detach()
    low, high = change.gather(2, here), change.gather(2, there)
    out_change = first.gather(2, there) - maxima.flatten(2)
    share = torch.where(high > low, (out_change - low) / (high - low), 0.5)
    mixed = share * x.gather(2, there) + (1 - share) * x.gather(2, here)
    return (maxima.flatten(2) + (mixed - mixed.detach())).view(positions.shape)
