"""Integrated Gradients: the mean gradient along the path from a baseline to the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.checks import check_choice, check_count
from xai_course.core.graph import derivatives
from xai_course.core.inputs import no_derivative, validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.progress import progress_bar
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain

__all__ = ["expected_gradients", "integrated_gradients"]


@own_switches(grad=False)
def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    baseline: float | str | Tensor = "mean",
    steps: int = 32,
    rule: str = "midpoint",
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return Integrated Gradients: the change from the baseline, times the mean gradient.

        relevance = (x - x₀) · mean over k of ∂f/∂x at x₀ + (k + ½)/steps · (x - x₀)
        Σ relevance → f(x) - f(x₀)        as steps → ∞

    f is the logit of the target class. What is missing from the sum does *not* shrink with each
    further step (a network of ReLUs has kinks, which the points hit or miss): compare the sum with
    the change of the logit rather than trust it. If a model detaches a smooth function of the
    image, as in `x * g.sigmoid().detach()`, its gradient lacks a part: the sum stays wrong then,
    however many the steps. `deeplift` checks its sum and refuses such a model.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: x, (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class predicted for the
            image, or a function of the output (see `single_output`).
        baseline: x₀: a number, a tensor, "mean" or "blur" (see `baseline_images`).
        steps: points along the path.
        rule: where the points are, and how much each counts: "midpoint", in the middles of equal
            pieces, as above; or "gauss", the nodes and weights of Gauss and Legendre, which are
            exact for a gradient that is a polynomial of degree 2 · steps - 1 along the path. A
            network of ReLUs has jumps there, and the middles come closer (lesson 10 measures it).
        batch_size: points in one pass, which bounds the memory.
        progress: show a bar of progress.

    Returns:
        Relevance (N, C, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the output does not depend on the images.

    Cost:
        `steps` forward and backward passes, and one forward pass to choose the class.

    References:
        Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks. ICML 2017,
        arXiv:1703.01365.

    Example:
        The logit is the sum of squares; its change from black is split exactly.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import integrated_gradients
        >>> class SumOfSquares(nn.Module):
        ...     def forward(self, x):
        ...         return x.square().sum((1, 2, 3))[:, None]
        >>> images = torch.tensor([[[[1.0, -2], [3, 0]]]])
        >>> integrated_gradients(SumOfSquares().eval(), images, baseline=0, steps=4).tolist()
        [[[[1.0, 4.0], [9.0, 0.0]]]]
    """
    check_choice("rule", rule, ("midpoint", "gauss"))
    steps = check_count("steps", steps)
    model, targets = single_output(model, targets)
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    base = baseline_images(x, baseline)
    return _along_the_path(model, x, classes, base, steps, rule, batch_size, progress)


def _along_the_path(
    model: nn.Module,
    x: Tensor,
    classes: Tensor,
    base: Tensor,
    steps: int,
    rule: str,
    batch_size: int,
    progress: bool = False,
) -> Tensor:
    """Return Integrated Gradients (N, C, H, W) of checked images from their baselines."""
    change = x - base
    positions, weights = _nodes(steps, rule, x)

    # One line (step, image) for each point; a batch may hold points of several images.
    indices = [torch.arange(len(part), device=x.device) for part in (positions, x)]
    batches = torch.split(torch.cartesian_prod(*indices), int(batch_size))
    total = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    for batch in progress_bar(batches, "integrated gradients", progress):
        k, n = batch.T
        image = x.index_select(0, n)
        back = (1 - positions[k]).view(-1, 1, 1, 1) * change.index_select(0, n)
        with torch.enable_grad():  # the point moves with the image, so the gradients are the same
            logits = model(image.requires_grad_() - back)
            chosen = logits.gather(1, classes[n][:, None]).sum()
        grad = None
        if chosen.requires_grad:
            (grad,) = derivatives(chosen, image, allow_unused=True)
        if grad is None:
            raise no_derivative(model, image)
        total.index_add_(0, n, weights[k].view(-1, 1, 1, 1) * grad.to(total.dtype))
    return (change * total / steps).to(x.dtype)


def _nodes(steps: int, rule: str, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points on the path from 0 to 1, and their weights of mean 1: each (steps,)."""
    if rule == "gauss":
        nodes, weights = np.polynomial.legendre.leggauss(steps)  # from -1 to 1, of sum 2
        return torch.tensor((nodes + 1) / 2).to(like), torch.tensor(weights * steps / 2).to(like)
    positions = (torch.arange(steps, dtype=like.dtype, device=like.device) + 0.5) / steps
    return positions, torch.ones_like(positions)


@own_switches(grad=False)
def expected_gradients(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    baselines: Tensor,
    steps: int = 32,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return expected gradients: the mean of Integrated Gradients over baselines from data.

        relevance = mean over m of integrated_gradients(x, baseline m)
        Σ relevance → f(x) - mean over m of f(baseline m)        as steps → ∞

    The published method draws a baseline and a point at random, again and again, and has this mean
    as its expectation; nothing here is random. For a detached factor see `integrated_gradients`.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class predicted for the
            image, or a function of the output (see `single_output`).
        baselines: images to compare with (M, C, H, W); every image is compared with each of them.
        steps: points along each path, as in `integrated_gradients`.
        batch_size: points in one pass, which bounds the memory.
        progress: show a bar of progress over the baselines.

    Returns:
        Relevance (N, C, H, W), in logits.

    Raises:
        ValueError: if an argument is not as described, or the output does not depend on the images.

    Cost:
        M · `steps` forward and backward passes, and one forward pass to choose the class.

    References:
        Erion and others: Improving Performance of Deep Learning Models with Axiomatic Attribution
        Priors and Expected Gradients. Nature Machine Intelligence 2021, arXiv:1906.10670.

    Example:
        For a sum of pixels, each pixel is compared with its mean over the baselines.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import expected_gradients
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1)).eval()
        >>> _ = nn.init.ones_(model[1].weight)
        >>> images = torch.tensor([[[[5.0, 5.0]]]])
        >>> baselines = torch.tensor([[[[1.0, 0.0]]], [[[3.0, 0.0]]]])
        >>> expected_gradients(model, images, baselines=baselines).tolist()
        [[[[3.0, 5.0]]]]
    """
    steps = check_count("steps", steps)
    model, targets = single_output(model, targets)
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    if isinstance(baselines, Tensor):
        check_plain("baselines", baselines)
    if not isinstance(baselines, Tensor) or baselines.ndim != 4 or len(baselines) == 0:
        got = tuple(baselines.shape) if isinstance(baselines, Tensor) else type(baselines).__name__
        raise ValueError(f"baselines: got {got}; must be a tensor (M, C, H, W), M at least 1.")
    total = torch.zeros_like(x)
    for baseline in progress_bar(baselines, "expected gradients", progress):
        base = baseline_images(x, baseline)
        total += _along_the_path(model, x, classes, base, steps, "midpoint", batch_size)
    return total / len(baselines)
