"""RISE: how the output goes together with what random masks show of the image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.checks import check_choice, check_count, check_number
from xai_course.core.progress import progress_bar
from xai_course.core.randomness import new_generator
from xai_course.core.switches import own_switches
from xai_course.residual.coalitions import output_function

__all__ = ["random_masks", "rise"]


@own_switches(grad=False)
def rise(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    masks: int = 1000,
    cells: int = 7,
    probability: float = 0.5,
    output: str = "probability",
    centred: bool = False,
    baseline: float | str | Tensor = "mean",
    seed: int = 0,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return RISE: the mean output over random masks, weighted by what each mask shows of a pixel.

        relevance[λ] = mean over masks m of  f(x seen through m) · m[λ]  /  p       as published
        relevance[λ] = covariance over masks of f and m[λ]  /  variance of m[λ]     centred

    f(x seen through m) is the output for the image m · x + (1 − m) · baseline.

    The published mean holds a constant that says nothing of where: a pixel on which the output does
    not depend gets about the mean output, not 0. So the sum over a region grows with its area. The
    constant is noisy, too: by chance each pixel was shown a little more or less often than p, and
    the more outputs there are far from 0, the more that matters. The centred form takes both out.
    It is the slope of the output over m[λ]: 0 for a pixel without effect, below 0 for one that
    speaks against the class. Use it for sums over regions, and with logits.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: x, (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        masks: how many masks; 4000 and 8000 as published. All images get the same ones.
        cells: each mask is a grid of cells × cells that are shown or hidden, enlarged smoothly.
        probability: p, with which a cell is shown; above 0 and below 1.
        output: f: "probability" of the target class, as published, or its "logit".
        centred: True for the centred form.
        baseline: what is seen where a mask hides: a number, a tensor, "mean" or "blur" (see
            `baseline_images`). As published it is 0, of normalised images a grey.
        seed: of the masks.
        batch_size: images in one forward pass, which bounds the memory.
        progress: show a bar of progress.

    Returns:
        Relevance (N, 1, H, W), in logits or in probability, as the output is. As in `occlusion`, a
        pixel gets the whole effect of its surroundings.

    Raises:
        ValueError: if an argument is not as described; if the model returns probabilities, and
            `output` is "probability".

    Cost:
        `masks` forward passes, and one for the whole image; no derivative.

    References:
        Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models.
        BMVC 2018, arXiv:1806.07421.

    Example:
        The logit is 5 whatever the image shows. The published form gives every pixel about 5.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import rise
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).eval()
        >>> _ = nn.init.zeros_(model[1].weight), nn.init.constant_(model[1].bias, 5)
        >>> options = {"output": "logit", "masks": 200, "cells": 2}
        >>> bool(rise(model, torch.rand(1, 1, 4, 4), **options).min() > 4)
        True
        >>> bool(rise(model, torch.rand(1, 1, 4, 4), centred=True, **options).abs().max() < 1e-6)
        True
    """
    check_choice("centred", centred, (True, False))
    x, f = output_function(model, images, targets, output, batch_size)
    base = baseline_images(x, baseline)
    height, width = x.shape[2:]
    drawn = random_masks((height, width), masks, cells, probability, seed)
    starts = range(0, len(drawn), int(batch_size))

    mean_mask, mean_square = torch.zeros(2, height, width, dtype=torch.double)
    mean_output = torch.zeros(len(x), dtype=torch.double)
    mean_product = torch.zeros(len(x), height, width, dtype=torch.double)
    for start in progress_bar(starts, "RISE", progress):
        shown = drawn[start : start + int(batch_size)]
        mask = shown.to(x)[:, None]
        mean_mask += shown.sum(0) / len(drawn)
        mean_square += shown.square().sum(0) / len(drawn)
        for n in range(len(x)):
            outputs = f(n, mask * x[n] + (1 - mask) * base[n])
            mean_output[n] += outputs.sum() / len(drawn)
            mean_product[n] += torch.einsum("m,mhw->hw", outputs, shown) / len(drawn)

    if not centred:
        return (mean_product / probability)[:, None].to(x)
    covariance = mean_product - mean_output[:, None, None] * mean_mask
    variance = mean_square - mean_mask.square()
    # A few masks may all show a pixel alike: then nothing is known of it.
    slope = torch.where(variance > 1e-12, covariance / variance.clamp_min(1e-12), 0)
    return slope[:, None].to(x)


def random_masks(
    size: tuple[int, int], masks: int, cells: int, probability: float, seed: int = 0
) -> Tensor:
    """Return the random masks of RISE: coarse grids, enlarged smoothly, and shifted at random.

    A grid of cells × cells, each shown with the probability p, is enlarged by bilinear
    interpolation to one cell more than the image in each direction. A cut of the image's size
    begins anywhere in the first cell. Every pixel's mean is p.

    Args:
        size: height and width in pixels.
        masks: how many.
        cells: cells of the grid in each direction, at most the pixels of the longer side.
        probability: p, above 0 and below 1.
        seed: a whole number.

    Returns:
        Masks (masks, height, width), from 0 to 1, in double precision on the CPU.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> from xai_course.residual import random_masks
        >>> drawn = random_masks((6, 8), masks=3, cells=2, probability=0.5)
        >>> drawn.shape, bool((drawn >= 0).all() and (drawn <= 1).all())
        (torch.Size([3, 6, 8]), True)
    """
    masks = check_count("masks", masks)
    cells = check_count("cells", cells, most=max(size))
    check_number("probability", probability, above=0, below=1)
    generator = new_generator(seed)
    grids = torch.rand(masks, 1, cells, cells, generator=generator, dtype=torch.double)
    height, width = (-(-pixels // cells) for pixels in size)  # of one cell, rounded up
    tops = torch.randint(height, (masks,), generator=generator).tolist()
    lefts = torch.randint(width, (masks,), generator=generator).tolist()
    enlarged = ((cells + 1) * height, (cells + 1) * width)
    drawn = torch.empty(masks, *size, dtype=torch.double)
    for k, (top, left) in enumerate(zip(tops, lefts, strict=True)):  # one by one, to spare memory
        grid = (grids[k : k + 1] < probability).double()
        mask = F.interpolate(grid, enlarged, mode="bilinear", align_corners=False)[0, 0]
        drawn[k] = mask[top : top + size[0], left : left + size[1]]
    return drawn.clamp(max=1)  # rounding can leave a little more
