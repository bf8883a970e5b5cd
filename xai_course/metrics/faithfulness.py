"""Does a map agree with what the model does? Measures that need no ground truth.

`deletion`, `insertion`: does the output change when the most relevant pixels are replaced?
`infidelity`: does it change by as much as relevance predicts? `sensitivity_max`: does the map stay
the same when the image hardly changes? A score means little alone: compare it with the score of a
map that knows nothing of the model (see `null_maps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.checks import check_choice, check_count, check_number
from xai_course.core.inputs import validate_all_logits, validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.outputs import class_probabilities, single_output
from xai_course.core.progress import progress_bar
from xai_course.core.randomness import image_generator, new_generator
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain

__all__ = [
    "DeletionInsertion",
    "deletion",
    "deletion_and_insertion",
    "deletion_curve",
    "infidelity",
    "insertion",
    "insertion_curve",
    "sensitivity_max",
]


# ---- deletion and insertion ----------------------------------------------------------------------


@own_switches(grad=False)
def deletion_curve(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    *,
    fill: str | Tensor = "mean",
    steps: int = 16,
    output: str = "probability",
    batch_size: int = 250,
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """Return the output of the model while pixels are replaced, the most relevant first.

        curve[:, k] = output(x, its round(k/steps · H·W) most relevant pixels replaced)

    The curve begins with the whole image (k = 0) and ends with the fill alone. An early drop means
    that the map found what the output needs, or that the replaced pixels look like nothing that
    the model knows.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W). Channels are summed before pixels are ordered.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class predicted for the
            whole image, or a function of the output (see `single_output`).
        fill: what replaces a pixel: "mean", the image's mean colour; "blur", the blurred image;
            "noise", normal noise with the mean and standard deviation of each of the image's
            channels; or a tensor that broadcasts to the images.
        steps: number of steps. Each replaces the same share of the pixels, up to rounding.
        output: "probability" (softmax, or sigmoid of a single logit) or "logit" of the class.
        batch_size: images in one forward pass.
        seed: of the noise, and of the order of pixels of equal relevance.
        progress: show progress bars.

    Returns:
        The curve (N, steps + 1), in probability or in logits.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        N · (steps + 1) forward passes, besides those of the explainer.

    References:
        Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models.
        BMVC 2018, arXiv:1806.07421.
        Samek and others: Evaluating the Visualization of What a Deep Neural Network Has Learned.
        IEEE TNNLS 2017, arXiv:1509.06321.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import deletion_curve
        >>> model = nn.Flatten().eval()  # its logits are its pixels
        >>> image = torch.tensor([[[[1.0, 5.0]]]])
        >>> deletion_curve(model, image, image, fill=torch.tensor(0.0), steps=2)
        tensor([[0.9820, 0.2689, 0.5000]])
    """
    (curve,) = _curves(
        model,
        explainer,
        images,
        targets,
        (1,),
        fill=fill,
        steps=steps,
        output=output,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    return curve


@own_switches(grad=False)
def insertion_curve(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    **options: Any,
) -> Tensor:
    """Return the output of the model while pixels are put back, the most relevant first.

        curve[:, k] = output(fill, with the round(k/steps · H·W) most relevant pixels of x)

    The curve begins with the fill alone (k = 0) and ends with the whole image.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W). Channels are summed before pixels are ordered.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        options: `fill`, `steps`, `output`, `batch_size`, `seed`, `progress`, as in
            `deletion_curve`.

    Returns:
        The curve (N, steps + 1), in probability or in logits.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        N · (steps + 1) forward passes, besides those of the explainer.

    References:
        As for `deletion_curve`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import insertion_curve
        >>> model = nn.Flatten().eval()  # its logits are its pixels
        >>> image = torch.tensor([[[[1.0, 5.0]]]])
        >>> insertion_curve(model, image, image, fill=torch.tensor(0.0), steps=2)
        tensor([[0.5000, 0.9933, 0.9820]])
    """
    _check_options("insertion_curve", options)
    # To put back the most relevant pixels first is to replace the least relevant first, in reverse.
    (curve,) = _curves(model, explainer, images, targets, (-1,), **options)
    return curve.flip(1)


def deletion(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    **options: Any,
) -> Tensor:
    """Return the area under `deletion_curve`: low is good.

        area = ∫ curve(s) ds        s: the share of pixels replaced, from 0 to 1 (trapezoids)

    It is the mean height of the curve.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W). Channels are summed before pixels are ordered.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        options: `fill`, `steps`, `output`, `batch_size`, `seed`, `progress`, as in
            `deletion_curve`.

    Returns:
        The area (N,), in probability or in logits.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        N · (steps + 1) forward passes, besides those of the explainer.

    References:
        As for `deletion_curve`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import deletion
        >>> model = nn.Flatten().eval()  # its logits are its pixels
        >>> image = torch.tensor([[[[1.0, 5.0]]]])
        >>> deletion(model, image, image, fill=torch.tensor(0.0), steps=2)
        tensor([0.5050])
    """
    _check_options("deletion", options)
    return _area(deletion_curve(model, explainer, images, targets, **options), images)


def insertion(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    **options: Any,
) -> Tensor:
    """Return the area under `insertion_curve`: high is good.

        area = ∫ curve(s) ds        s: the share of pixels put back, from 0 to 1 (trapezoids)

    It is the mean height of the curve.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W). Channels are summed before pixels are ordered.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        options: `fill`, `steps`, `output`, `batch_size`, `seed`, `progress`, as in
            `deletion_curve`.

    Returns:
        The area (N,), in probability or in logits.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        N · (steps + 1) forward passes, besides those of the explainer.

    References:
        As for `deletion_curve`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import insertion
        >>> model = nn.Flatten().eval()  # its logits are its pixels
        >>> image = torch.tensor([[[[1.0, 5.0]]]])
        >>> insertion(model, image, image, fill=torch.tensor(0.0), steps=2)
        tensor([0.8672])
    """
    _check_options("insertion", options)
    curve = insertion_curve(model, explainer, images, targets, **options)
    return _area(curve.flip(1), images)  # from whole to fill again: there the shares are rounded


class DeletionInsertion(NamedTuple):
    """What `deletion_and_insertion` returns.

    Attributes:
        deletion: the area under the deletion curve (N,): low is good.
        insertion: the area under the insertion curve (N,): high is good.
    """

    deletion: Tensor
    insertion: Tensor


@own_switches(grad=False)
def deletion_and_insertion(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    **options: Any,
) -> DeletionInsertion:
    """Return `deletion` and `insertion` in one call, which costs less than two.

    Both curves run between the whole image and the fill, so these run once; and so does the
    explainer.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W). Channels are summed before pixels are ordered.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        options: `fill`, `steps`, `output`, `batch_size`, `seed`, `progress`, as in
            `deletion_curve`.

    Returns:
        `DeletionInsertion`: the two areas (N,), in probability or in logits.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        2 · N · steps forward passes, besides those of the explainer, which runs once.

    References:
        As for `deletion_curve`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import deletion_and_insertion
        >>> model = nn.Flatten().eval()  # its logits are its pixels
        >>> image = torch.tensor([[[[1.0, 5.0]]]])
        >>> deletion_and_insertion(model, image, image, fill=torch.tensor(0.0), steps=2)
        DeletionInsertion(deletion=tensor([0.5050]), insertion=tensor([0.8672]))
    """
    _check_options("deletion_and_insertion", options)
    curves = _curves(model, explainer, images, targets, (1, -1), **options)
    return DeletionInsertion(*(_area(curve, images) for curve in curves))


def _curves(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any,
    signs: Sequence[int],
    *,
    fill: str | Tensor = "mean",
    steps: int = 16,
    output: str = "probability",
    batch_size: int = 250,
    seed: int = 0,
    progress: bool = False,
) -> list[Tensor]:
    """Return curves (N, steps + 1) while pixels are replaced, in decreasing order of sign · map."""
    check_choice("output", output, ("probability", "logit"))
    batch_size = check_count("batch_size", batch_size)
    model, targets = single_output(model, targets)
    x, logits, classes = validate_all_logits(
        model, images, targets, batch_size=batch_size, probabilities=output == "probability"
    )
    pixels = x.shape[2] * x.shape[3]
    steps = check_count("steps", steps, most=pixels)
    relevance = _relevance(model, explainer, x, classes, batch_size, progress)
    relevance = relevance.double().sum(1).flatten(1)
    new_generator(seed)  # checks the seed
    replacement = _replacement(x, fill, seed)
    replaced = _replaced_pixels(steps, pixels).to(x.device).view(-1, 1, 1, 1)  # (steps + 1, ...)

    def output_of(logits: Tensor, classes: Tensor) -> Tensor:
        values = class_probabilities(logits) if output == "probability" else logits
        return values.gather(1, classes[:, None])[:, 0]

    curves: list[Tensor] = []
    for sign in signs:
        position = _positions(sign * relevance, new_generator(seed))
        position = position.view(len(x), 1, 1, *x.shape[2:])  # in the order of replacement
        curve = logits.new_empty(len(x), steps + 1)
        curve[:, 0] = output_of(logits, classes)  # the whole images, which have run already
        if curves:
            curve[:, -1] = curves[0][:, -1]  # all is replaced, whatever the order
        batches = _variant_batches(len(x), steps - bool(curves), batch_size)
        for n, k in progress_bar(batches, "replacing pixels", progress):  # n: images, k: steps
            is_replaced = position[n] < replaced[1:][k]  # (images, steps, 1, H, W)
            changed = torch.where(is_replaced, replacement[n, None], x[n, None])
            repeated_classes = classes[n].repeat_interleave(changed.shape[1])
            outputs = output_of(model(changed.flatten(0, 1)), repeated_classes)
            curve[:, 1:][n, k] = outputs.view(changed.shape[:2])
        curves.append(curve)
    return curves


def _check_options(name: str, options: dict[str, Any]) -> None:
    """Raise TypeError, as Python does, for an option that `deletion_curve` does not have."""
    known = ("fill", "steps", "output", "batch_size", "seed", "progress")
    for option in options:
        if option not in known:
            raise TypeError(
                f"{name}() got an unexpected keyword argument {option!r}; it takes "
                f"{', '.join(known)}."
            )


def _positions(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return the position of each pixel in decreasing order (N, H·W), equal values at random."""
    # A stable sort keeps the order of equal values, so they are shuffled before.
    shuffled = torch.rand(values.shape, generator=generator).argsort(1).to(values.device)
    order = values.gather(1, shuffled).sort(dim=1, stable=True, descending=True).indices
    order = shuffled.gather(1, order)  # the pixel at each position
    return order.argsort(1)  # the inverse: the position of each pixel


def _noise_for(image: Tensor, seed: int) -> Tensor:
    """Return normal noise of the image's shape, the same in any batch."""
    return torch.randn(image.shape, generator=image_generator(image, seed), dtype=torch.double)


def _replacement(x: Tensor, fill: str | Tensor, seed: int) -> Tensor:
    """Return what replaces the pixels of the images, in the images' shape."""
    if isinstance(fill, str) and fill == "noise":
        noise = torch.stack([_noise_for(image, seed) for image in x]).to(x)
        deviation, mean = torch.std_mean(x, (2, 3), correction=0, keepdim=True)
        return mean + deviation * noise
    if isinstance(fill, Tensor):
        check_plain("fill", fill)
    if isinstance(fill, Tensor) or (isinstance(fill, str) and fill in ("mean", "blur")):
        with suppress(ValueError):  # it would name another argument
            return baseline_images(x, fill)
    got = f"shape {tuple(fill.shape)}" if isinstance(fill, Tensor) else repr(fill)
    raise ValueError(
        f'fill: got {got}; must be "mean", "blur", "noise", or a finite tensor that broadcasts to '
        f"{tuple(x.shape)}."
    )


def _variant_batches(images: int, variants: int, batch_size: int) -> list[tuple[slice, slice]]:
    """Split the variants of each image into batches: (which images, which variants)."""
    whole = max(batch_size // max(variants, 1), 1)  # images whose variants fit into one batch
    return [
        (slice(n, n + whole), slice(k, min(k + batch_size, variants)))
        for n in range(0, images, whole)
        for k in range(0, variants, batch_size)
    ]


def _replaced_pixels(steps: int, pixels: int) -> Tensor:
    """Return how many pixels are replaced after each step (steps + 1,): round(k/steps · pixels)."""
    return (torch.arange(steps + 1) * pixels + steps // 2) // steps


def _area(curve: Tensor, images: Tensor) -> Tensor:
    """Return the mean height of curves (N, steps + 1) over the share of pixels replaced, (N,)."""
    pixels = images.shape[2] * images.shape[3]
    shares = _replaced_pixels(curve.shape[1] - 1, pixels).to(curve) / pixels
    return torch.trapezoid(curve, shares, dim=1)


# ---- infidelity and sensitivity ------------------------------------------------------------------


@own_switches(grad=False)
def infidelity(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    *,
    unit: str = "slope",
    perturbation: str = "noise",
    noise: float = 0.2,
    fill: str | Tensor = "mean",
    samples: int = 32,
    scaled: bool = False,
    seed: int = 0,
    batch_size: int = 250,
) -> Tensor:
    """Return the error of relevance in predicting the logit of a changed image.

        infidelity = mean over I of  ( a · p − d )²
        d = f(x) − f(x − I)                     the true drop of the logit
        p = Σ I · relevance                     the predicted drop, of a slope
        p = Σ over the square of relevance      the predicted drop, of a sum

    Low is good. I is noise, N(0, noise²) for each value, or it takes a square away: I = x − fill
    inside the square, and 0 outside. f is the logit of the target class.

    A map is a *slope* if it is logits per unit of the input, as the gradient is, and a *sum* if it
    is logits, as gradient × input and Integrated Gradients are: it holds the input already, and the
    relevance of a region is what the region brings. A sum says what taking a region away does, and
    nothing about noise. A map of guided backpropagation or DeconvNet holds no input; read it as a
    slope.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W). A slope of one channel counts for every channel.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        unit: "slope" or "sum": what the relevance is; `map_unit` in `xai_course.methods` tells it
            for the course's methods.
        perturbation: "noise" or "squares".
        noise: standard deviation of each value of I, in units of the input.
        fill: what a square is replaced by: "mean", "blur", "noise" or a tensor, as in
            `deletion_curve`. For a sum, the baseline that the method compares with.
        samples: number of perturbations I, the same for all images. The side of a square is drawn
            from 1 pixel to 10/28 of the image's shorter side, as published; then its place.
        scaled: False: a = 1. True: a is the factor that makes the mean smallest for each image,
            Σ p·d / Σ p², for methods without a unit. It may be negative, and is 0 for a map of
            zeros.
        seed: of the perturbations.
        batch_size: images in one forward pass.

    Returns:
        The infidelity (N,), in logits squared, in double precision.

    Raises:
        ValueError: if an argument is not as described, or for a sum under noise.

    Cost:
        N · (samples + 1) forward passes, besides those of the explainer.

    References:
        Yeh and others: On the (In)fidelity and Sensitivity of Explanations. NeurIPS 2019,
        arXiv:1901.09392. Their code has squares of 1 to 10 of 28 pixels, and multiplies gradients
        and guided backpropagation by the input: github.com/chihkuanyeh/saliency_evaluation.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import infidelity
        >>> from xai_course.relu import gradient, gradient_times_input
        >>> model = nn.Flatten().eval()  # linear, so that its gradient predicts every drop
        >>> image = torch.rand(1, 1, 4, 4)
        >>> float(infidelity(model, gradient, image)) < 1e-9
        True
        >>> squares = {"perturbation": "squares", "fill": torch.tensor(0.0)}
        >>> float(infidelity(model, gradient_times_input, image, unit="sum", **squares)) < 1e-9
        True
    """
    check_choice("unit", unit, ("slope", "sum"))
    check_choice("perturbation", perturbation, ("noise", "squares"))
    if unit == "sum" and perturbation == "noise":
        raise ValueError(
            'unit: got "sum" under noise; must be "slope", or the perturbation "squares": a sum '
            "tells what taking a region away does."
        )
    check_number("noise", noise, above=0)
    samples = check_count("samples", samples)
    batch_size = check_count("batch_size", batch_size)
    model, targets = single_output(model, targets)
    x, chosen, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    relevance = _relevance(model, explainer, x, classes, batch_size).double()
    generator = new_generator(seed)
    if perturbation == "noise":
        changes = torch.randn(samples, *x.shape[1:], generator=generator, dtype=torch.double)
        changes = (noise * changes).to(x)  # (samples, C, H, W)
        per_channel = changes.double().sum(1) if relevance.shape[1] == 1 else changes.double()
        predicted = relevance.flatten(1) @ per_channel.flatten(1).T  # (N, samples)
    else:
        replacement = _replacement(x, fill, seed)
        squares = _squares(samples, x.shape[2], x.shape[3], generator).to(x.device)
        sums = _as_sums(relevance, x, replacement, unit).sum(1)
        predicted = sums.flatten(1) @ squares.double().flatten(1).T  # (N, samples)

    logit_drop = chosen.new_empty(len(x), samples, dtype=torch.double)
    for n, k in _variant_batches(len(x), samples, batch_size):  # n: images, k: samples
        if perturbation == "noise":
            changed = x[n, None] - changes[k]  # (images, samples, C, H, W)
        else:
            changed = torch.where(squares[k, None], replacement[n, None], x[n, None])
        repeated_classes = classes[n].repeat_interleave(changed.shape[1])[:, None]
        logits = model(changed.flatten(0, 1)).gather(1, repeated_classes).view(changed.shape[:2])
        logit_drop[n, k] = chosen[n, None].double() - logits

    if scaled:
        power = predicted.square().sum(1, keepdim=True)
        factor = (predicted * logit_drop).sum(1, keepdim=True) / torch.where(power > 0, power, 1.0)
        predicted = factor * predicted
    return (predicted - logit_drop).square().mean(1)


def _as_sums(relevance: Tensor, x: Tensor, fill: Tensor, unit: str) -> Tensor:
    """Return relevance as logits: a slope times the distance of the input from the fill."""
    return relevance * (x - fill).double() if unit == "slope" else relevance


def _squares(samples: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return squares of random sides at random places (samples, H, W), True inside."""
    largest = max(10 * min(height, width) // 28, 1)
    sides = torch.randint(1, largest + 1, (samples,), generator=generator)
    # One random number for each square and direction: any place at which it fits is equally likely.
    down, right = torch.rand(2, samples, generator=generator, dtype=torch.double)

    def inside(length: int, place: Tensor) -> Tensor:
        first = (place * (length - sides + 1)).long()[:, None]
        pixel = torch.arange(length)
        return (pixel >= first) & (pixel < first + sides[:, None])

    return inside(height, down)[:, :, None] & inside(width, right)[:, None]


@own_switches(grad=False)
def sensitivity_max(
    model: nn.Module,
    explainer: Explainer,
    images: Tensor,
    targets: Any = None,
    *,
    unit: str | None = None,
    radius: float = 0.05,
    fill: str | Tensor = "mean",
    samples: int = 8,
    seed: int = 0,
    batch_size: int = 100,
) -> Tensor:
    """Return how much a map changes at most when the image changes a little: low is stable.

        max over δ of  ‖Φ(x + δ) − Φ(x)‖ / ‖Φ(x)‖        δ uniform in [−radius, radius]

    Φ is the map. Where Φ(x) is zero everywhere, the change is divided by ‖Φ(x + δ)‖ instead: the
    result is 0 if that is zero too, else 1. A map that ignores the image scores 0, so 0 alone does
    not mean that a map is good.

    A sum (see `infidelity`) changes with the input that it holds, a slope does not. To compare maps
    of both kinds, pass their `unit`: a slope is then multiplied by x − fill.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class predicted for the
            unchanged image, or a function of the output (see `single_output`). The class is the
            same for all changes.
        unit: "slope" or "sum": what the relevance is; None leaves every map as it is.
        radius: how much each value of the image changes at most, in units of the input.
        fill: with the unit "slope", what the input is compared with: "mean", "blur", "noise" or a
            tensor, as in `deletion_curve`.
        samples: number of changes δ, the same for all images.
        seed: of the changes.
        batch_size: images that the explainer gets at once.

    Returns:
        The largest relative change (N,), in double precision.

    Raises:
        ValueError: if an argument is not as described, or the explainer is no function.

    Cost:
        N · (samples + 1) explanations, and one forward pass.

    References:
        As for `infidelity`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import sensitivity_max
        >>> from xai_course.relu import gradient
        >>> model = nn.Flatten().eval()  # linear: its gradient is the same everywhere
        >>> sensitivity_max(model, gradient, torch.rand(1, 1, 2, 2), 3)
        tensor([0.], dtype=torch.float64)
    """
    if isinstance(explainer, Tensor):
        raise ValueError(
            "explainer: got relevance; must be a function (model, images, targets) -> relevance, "
            "which also explains the changed images."
        )
    check_choice("unit", unit, ("slope", "sum", None))
    check_number("radius", radius, above=0)
    samples = check_count("samples", samples)
    batch_size = check_count("batch_size", batch_size)
    model, targets = single_output(model, targets)
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)

    def explain(inputs: Tensor) -> Tensor:
        relevance = _relevance(model, explainer, inputs, classes, batch_size).double()
        if unit is None:
            return relevance
        return _as_sums(relevance, inputs, _replacement(inputs, fill, seed), unit)

    before = explain(x)
    length = torch.linalg.vector_norm(before, dim=(1, 2, 3))
    largest = torch.zeros_like(length)
    generator = new_generator(seed)
    for _ in range(samples):
        change = torch.rand(x.shape[1:], generator=generator, dtype=torch.double) * 2 - 1
        changed = x + (radius * change).to(x)
        after = explain(changed)
        distance = torch.linalg.vector_norm(after - before, dim=(1, 2, 3))
        # Where the map before is zero, the distance is the length of the map after.
        relative = distance / torch.where(length > 0, length, distance.clamp_min(1e-300))
        largest = torch.maximum(largest, relative)
    return largest


# ---- shared --------------------------------------------------------------------------------------


def _relevance(
    model: nn.Module,
    explainer: Explainer | Tensor,
    x: Tensor,
    classes: Tensor,
    batch_size: int,
    progress: bool = False,
) -> Tensor:
    """Return the relevance of images (N, C or 1, H, W), on their device."""
    batch_size = min(batch_size, 100)  # an explainer needs more memory than a forward pass
    with torch.enable_grad():  # a reader's own explainer may rely on it
        # The explainer gets a copy, since it may change its images in place.
        maps = relevance_maps(
            model, explainer, x.clone(), classes, batch_size=batch_size, progress=progress
        )
    return maps.to(x.device)
