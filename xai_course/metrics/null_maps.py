"""Maps that know nothing of the model: what a score is worth is how far it is above theirs.

Each has the one signature, `(model, images, targets) -> relevance`, and looks at neither the model
nor the target. Between them they know nothing at all, where pictures have their subject, where the
image changes, and where the beetle is.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.inputs import validate_inputs

__all__ = ["centre_map", "constant_map", "edge_map", "noise_map"]


@torch.no_grad()
def noise_map(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    smooth: int = 0,
    signed: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return random relevance (N, 1, H, W) that knows nothing: a null to hold beside every score.

    `signed`: True for standard normal noise, False for uniform noise from 0 to 1. `smooth`: pixels
    of a box blur on either side, twice over, for blots instead of grain.

    `seed` and an image's own values decide its map, whatever stands beside it in the batch: the
    same image gets the same map again, any other image an independent one. Raises ValueError for
    wrong arguments.
    """
    x, _, _ = validate_inputs(model, images, targets)
    if not isinstance(smooth, int) or smooth < 0:
        raise ValueError(f"smooth: got {smooth!r}; allowed is 0 or more whole pixels.")
    if not isinstance(seed, int):
        raise ValueError(f"seed: got {seed!r}; allowed is a whole number.")
    draw = torch.randn if signed else torch.rand
    own = []
    for image in x.double().cpu().numpy():  # each has its own generator, so no batch serves
        content = hashlib.blake2b(f"{seed} ".encode() + image.tobytes(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(content, "little"))
        own.append(draw(x.shape[2:], generator=generator, dtype=torch.double))
    noise = torch.stack(own)[:, None]
    for _ in range(2 if smooth else 0):
        noise = F.avg_pool2d(noise, 2 * smooth + 1, 1, smooth, count_include_pad=False)
    return noise.to(x)


@torch.no_grad()
def constant_map(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return relevance (N, 1, H, W) of 1 everywhere: what a part gets is its area, in pixels.

    Raises ValueError as every explainer does.
    """
    x, _, _ = validate_inputs(model, images, targets)
    return torch.ones_like(x[:, :1])


@torch.no_grad()
def centre_map(
    model: nn.Module, images: Tensor, targets: Any = None, *, width: float = 0.25
) -> Tensor:
    """Return a bump in the middle (N, 1, H, W), where photographers put what they photograph.

    `width`: its standard deviation, as a share of the image's side.

        relevance[i, j] = exp(−(u² + v²) / (2 · width²))        u, v: from the middle, in sides

    Raises ValueError for wrong arguments.
    """
    x, _, _ = validate_inputs(model, images, targets)
    if not isinstance(width, int | float) or not 0 < width < torch.inf:
        raise ValueError(f"width: got {width!r}; allowed is a finite number above 0.")
    bumps = []
    for n in x.shape[2:]:
        place = (torch.arange(n, dtype=torch.double, device=x.device) + 0.5) / n - 0.5
        bumps.append(torch.exp(-place.square() / (2 * width**2)))
    bump = bumps[0][:, None] * bumps[1]
    return bump.to(x).expand(len(x), 1, -1, -1).clone()


@torch.no_grad()
def edge_map(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return how steeply the image changes (N, 1, H, W), in units of the input per pixel.

        relevance = √(down² + right²)        Sobel's slopes of the mean over the channels

    The border is repeated beyond the edge. Raises ValueError as every explainer does.

    As a null for explanations: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for
    Saliency Maps. NeurIPS 2018, arXiv:1810.03292.
    """
    x, _, _ = validate_inputs(model, images, targets)
    grey = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    slopes = F.conv2d(grey, torch.stack([across.T, across])[:, None])
    return slopes.square().sum(1, keepdim=True).sqrt()
