"""Maps that know nothing of the model. A score is worth as much as it is above theirs.

They have the signature of an explainer, `(model, images, targets) -> relevance`, but use neither
the model nor the target. `noise_map` knows nothing at all, `centre_map` where photographs have
their subject, `edge_map` where the image changes, `bright_edge_map` where it is bright as well;
under `constant_map` a part gets its area. `null_battery` returns these in one call, and the maps
of a method that was asked about something else: an untrained network, another class, another image.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_choice, check_count, check_number
from xai_course.core.inputs import validate_all_logits, validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.outputs import single_output
from xai_course.core.randomness import image_generator, new_generator
from xai_course.core.switches import own_switches
from xai_course.metrics.randomisation import reinitialised

__all__ = [
    "bright_edge_map",
    "centre_map",
    "constant_map",
    "edge_map",
    "noise_map",
    "null_battery",
]


# ---- from the image alone ------------------------------------------------------------------------


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
    model, targets = single_output(model, targets)
    x, _, _ = validate_inputs(model, images, targets)
    smooth = check_count("smooth", smooth, least=0)
    if not isinstance(seed, int):
        raise ValueError(f"seed: got {seed!r}; must be a whole number.")
    draw = torch.randn if signed else torch.rand
    drawn = [
        draw(x.shape[2:], generator=image_generator(image, seed), dtype=torch.double) for image in x
    ]
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
    model, targets = single_output(model, targets)
    x, _, _ = validate_inputs(model, images, targets)
    return torch.ones_like(x[:, :1])


@torch.no_grad()
def centre_map(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    width: float = 0.25,
    inverse: bool = False,
) -> Tensor:
    """Return a bump in the centre of the image, where most photographs have their subject.

        relevance[i, j] = exp(−(u² + v²) / (2 · width²))

    u and v are the distances from the centre, as shares of the image's height and width. The
    inverse, 1 − relevance, is high where most photographs have their background.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is only checked.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None. They are only checked.
        width: standard deviation of the bump, as a share of the image's side; above 0.
        inverse: True for 1 − relevance, which is high away from the centre.

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
    model, targets = single_output(model, targets)
    x, _, _ = validate_inputs(model, images, targets)
    check_number("width", width, above=0)
    check_choice("inverse", inverse, (True, False))
    bumps = []  # one over the rows, one over the columns
    for pixels in x.shape[2:]:
        centres = torch.arange(pixels, dtype=torch.double, device=x.device) + 0.5
        distance = centres / pixels - 0.5
        bumps.append(torch.exp(-distance.square() / (2 * width**2)))
    bump = bumps[0][:, None] * bumps[1]  # (H, W)
    bump = 1 - bump if inverse else bump
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
    model, targets = single_output(model, targets)
    x, _, _ = validate_inputs(model, images, targets)
    grey = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    right = x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8  # Sobel's filter
    filters = torch.stack([right.T, right])[:, None]  # (2, 1, 3, 3)
    derivatives = F.conv2d(grey, filters)  # (N, 2, H, W): down, right
    return derivatives.square().sum(1, keepdim=True).sqrt()


@torch.no_grad()
def bright_edge_map(
    model: nn.Module, images: Tensor, targets: Any = None, *, power: float = 2.0
) -> Tensor:
    """Return the edges of the image, times its brightness to a power.

        relevance = edge_map · (g − min g)^power

    g is the mean over the channels, and min g the image's darkest pixel, so that the map is the
    same for pixels and for a normalised image, up to its scale, if all channels are divided by one
    number.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes). It is only checked.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None. They are only checked.
        power: of the brightness; at least 0. 0 leaves `edge_map`.

    Returns:
        Relevance (N, 1, H, W), at least 0; of half-precision images in float32.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass, which checks the arguments.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import bright_edge_map
        >>> ramp = torch.arange(5.0).expand(1, 1, 3, 5)  # rises by 1 a pixel
        >>> bright_edge_map(nn.Flatten().eval(), ramp)[0, 0, 1].tolist()
        [0.0, 1.0, 4.0, 9.0, 8.0]
    """
    check_number("power", power, least=0)
    edges = edge_map(model, images, targets)
    grey = images.detach().mean(1, keepdim=True)
    if grey.dtype in (torch.float16, torch.bfloat16):
        grey = grey.float()  # a power of the brightness is beyond float16
    return edges * (grey - grey.amin((2, 3), keepdim=True)) ** power


# ---- all at once ---------------------------------------------------------------------------------


@own_switches()
def null_battery(
    model: nn.Module,
    images: Tensor,
    explainer: Explainer | None = None,
    targets: Any = None,
    *,
    untrained: nn.Module | None = None,
    other_class: Any = None,
    other_images: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 100,
) -> dict[str, Tensor]:
    """Return the maps that an explanation must beat, each from one thing that it should not be.

    From the image alone: "noise", "edges", "bright edges", "centre", "away from the centre". From
    the explainer, asked about something else: "untrained network", the same model with random
    weights; "another class"; "another image", the map of a different image. A score that is no
    better than the best of them (`strongest_null`) does not speak for the explainer.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        explainer: a function `(model, images, targets) -> relevance`; None leaves out the nulls
            that need it.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`), which leaves out another class.
        untrained: the untrained network; None makes `reinitialised(model, images, seed=seed)`.
        other_class: class indices (N,) or one for all; None takes, of the other classes, the one
            with the largest logit. A model with one logit has no other class: the null is left out.
        other_images: (N, C, H, W), explained for the classes predicted for them. None gives each
            image the map of another one of the batch, in a random order that the seed decides.
        seed: of the noise, the random weights and the order.
        batch_size: images that the explainer gets at once.

    Returns:
        Relevance (N, C or 1, H, W), by name.

    Raises:
        ValueError: if an argument is not as described; if another class is the target itself; if
            there are no `other_images` and all images are equal; or as `reinitialised` does.

    Cost:
        Three explanations of each image, and about ten forward passes; without an explainer five.

    References:
        Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps. NeurIPS
        2018, arXiv:1810.03292 (edges, random weights).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import null_battery
        >>> from xai_course.relu import gradient
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
        >>> nulls = null_battery(model, torch.rand(2, 1, 4, 4), gradient)
        >>> list(nulls)[:4], list(nulls)[5:]  # doctest: +NORMALIZE_WHITESPACE
        (['noise', 'edges', 'bright edges', 'centre'],
         ['untrained network', 'another class', 'another image'])
    """
    model, targets = single_output(model, targets)
    with torch.no_grad():
        x, logits, classes = validate_all_logits(model, images, targets, batch_size=batch_size)
    nulls = {
        "noise": noise_map(model, x, classes, signed=False, seed=seed),
        "edges": edge_map(model, x, classes),
        "bright edges": bright_edge_map(model, x, classes),
        "centre": centre_map(model, x, classes),
        "away from the centre": centre_map(model, x, classes, inverse=True),
    }
    if explainer is None:
        return nulls
    if not callable(explainer):
        raise ValueError(
            f"explainer: got {type(explainer).__name__}; must be a function (model, images, "
            "targets) -> relevance, which also explains other models and other classes, or None."
        )

    def explain(explained: nn.Module, inputs: Tensor, asked: Tensor) -> Tensor:
        return relevance_maps(explained, explainer, inputs.clone(), asked, batch_size=batch_size)

    if untrained is None:
        untrained = reinitialised(model, x, seed=seed)
    nulls["untrained network"] = explain(untrained, x, classes)
    if logits.shape[1] > 1 or other_class is not None:
        other = _other_class(model, x, logits, classes, other_class)
        nulls["another class"] = explain(model, x, other)
    others, asked = _other_images(model, x, classes, other_images, seed)
    nulls["another image"] = explain(model, others, asked)
    return nulls


def _other_class(
    model: nn.Module, x: Tensor, logits: Tensor, classes: Tensor, other_class: Any
) -> Tensor:
    """Return a class for each image that is not its target: the given one, or the runner-up."""
    if other_class is None:
        return logits.scatter(1, classes[:, None], -torch.inf).argmax(1)
    try:
        with torch.no_grad():
            _, _, other = validate_inputs(model, x, other_class)
    except ValueError as error:  # it names another argument
        raise ValueError(f"other_class{str(error).removeprefix('targets')}") from error
    if (other == classes).any():
        raise ValueError("other_class: got an image's own target; must be another class.")
    return other


def _other_images(
    model: nn.Module, x: Tensor, classes: Tensor, other_images: Tensor | None, seed: int
) -> tuple[Tensor, Tensor]:
    """Return a different image for each image, and the class to explain it for."""
    if other_images is not None:
        if not isinstance(other_images, Tensor) or other_images.shape != x.shape:
            got = tuple(getattr(other_images, "shape", ())) or type(other_images).__name__
            raise ValueError(f"other_images: got {got}; must be images {tuple(x.shape)}.")
        with torch.no_grad():
            others, _, asked = validate_inputs(model, other_images)
        return others, asked
    if len(x) < 2:
        raise ValueError(f"images: got {len(x)}; must be two or more, or pass other_images.")
    # One cycle through all images in a random order. An image that equals its predecessor takes the
    # one before that, and so on: no image gets its own map, nor the map of its copy.
    order = torch.randperm(len(x), generator=new_generator(seed)).to(x.device)
    place, chosen = order.argsort(), torch.arange(len(x), device=x.device)
    for back in range(1, len(x)):
        alike = (x[chosen] == x).flatten(1).all(1)
        chosen = torch.where(alike, order[place - back], chosen)
    if (x[chosen] == x).flatten(1).all(1).any():
        raise ValueError("images: got equal images only; must differ, or pass other_images.")
    return x[chosen], classes[chosen]
