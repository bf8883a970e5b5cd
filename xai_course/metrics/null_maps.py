"""Maps that know nothing of the model. A score is worth as much as it is above theirs.

They have the signature of an explainer, `(model, images, targets) -> relevance`, but use neither
the model nor the target. `noise_map` knows nothing at all, `centre_map` where photographs have
their subject, `edge_map` where the image changes; under `constant_map` a part gets its area.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
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
    """Return random relevance, which knows nothing: a null to compare every score with.

    The seed and the values of an image decide its map, whatever else is in the batch. The same
    image gets the same map again, any other image an independent one.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is only checked.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None. They are only checked.
        smooth: how many pixels the noise is blurred to each side, twice, for blots instead of
            grain; 0 for none.
        signed: True for standard normal noise, False for uniform noise from 0 to 1.
        seed: a whole number.

    Returns:
        Relevance (N, 1, H, W).

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass, which checks the arguments.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import noise_map
        >>> model, images = nn.Flatten().eval(), torch.ones(2, 1, 4, 4)
        >>> first, second = noise_map(model, images)
        >>> torch.equal(first, second)  # equal images get equal noise
        True
    """
    x, _, _ = validate_inputs(model, images, targets)
    smooth = check_count("smooth", smooth, least=0)
    if not isinstance(seed, int):
        raise ValueError(f"seed: got {seed!r}; must be a whole number.")
    draw = torch.randn if signed else torch.rand
    drawn = []
    for image in x.double().cpu().numpy():
        # Each image has a generator of its own, so that its map does not depend on the batch.
        content = hashlib.blake2b(f"{seed} ".encode() + image.tobytes(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(content, "little"))
        drawn.append(draw(x.shape[2:], generator=generator, dtype=torch.double))
    noise = torch.stack(drawn)[:, None]  # (N, 1, H, W)
    if smooth:
        for _ in range(2):  # two box filters in a row make a triangular one
            noise = F.avg_pool2d(noise, 2 * smooth + 1, 1, smooth, count_include_pad=False)
    return noise.to(x)


@torch.no_grad()
def constant_map(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return a relevance of 1 everywhere: what a part gets is its area, in pixels.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is only checked.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None. They are only checked.

    Returns:
        Relevance (N, 1, H, W).

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass, which checks the arguments.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import constant_map
        >>> constant_map(nn.Flatten().eval(), torch.zeros(1, 3, 2, 2)).sum()
        tensor(4.)
    """
    x, _, _ = validate_inputs(model, images, targets)
    return torch.ones_like(x[:, :1])


@torch.no_grad()
def centre_map(
    model: nn.Module, images: Tensor, targets: Any = None, *, width: float = 0.25
) -> Tensor:
    """Return a bump in the centre of the image, where most photographs have their subject.

        relevance[i, j] = exp(−(u² + v²) / (2 · width²))

    u and v are the distances from the centre, as shares of the image's height and width.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is only checked.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None. They are only checked.
        width: standard deviation of the bump, as a share of the image's side; above 0.

    Returns:
        Relevance (N, 1, H, W), from 0 to 1.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass, which checks the arguments.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import centre_map
        >>> centre_map(nn.Flatten().eval(), torch.zeros(1, 1, 3, 3)).argmax()  # the middle pixel
        tensor(4)
    """
    x, _, _ = validate_inputs(model, images, targets)
    check_number("width", width, above=0)
    bumps = []  # one over the rows, one over the columns
    for pixels in x.shape[2:]:
        centres = torch.arange(pixels, dtype=torch.double, device=x.device) + 0.5
        distance = centres / pixels - 0.5
        bumps.append(torch.exp(-distance.square() / (2 * width**2)))
    bump = bumps[0][:, None] * bumps[1]  # (H, W)
    return bump.to(x).expand(len(x), 1, -1, -1).clone()


@torch.no_grad()
def edge_map(model: nn.Module, images: Tensor, targets: Any = None) -> Tensor:
    """Return how steeply the image changes at each pixel.

        relevance = √(down² + right²)

    down and right are Sobel's derivatives of the mean over the channels. The border is repeated
    beyond the edge of the image.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is only checked.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None. They are only checked.

    Returns:
        Relevance (N, 1, H, W), in units of the input per pixel.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass, which checks the arguments.

    References:
        As a null for explanations: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks
        for Saliency Maps. NeurIPS 2018, arXiv:1810.03292.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import edge_map
        >>> ramp = torch.arange(5.0).expand(1, 1, 3, 5)  # rises by 1 a pixel
        >>> edge_map(nn.Flatten().eval(), ramp)[0, 0, 1]
        tensor([0.5000, 1.0000, 1.0000, 1.0000, 0.5000])
    """
    x, _, _ = validate_inputs(model, images, targets)
    grey = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    right = x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8  # Sobel's filter
    filters = torch.stack([right.T, right])[:, None]  # (2, 1, 3, 3)
    derivatives = F.conv2d(grey, filters)  # (N, 2, H, W): down, right
    return derivatives.square().sum(1, keepdim=True).sqrt()
