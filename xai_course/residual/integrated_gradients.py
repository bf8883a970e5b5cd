"""Technique 3, in its other sense: compare the model's change with the change one expects.

The expectation is a baseline: another image, or the same one with a part replaced. All functions
answer f(x) − f(x₀): by replacing a window (`occlusion`), or by adding up the derivative on the way
from the baseline to the image (`integrated_gradients`, `expected_gradients`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.inputs import validate_inputs

__all__ = ["expected_gradients", "integrated_gradients"]


@torch.inference_mode(False)
@torch.no_grad()
def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    baseline: float | str | Tensor = "mean",
    steps: int = 32,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return Integrated Gradients: the change from the baseline, times the mean slope on the way.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits.
    `targets`: class indices (N,), one index, or None for the class predicted for the image.
    `baseline`: x₀, a number, a tensor, "mean" or "blur" (see `baseline_images`).
    `steps`: points on the way, in the middles of equal pieces. `batch_size`: points in one pass,
    which bounds the memory. `progress`: show a bar.

        relevance = (x − x₀) · mean over k of ∂f/∂x at x₀ + (k + ½)/steps · (x − x₀)
        Σ relevance → f(x) − f(x₀)        as steps → ∞

    f is the chosen logit. What is missing from the sum does *not* shrink with each further step
    (a network of ReLUs has kinks, which the points hit or miss): look at it rather than trust it.
    Steps forward and backward passes, and one forward pass to choose the class. Raises ValueError
    for wrong arguments, and for a model whose output autograd cannot follow back to the input.

    Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks. ICML 2017, arXiv:1703.01365.
    """
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    return _on_the_way(model, x, classes, baseline_images(x, baseline), steps, batch_size, progress)


def _on_the_way(
    model: nn.Module,
    x: Tensor,
    classes: Tensor,
    base: Tensor,
    steps: int,
    batch_size: int,
    progress: bool = False,
) -> Tensor:
    """Return Integrated Gradients of images that are checked, from their baselines on."""
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: got {steps!r}; allowed is a whole number from 1.")
    change = x - base
    shares = (torch.arange(steps, dtype=x.dtype, device=x.device) + 0.5) / steps

    every = [torch.arange(len(part), device=x.device) for part in (shares, x)]
    passes: Any = torch.split(torch.cartesian_prod(*every), batch_size)  # lines of (step, image)
    if progress:
        from tqdm.auto import tqdm

        passes = tqdm(passes, "integrated gradients")
    total = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    for some in passes:
        k, n = some.T
        end = x.index_select(0, n)
        back = (1 - shares[k]).view(-1, 1, 1, 1) * change.index_select(0, n)
        with torch.enable_grad():
            logits = model(end.requires_grad_() - back)
            chosen = logits.gather(1, classes[n][:, None]).sum()
        slope = None
        if chosen.requires_grad:  # by `end`, which is moved with the point on the way
            (slope,) = torch.autograd.grad(chosen, end, allow_unused=True)
        if slope is None:
            raise ValueError("model: its output has no derivative by the images (a no_grad?).")
        total.index_add_(0, n, slope.to(total.dtype))
    return (change * total / steps).to(x.dtype)


@torch.inference_mode(False)
@torch.no_grad()
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
    """Return expected gradients: Integrated Gradients, in the mean over baselines from data.

    `images` (N, C, H, W) to relevance (N, C, H, W), in logits.
    `targets`: class indices (N,), one index, or None for the class predicted for the image.
    `baselines`: M images to compare with (M, C, H, W), every image with each of them.
    `steps`, `batch_size`: as in `integrated_gradients`. `progress`: show a bar over the baselines.

        relevance = mean over m of integrated_gradients(x, baseline m)
        Σ relevance → f(x) − mean over m of f(baseline m)        as steps → ∞

    The published method draws a baseline and a point at random, again and again, and has this mean
    as its expectation; nothing here is random. M · steps forward and backward passes. Raises
    ValueError for wrong arguments.

    Erion and others: Improving Performance of Deep Learning Models with Axiomatic Attribution
    Priors and Expected Gradients. Nature Machine Intelligence 2021, arXiv:1906.10670.
    """
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    if not isinstance(baselines, Tensor) or baselines.ndim != 4 or len(baselines) == 0:
        came = tuple(baselines.shape) if isinstance(baselines, Tensor) else type(baselines).__name__
        raise ValueError(f"baselines: got {came}; allowed is a tensor (M, C, H, W), M from 1.")
    passes: Any = baselines
    if progress:
        from tqdm.auto import tqdm

        passes = tqdm(passes, "expected gradients")
    total = torch.zeros_like(x)
    for base in passes:
        there = baseline_images(x, base)
        total += _on_the_way(model, x, classes, there, steps, batch_size)
    return total / len(baselines)
