"""Attacks: changes of a picture that are small, or sit in a corner, and change a network's answer.

Everything here is in pixels, floats in [0, 1], since that is what an attacker can change and where
ε has a meaning. A network of this course takes normalised images: `NormalisingModel(network)` puts
`normalise` in front. Attacks return pictures, detached; the model comes back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.inputs import validate_inputs

__all__ = [
    "apply_patch",
    "fgsm",
    "gradient_masking_checks",
    "is_correct",
    "learn_patch",
    "pgd",
    "random_perturbation",
]


# ---- changes within a ball -----------------------------------------------------------------------


def fgsm(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    epsilon: float = 8 / 255,
    targeted: bool = False,
    low: float = 0.0,
    high: float = 1.0,
) -> Tensor:
    """Attack with one step, the fast gradient sign method: (N, C, H, W), each pixel moved by ε.

        x' = clip(x + ε · sign ∇ cross-entropy(model(x), target))

    Arguments, result and errors as in `pgd`. Goodfellow, Shlens, Szegedy: Explaining and Harnessing
    Adversarial Examples. ICLR 2015, arXiv:1412.6572.
    """
    return pgd(
        model,
        images,
        targets,
        epsilon=epsilon,
        steps=1,
        step_size=epsilon,
        random_start=False,
        targeted=targeted,
        low=low,
        high=high,
    )


@torch.inference_mode(False)
@torch.no_grad()
def pgd(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    epsilon: float = 8 / 255,
    norm: str = "inf",
    steps: int = 10,
    step_size: float | None = None,
    random_start: bool = True,
    samples: int = 1,
    targeted: bool = False,
    low: float = 0.0,
    high: float = 1.0,
    seed: int = 0,
    batch_size: int = 250,
) -> Tensor:
    """Attack by projected gradient descent: pictures (N, C, H, W) at most ε away, in [low, high].

        x' <- project(x' + step_size · direction(∇ cross-entropy(model(x'), target)))

    `images`: pixels (N, C, H, W). `targets`: class indices (N,), one index, or None for the class
    that the model predicts: the attack leads away from it, or towards it if `targeted`, which
    needs targets. `norm`: "inf" (no pixel moves by more than ε; direction = sign) or "2" (the
    change of a picture has length ε at most; direction = the gradient at length 1). `step_size`:
    None for 2.5 · ε / steps, so that every corner can be reached. `random_start`: begin at a random
    place in the ball. `samples`: passes over which a gradient is summed, for a model that draws
    random numbers (expectation over transformation). All chance, also the model's own, comes from
    `seed`, and the caller's random state is left alone.

    Raises ValueError for a model in training mode, images outside [low, high], and options that
    cannot be used. Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant
    to Adversarial Attacks. ICLR 2018, arXiv:1706.06083.
    """
    _check_counts(steps=steps, samples=samples, batch_size=batch_size)
    _check(epsilon=epsilon, step_size=1.0 if step_size is None else step_size)
    _check_norm(norm)
    step = 2.5 * epsilon / steps if step_size is None else step_size
    with _own_chance(images, seed):
        start, classes = _prepare(model, images, targets, targeted, low, high, batch_size)
        x = start
        if random_start:
            part = torch.rand_like(x if norm == "inf" else x[:, :1, :1, :1])
            x = (x + part * _random_step(x, norm) * epsilon).clamp(low, high)
        done = []
        parts = [torch.split(each, batch_size) for each in (x, start, classes)]
        for at, home, aim in zip(*parts, strict=True):
            for _ in range(steps):
                slope = _slope(model, at, aim, samples) * (-1 if targeted else 1)
                change = _project(at + step * _direction(slope, norm) - home, epsilon, norm)
                at = (home + change).clamp(low, high)
            done.append(at)
        return torch.cat(done)


def random_perturbation(
    images: Tensor,
    *,
    epsilon: float = 8 / 255,
    norm: str = "inf",
    low: float = 0.0,
    high: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Change pictures (N, C, H, W) by chance, as far as an attack may: what every attack must beat.

    "inf": each value by +ε or -ε; "2": in a random direction, by the length ε; then cut to
    [low, high]. Raises ValueError as `pgd` does.
    """
    _check(epsilon=epsilon)
    _check_norm(norm)
    _check_range(images, low, high)
    with _own_chance(images, seed):
        return (images.detach() + epsilon * _random_step(images, norm)).clamp(low, high)


# ---- a patch -------------------------------------------------------------------------------------


@torch.inference_mode(False)
@torch.no_grad()
def learn_patch(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    mask: Tensor,
    steps: int = 100,
    step_size: float = 0.05,
    targeted: bool = False,
    low: float = 0.0,
    high: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
) -> Tensor:
    """Learn one patch for all images: a picture (C, H, W), of which only what `mask` shows is used.

        patch <- clip(patch ± step_size · sign Σ ∇ cross-entropy(model(lay(images, patch, mask))))

    `mask`: (1, 1, H, W), or (N, 1, H, W) where it differs from image to image, in [0, 1]. Each of
    the `steps` sees another `batch_size` images, in an order drawn from `seed`. Other arguments and
    errors as in `pgd`. Brown, Mané, Roy, Abadi, Gilmer: Adversarial Patch. 2017, arXiv:1712.09665.
    """
    _check(step_size=step_size)
    _check_counts(steps=steps, batch_size=batch_size)
    with _own_chance(images, seed):
        x, classes = _prepare(model, images, targets, targeted, low, high, 250)
        masks = _check_mask(mask, x)
        patch = torch.full_like(x[:1], (low + high) / 2)
        order = torch.cat([torch.randperm(len(x)) for _ in range(steps * batch_size // len(x) + 1)])
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size].to(x.device)
            cover = masks[chosen]
            laid = x[chosen] * (1 - cover) + patch * cover
            slope = (_slope(model, laid, classes[chosen]) * cover).sum(0, keepdim=True)
            patch = (patch + step_size * slope.sign() * (-1 if targeted else 1)).clamp(low, high)
        return patch[0]


def apply_patch(images: Tensor, patch: Tensor, mask: Tensor) -> Tensor:
    """Lay a patch (C, H, W) on pictures (N, C, H, W) where `mask`, as in `learn_patch`, shows it.

    Raises ValueError for shapes that do not fit.
    """
    masks = _check_mask(mask, images)
    if patch.shape != images.shape[1:]:
        raise ValueError(
            f"patch: got shape {tuple(patch.shape)}; allowed is {tuple(images.shape[1:])}."
        )
    return images * (1 - masks) + patch * masks


# ---- with attacks --------------------------------------------------------------------------------


@torch.no_grad()
def is_correct(
    model: nn.Module, images: Tensor, labels: Tensor, *, seed: int = 0, batch_size: int = 250
) -> Tensor:
    """Return 1 for each image that the model names right, else 0: (N,), for `mean_interval`.

    A model that draws random numbers draws them from `seed`. Raises ValueError as `pgd` does.
    """
    with _own_chance(images, seed):
        validate_inputs(model, images[:1])  # its checks; the pass below is over all images
        parts = torch.split(images, batch_size)
        says = torch.cat([model(part.clone()).argmax(1) for part in parts])
    return (says == labels.to(says.device)).double()


def gradient_masking_checks(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 8 / 255,
    steps: int = 10,
    substitute: nn.Module | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Attack in ways that only hidden gradients can withstand: {attack: 1 where right, else 0}.

    An honest defence gets weaker along "no attack", "noise", "FGSM", "PGD", and "PGD, any change",
    whose ε allows every picture there is, leaves nothing right. Where PGD does no better than
    noise or FGSM, or where "transfer" (PGD on `substitute`, another network, shown to this one)
    beats it, the gradient is hidden and not the answer safe. "no slope" is 1 where the gradient
    is 0 at all pixels. Raises ValueError as `pgd` does.

    Athalye, Carlini, Wagner: Obfuscated Gradients Give a False Sense of Security. ICML 2018,
    arXiv:1802.00420.
    """
    options: dict[str, Any] = {"epsilon": epsilon, "steps": steps, "seed": seed}
    changed = {
        "no attack": images,
        "noise": random_perturbation(images, epsilon=epsilon, seed=seed),
        "FGSM": fgsm(model, images, labels, epsilon=epsilon),
        "PGD": pgd(model, images, labels, **options),
        "PGD, any change": pgd(model, images, labels, **options | {"epsilon": 1.0, "steps": 20}),
    }
    if substitute is not None:
        changed["transfer"] = pgd(substitute, images, labels, **options)
    found = {name: is_correct(model, x, labels, seed=seed) for name, x in changed.items()}
    with _own_chance(images, seed), torch.inference_mode(False):
        slope = _slope(model, images, labels.to(images.device))
    return {**found, "no slope": (slope == 0).flatten(1).all(1).double()}


# ---- parts ---------------------------------------------------------------------------------------


def _slope(model: nn.Module, x: Tensor, classes: Tensor, samples: int = 1) -> Tensor:
    """Return the gradient of the cross-entropy by the pictures, one each, summed over passes."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        loss = x.new_zeros(())
        for _ in range(samples):
            loss = loss + F.cross_entropy(model(x.clone()), classes, reduction="sum")
        if not loss.requires_grad:
            raise ValueError("model: its output has no derivative by the images (a no_grad?).")
        (slope,) = torch.autograd.grad(loss, x, materialize_grads=True)
    return slope


def _direction(slope: Tensor, norm: str) -> Tensor:
    """Return the step of length 1 that raises a linear loss most."""
    if norm == "inf":
        return slope.sign()
    length: Tensor = torch.linalg.vector_norm(slope, dim=(1, 2, 3), keepdim=True)
    return slope / length.clamp(min=torch.finfo(slope.dtype).tiny)


def _project(change: Tensor, epsilon: float, norm: str) -> Tensor:
    """Return the nearest change that lies in the ball."""
    if norm == "inf":
        return change.clamp(-epsilon, epsilon)
    length: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    return change * (epsilon / length.clamp(min=epsilon))


def _random_step(images: Tensor, norm: str) -> Tensor:
    """Draw a change on the surface of the ball of radius 1."""
    return _direction(torch.randn_like(images), norm)


@contextmanager
def _own_chance(images: Tensor, seed: int) -> Iterator[None]:
    """Draw from `seed`, on the CPU and the images' device; give the random state back."""
    devices = [images.device] if isinstance(images, Tensor) and images.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _prepare(
    model: nn.Module,
    images: Tensor,
    targets: Any,
    targeted: bool,
    low: float,
    high: float,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Check model, images and targets; return a copy of the images, and classes (N,)."""
    if targeted and targets is None:
        raise ValueError("targets: got None; allowed with targeted=True are the classes to reach.")
    x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    _check_range(x, low, high)
    return x.detach(), classes


def _check_range(images: Tensor, low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"low, high: got {low} and {high}; allowed is low below high.")
    least, most = float(images.min()), float(images.max())
    if not (low <= least and most <= high):
        raise ValueError(
            f"images: got values from {least:.3g} to {most:.3g}; allowed are pixels in "
            f"[{low:g}, {high:g}]. For a network of normalised images, attack OnPixels(network)."
        )


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"{name}: got {value!r}; allowed is a finite number above 0.")


def _check_counts(**numbers: int) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: got {value!r}; allowed is a whole number from 1.")


def _check_norm(norm: str) -> None:
    if norm not in ("inf", "2"):
        raise ValueError(f'norm: got {norm!r}; allowed are "inf" and "2".')


def _check_mask(mask: Tensor, images: Tensor) -> Tensor:
    """Return the mask (N, 1, H, W), one for each image."""
    count, _, *size = images.shape
    if not isinstance(mask, Tensor) or mask.shape not in ((1, 1, *size), (count, 1, *size)):
        came = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(
            f"mask: got {came}; allowed is (1, 1, {size[0]}, {size[1]}), or {count} of them."
        )
    if not (mask.min() >= 0 and mask.max() <= 1):
        raise ValueError("mask: allowed are shares in [0, 1].")
    return mask.to(images).expand(count, -1, -1, -1)
