"""Measures without an answer key, for photographs and for networks whose truth nobody knows.

Does the model change when what is relevant goes (`deletion`, `insertion`), as much as relevance
says (`infidelity`)? And does the map stay the same when the image hardly moves (`sensitivity_max`)?
None of them knows the truth: hold each beside the score of a map that knows nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.core.baselines import baseline_images
from xai_course.core.inputs import validate_inputs
from xai_course.core.maps import Explainer, relevance_maps

__all__ = [
    "deletion",
    "deletion_curve",
    "infidelity",
    "insertion",
    "insertion_curve",
    "sensitivity_max",
]


@torch.inference_mode(False)
@torch.no_grad()
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
    """Return the model's output while pixels are replaced, the most relevant first: (N, steps + 1).

    `explainer`: a function `(model, images, targets) -> relevance`, or the relevance of these
    images (N, C or 1, H, W); channels are summed first. `images` (N, C, H, W). `targets`: class
    indices (N,), one index, or None for the class predicted for the whole image.
    `fill`: what replaces a pixel: "mean", the image's mean colour; "blur", the image seen through
    a blur; "noise", normal noise of the image's own mean and deviation in each channel; or a tensor
    that broadcasts to the images. `steps`: shares of the pixels, equal up to rounding.
    `output`: "probability" (softmax) or "logit" of the class. `batch_size`: images in one pass.
    `seed`: of the noise, and of the order of pixels of equal relevance. `progress`: show bars.

        curve[:, k] = output(x, its round(k/steps · H·W) most relevant pixels replaced)

    From the whole image (k = 0) to the fill alone. An early fall says that the map found what the
    output needs, or that holes look like nothing the model knows. N · (steps + 1) forward passes,
    besides the explainer's. Raises ValueError for wrong arguments.

    Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models.
    BMVC 2018, arXiv:1806.07421. Samek and others: Evaluating the Visualization of What a Deep
    Neural Network Has Learned. IEEE TNNLS 2017, arXiv:1509.06321.
    """
    if output not in ("probability", "logit"):
        raise ValueError(f'output: got {output!r}; allowed are "probability" and "logit".')
    x, logits, classes = _prepare(model, images, targets, batch_size)
    _check("steps", steps, x.shape[2] * x.shape[3])
    maps = _explain(model, explainer, x, classes, batch_size, progress)
    chance = torch.Generator().manual_seed(seed)
    filling = _filling(x, fill, chance)
    places = _queue(maps.double().sum(1).flatten(1), chance).view(-1, 1, 1, *x.shape[2:])
    cuts = _cuts(steps, x.shape[2] * x.shape[3]).to(x.device)[1:].view(-1, 1, 1, 1)

    def score(logits: Tensor, at: Tensor) -> Tensor:
        values = logits.softmax(1) if output == "probability" else logits
        return values.gather(1, at[:, None])[:, 0]

    curve = logits.new_empty(len(x), steps + 1)
    curve[:, 0] = score(logits, classes)
    passes: Any = _passes(len(x), steps, batch_size)
    if progress:
        from tqdm.auto import tqdm

        passes = tqdm(passes, "replacing pixels")
    for n, k in passes:
        gone = (places[n] < cuts[k]).to(x.dtype)  # (images, steps, 1, H, W), 0 or 1: faster than
        left = (x[n, None] * (1 - gone)).addcmul_(filling[n, None], gone)  # where, and as exact
        scores = score(model(left.flatten(0, 1)), classes[n].repeat_interleave(gone.shape[1]))
        curve[:, 1:][n, k] = scores.view(gone.shape[:2])
    return curve


def insertion_curve(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    **options: Any,
) -> Tensor:
    """Return the model's output while pixels come back, the most relevant first: (N, steps + 1).

    Arguments, cost, errors and papers as in `deletion_curve`; `options` are its fill, steps,
    output, batch_size, seed and progress. From the fill alone (k = 0) to the whole image.

        curve[:, k] = output(fill, its round(k/steps · H·W) most relevant pixels taken from x)
    """
    # To put back the most relevant first is to take away the least relevant first, seen backwards.
    less = explainer
    if isinstance(explainer, Tensor):
        less = -1 * explainer
    elif callable(explainer):
        less = lambda *given: -1 * explainer(*given)  # noqa: E731
    return deletion_curve(model, less, images, targets, **options).flip(1)


def deletion(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    **options: Any,
) -> Tensor:
    """Return the area under `deletion_curve`, (N,), in units of its output: low is good.

    The mean height of the curve over the share of pixels replaced, from 0 to 1 (trapezoids).
    Arguments, cost, errors and papers as in `deletion_curve`.
    """
    return _area(deletion_curve(model, explainer, images, targets, **options), images)


def insertion(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    **options: Any,
) -> Tensor:
    """Return the area under `insertion_curve`, (N,), in units of its output: high is good.

    The mean height of the curve over the share of pixels put back, from 0 to 1 (trapezoids).
    Arguments, cost, errors and papers as in `deletion_curve`.
    """
    return _area(insertion_curve(model, explainer, images, targets, **options).flip(1), images)


@torch.inference_mode(False)
@torch.no_grad()
def infidelity(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    *,
    noise: float = 0.2,
    samples: int = 32,
    scaled: bool = False,
    seed: int = 0,
    batch_size: int = 250,
) -> Tensor:
    """Return how badly relevance, read as a slope, foretells the logit under noise: (N,), low good.

    `explainer`, `images`, `targets`: as in `deletion_curve`. `noise`: deviation of the
    perturbation I of each input value, in units of the input. `samples`: perturbations, the same
    for all images, drawn by `seed`. `batch_size`: images in one pass.

        mean over I ~ N(0, noise²) of  ( a · Σ I · relevance  −  (f(x) − f(x − I)) )²

    f is the chosen logit, so the unit is logits squared. Relevance counts as logits per unit of
    the input, whatever the method means by it (a map that already holds the input, such as
    gradient × input, is no slope); a map (N, 1, H, W) is the slope of every channel.
    `scaled` False: a = 1. True: a is, for each image, the one number that makes this mean smallest,
    a = Σ p·d / Σ p², over the samples' foretold p = Σ I · relevance and true d = f(x) − f(x − I);
    it may be negative, and is 0 for a flat map of zeros. That is for methods without a unit.
    N · (samples + 1) forward passes, besides the explainer's. Raises ValueError as that does.

    Yeh and others: On the (In)fidelity and Sensitivity of Explanations. NeurIPS 2019,
    arXiv:1901.09392.
    """
    _check("noise", noise, whole=False)
    _check("samples", samples)
    x, chosen, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    maps = _explain(model, explainer, x, classes, batch_size)
    chance = torch.Generator().manual_seed(seed)
    moves = torch.randn(samples, *x.shape[1:], generator=chance, dtype=torch.double)
    moves = (noise * moves).to(x)

    fall = chosen.new_empty(len(x), samples, dtype=torch.double)
    for n, k in _passes(len(x), samples, batch_size):
        moved = x[n, None] - moves[k]
        at = classes[n].repeat_interleave(moved.shape[1])[:, None]
        logits = model(moved.flatten(0, 1)).gather(1, at).view(moved.shape[:2])
        fall[n, k] = chosen[n, None].double() - logits
    slopes = moves.double() if maps.shape[1] > 1 else moves.double().sum(1)
    foretold = maps.double().flatten(1) @ slopes.flatten(1).T  # (N, samples)
    if scaled:
        power = foretold.square().sum(1, keepdim=True)
        fit = (foretold * fall).sum(1, keepdim=True) / torch.where(power > 0, power, 1.0)
        foretold = fit * foretold
    return (foretold - fall).square().mean(1)


@torch.inference_mode(False)
@torch.no_grad()
def sensitivity_max(
    model: nn.Module,
    explainer: Explainer,
    images: Tensor,
    targets: Any = None,
    *,
    radius: float = 0.05,
    samples: int = 8,
    seed: int = 0,
    batch_size: int = 100,
) -> Tensor:
    """Return how far the map moves, at most, when the image moves a little: (N,), low is stable.

    `explainer`: a function `(model, images, targets) -> relevance`, called for each image samples
    + 1 times. `images`, `targets`: as in `deletion_curve`; the class stays the unmoved image's.
    `radius`: how far each input value moves at most, in units of the input. `samples`: moves, the
    same for all images, drawn by `seed`. `batch_size`: images in one pass.

        max over δ of  ‖Φ(x + δ) − Φ(x)‖ / ‖Φ(x)‖        δ uniform in [−radius, radius]

    The share of its own length by which the map Φ changes. If Φ(x) is zero everywhere, the change
    is held against Φ(x + δ) instead: 0 if that is zero too, else 1. A map that ignores the image
    is perfectly stable: 0 is no praise. Raises ValueError for wrong arguments, and for relevance
    in place of a function.

    Yeh and others, as for `infidelity`.
    """
    if isinstance(explainer, Tensor):
        raise ValueError(
            "explainer: got relevance; allowed is a function, to explain moved images."
        )
    _check("radius", radius, whole=False)
    _check("samples", samples)
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    before = _explain(model, explainer, x, classes, batch_size).double()
    length = torch.linalg.vector_norm(before, dim=(1, 2, 3))
    worst = torch.zeros_like(length)
    chance = torch.Generator().manual_seed(seed)
    for _ in range(samples):
        move = torch.rand(x.shape[1:], generator=chance, dtype=torch.double) * 2 - 1
        after = _explain(model, explainer, x + (radius * move).to(x), classes, batch_size)
        change = torch.linalg.vector_norm(after.double() - before, dim=(1, 2, 3))
        share = change / torch.where(length > 0, length, change.clamp_min(1e-300))
        worst = torch.maximum(worst, share)
    return worst


def _explain(
    model: nn.Module, how: Explainer | Tensor, x: Tensor, at: Tensor, many: int, bar: bool = False
) -> Tensor:
    """Return relevance (N, C or 1, H, W) by any explainer, which gets images of its own."""
    many = min(many, 100)  # images at a time: an explainer needs more memory than a forward pass
    with torch.enable_grad():  # a reader's own explainer may count on it
        maps = relevance_maps(model, how, x.clone(), at, batch_size=many, progress=bar)
    return maps.to(x.device)


def _prepare(
    model: nn.Module, images: Tensor, targets: Any, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Do as `validate_inputs` does, and return the images, all of their logits (N, K), and the classes."""
    passed: list[
        Tensor
    ] = []  # of the pass that `validate_inputs` makes: to run it again would cost one
    if not isinstance(model, nn.Module):
        validate_inputs(model, images, targets)  # which refuses it
    listener = model.register_forward_hook(lambda *call: passed.append(call[2]))
    try:
        x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    finally:
        listener.remove()
    return x, torch.cat(passed), classes


def _queue(values: Tensor, chance: torch.Generator) -> Tensor:
    """Return each pixel's place in the queue (N, H·W): 0 for the largest value, ties by chance."""
    highest, order = values.sort(stable=True, descending=True)
    if (highest[:, 1:] == highest[:, :-1]).any():
        # Shuffled first, a stable sort leaves the order of equals to chance.
        shuffled = torch.rand(values.shape, generator=chance).argsort(1).to(values.device)
        order = values.gather(1, shuffled).sort(stable=True, descending=True).indices
        order = shuffled.gather(1, order)
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _filling(x: Tensor, fill: str | Tensor, chance: torch.Generator) -> Tensor:
    """Return what replaces the pixels of the images, in the images' shape."""
    if isinstance(fill, str) and fill == "noise":
        noise = torch.randn(x.shape, generator=chance, dtype=torch.double).to(x)
        deviation, mean = torch.std_mean(x, (2, 3), correction=0, keepdim=True)
        return mean + deviation * noise
    if isinstance(fill, Tensor) or (isinstance(fill, str) and fill in ("mean", "blur")):
        with suppress(ValueError):  # it would name another argument
            return baseline_images(x, fill)
    came = f"shape {tuple(fill.shape)}" if isinstance(fill, Tensor) else repr(fill)
    allowed = f'"mean", "blur", "noise" or a finite tensor that fits {tuple(x.shape)}'
    raise ValueError(f"fill: got {came}; allowed is {allowed}.")


def _passes(images: int, variants: int, batch_size: int) -> list[tuple[slice, slice]]:
    """Divide the variants of images into forward passes: (which images, which variants)."""
    wide = max(batch_size // variants, 1)
    rows = [slice(n, n + wide) for n in range(0, images, wide)]
    columns = [slice(k, k + batch_size) for k in range(0, variants, batch_size)]
    return [(row, column) for row in rows for column in columns]


def _cuts(steps: int, pixels: int) -> Tensor:
    """Return how many pixels are replaced after each step (steps + 1,), from 0 to all."""
    return (torch.arange(steps + 1) * pixels + steps // 2) // steps


def _area(curve: Tensor, images: Tensor) -> Tensor:
    """Return the mean height of curves (N, steps + 1) over the share of pixels, (N,)."""
    pixels = images.shape[2] * images.shape[3]
    shares = _cuts(curve.shape[1] - 1, pixels).to(curve) / pixels
    return torch.trapezoid(curve, shares, dim=1)


def _check(name: str, value: Any, most: int | None = None, *, whole: bool = True) -> None:
    """Refuse what is no whole number from 1 to `most`, or no positive finite number."""
    if not whole and not (isinstance(value, int | float) and 0 < value < float("inf")):
        raise ValueError(f"{name}: got {value!r}; allowed is a positive finite number.")
    if whole and not (isinstance(value, int) and 1 <= value <= (most or value)):
        limit = f" to the number of pixels, {most}" if most else ""
        raise ValueError(f"{name}: got {value!r}; allowed is a whole number from 1{limit}.")
