"""Attacks: small changes of an image, or a patch, that change a network's prediction.

All images here are pixels, floats in [0, 1], since pixels are what an attacker can change, and ε is
measured in them. A network of this course takes normalised images; `NormalisingModel(network)` in
`xai_course.models` makes it a network of pixels. Attacks return detached images and leave the model
as it was.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_choice, check_count, check_number
from xai_course.core.graph import derivatives
from xai_course.core.inputs import check_images, validate_all_logits, validate_inputs
from xai_course.core.outputs import check_two_classes
from xai_course.core.randomness import seeded_rng
from xai_course.core.switches import own_switches
from xai_course.core.tensors import check_plain

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
    """Attack with one step of the fast gradient sign method: each pixel moves by ε.

        x' = clip(x + ε · sign(∇ cross-entropy(model(x), target)))

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W) in [low, high].
        targets: class indices (N,), one index for all, or None for the predicted class.
        epsilon: how far a pixel moves, in units of the pixels.
        targeted: True moves towards the targets, False away from them.
        low: the smallest value of a pixel.
        high: the largest value of a pixel.

    Returns:
        Attacked pixels (N, C, H, W) in [low, high].

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        Two forward passes and one backward pass.

    References:
        Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples. ICLR 2015,
        arXiv:1412.6572.

    Example:
        Class 0 has the logit x₁ - x₂, class 1 has 0:

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import fgsm
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).eval()
        >>> model[1].weight.data = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
        >>> image = torch.full((1, 1, 1, 2), 0.5)
        >>> fgsm(model, image, 0, epsilon=0.125).flatten()
        tensor([0.3750, 0.6250])
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


@own_switches(grad=False)
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
    """Attack by projected gradient descent: images at most ε away, with pixels in [low, high].

        x' ← project(x' + step_size · direction(∇ cross-entropy(model(x'), target)))

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W) in [low, high].
        targets: class indices (N,), one index for all, or None for the predicted class.
        epsilon: the radius of the ball, in units of the pixels.
        norm: "inf" (no pixel moves by more than ε; the direction is the sign of the gradient) or
            "2" (the change of an image has at most the length ε; the direction is the gradient
            scaled to length 1).
        steps: number of steps.
        step_size: length of a step; None for 2.5 · ε / steps, enough to reach every corner.
        random_start: True starts at a random point of the ball, False at the image itself.
        samples: passes over which each gradient is summed, for a model that draws random numbers
            (expectation over transformation).
        targeted: True moves towards the targets, which must be given; False away from them.
        low: the smallest value of a pixel.
        high: the largest value of a pixel.
        seed: of all random numbers, also of those that the model draws. The caller's random state
            stays as it was.
        batch_size: images in one pass.

    Returns:
        Attacked pixels (N, C, H, W) in [low, high], at most ε from the images.

    Raises:
        ValueError: if an argument is not as described, or the output does not depend on the images.

    Cost:
        `steps` · `samples` forward and backward passes, and one forward pass.

    References:
        Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to
        Adversarial Attacks. ICLR 2018, arXiv:1706.06083.
        Athalye, Engstrom, Ilyas, Kwok: Synthesizing Robust Adversarial Examples. ICML 2018,
        arXiv:1707.07397 (expectation over transformation).

    Example:
        On a linear model PGD ends in the best corner of the ball, wherever it starts:

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import pgd
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).eval()
        >>> model[1].weight.data = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
        >>> image = torch.full((1, 1, 1, 2), 0.5)
        >>> pgd(model, image, 0, epsilon=0.125).flatten()
        tensor([0.3750, 0.6250])
    """
    check_number("epsilon", epsilon, above=0)
    check_choice("norm", norm, ("inf", "2"))
    for name, count in (("steps", steps), ("samples", samples), ("batch_size", batch_size)):
        check_count(name, count)
    if step_size is None:
        step_size = 2.5 * epsilon / steps
    check_number("step_size", step_size, above=0)
    with seeded_rng(seed, _device(images)):
        clean, classes = _check_inputs(model, images, targets, targeted, low, high, batch_size)
        start = clean
        if random_start:
            share = torch.rand_like(clean if norm == "inf" else clean[:, :1, :1, :1])
            start = (clean + share * _random_direction(clean, norm) * epsilon).clamp(low, high)
        attacked = []
        batches = [torch.split(tensor, int(batch_size)) for tensor in (start, clean, classes)]
        for x, center, labels in zip(*batches, strict=True):
            for _ in range(steps):
                grad = _loss_gradient(model, x, labels, samples)
                if targeted:
                    grad = -grad
                change = _project(x + step_size * _direction(grad, norm) - center, epsilon, norm)
                x = (center + change).clamp(low, high)
            attacked.append(x)
        return torch.cat(attacked)


def random_perturbation(
    images: Tensor,
    *,
    epsilon: float = 8 / 255,
    norm: str = "inf",
    low: float = 0.0,
    high: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Change images at random, by the most that is allowed within ε: the baseline of every attack.

        x' = clip(x + ε · direction(noise))

    Args:
        images: pixels (N, C, H, W) in [low, high].
        epsilon: the size of the change, in units of the pixels.
        norm: "inf" (each value moves by +ε or -ε) or "2" (an image moves by the length ε).
        low: the smallest value of a pixel.
        high: the largest value of a pixel.
        seed: of the random numbers. The caller's random state stays as it was.

    Returns:
        Changed pixels (N, C, H, W) in [low, high].

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> import torch
        >>> from xai_course.robustness import random_perturbation
        >>> image = torch.full((1, 1, 1, 3), 0.5)
        >>> (random_perturbation(image, epsilon=0.125) - image).abs().flatten()
        tensor([0.1250, 0.1250, 0.1250])
    """
    check_number("epsilon", epsilon, above=0)
    check_choice("norm", norm, ("inf", "2"))
    check_pixel_range(images, low, high)
    with seeded_rng(seed, images.device):
        change = epsilon * _random_direction(images, norm)
        return (images.detach() + change).clamp(low, high)


# ---- a patch -------------------------------------------------------------------------------------


@own_switches(grad=False)
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
    """Learn one patch for all images: an image (C, H, W), of which the mask shows a part.

        patch ← clip(patch + step_size · sign(Σ ∇ cross-entropy(model(patched images), targets)))

    with the opposite sign if `targeted`. Each step sees other images, in a random order.

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W) in [low, high].
        targets: class indices (N,), one index for all, or None for the predicted class.
        mask: where the patch shows, in [0, 1]: (1, 1, H, W), or (N, 1, H, W) with one for each
            image.
        steps: number of steps.
        step_size: by how much a pixel of the patch moves in a step.
        targeted: True moves towards the targets, which must be given; False away from them.
        low: the smallest value of a pixel.
        high: the largest value of a pixel.
        seed: of the order of the images. The caller's random state stays as it was.
        batch_size: images in one step.

    Returns:
        The patch (C, H, W) in [low, high]; `apply_patch` puts it on images.

    Raises:
        ValueError: if an argument is not as described, or the output does not depend on the images.

    Cost:
        `steps` forward and backward passes over `batch_size` images, and one forward pass over all.

    References:
        Brown, Mané, Roy, Abadi, Gilmer: Adversarial Patch. 2017, arXiv:1712.09665.

    Example:
        The patch may change the second pixel only, and makes it white:

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import learn_patch
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).eval()
        >>> model[1].weight.data = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
        >>> mask = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> learn_patch(model, torch.rand(4, 1, 1, 2), 0, mask=mask, steps=20).flatten()
        tensor([0.5000, 1.0000])
    """
    check_number("step_size", step_size, above=0)
    steps = check_count("steps", steps)
    batch_size = check_count("batch_size", batch_size)
    with seeded_rng(seed, _device(images)):
        x, classes = _check_inputs(model, images, targets, targeted, low, high, 250)
        masks = _check_mask(mask, x)
        patch = torch.full_like(x[:1], (low + high) / 2)
        epochs = steps * batch_size // len(x) + 1
        order = torch.cat([torch.randperm(len(x)) for _ in range(epochs)])
        for step in range(steps):
            index = order[step * batch_size : (step + 1) * batch_size].to(x.device)
            shown = masks[index]
            patched = x[index] * (1 - shown) + patch * shown
            grad = (_loss_gradient(model, patched, classes[index]) * shown).sum(0, keepdim=True)
            change = step_size * grad.sign()
            patch = (patch - change if targeted else patch + change).clamp(low, high)
        return patch[0]


def apply_patch(images: Tensor, patch: Tensor, mask: Tensor) -> Tensor:
    """Put a patch on images where a mask shows it.

        x' = x · (1 - mask) + patch · mask

    Args:
        images: pixels (N, C, H, W).
        patch: the patch (C, H, W), as `learn_patch` returns it.
        mask: where the patch shows, in [0, 1]: (1, 1, H, W), or (N, 1, H, W).

    Returns:
        Pixels (N, C, H, W).

    Raises:
        ValueError: if the shapes do not fit, or the mask has values outside [0, 1].

    Example:
        >>> import torch
        >>> from xai_course.robustness import apply_patch
        >>> images, patch = torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 3)
        >>> mask = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
        >>> apply_patch(images, patch, mask).flatten()
        tensor([0.0000, 0.5000, 1.0000])
    """
    masks = _check_mask(mask, images)
    if patch.shape != images.shape[1:]:
        raise ValueError(
            f"patch: got shape {tuple(patch.shape)}; must be {tuple(images.shape[1:])}, as one "
            "image."
        )
    return images * (1 - masks) + patch * masks


# ---- how well a model withstands them ------------------------------------------------------------


@torch.no_grad()
def is_correct(
    model: nn.Module, images: Tensor, labels: Tensor, *, seed: int = 0, batch_size: int = 250
) -> Tensor:
    """Return 1 for each image whose predicted class is its label, else 0.

    The mean is the accuracy; `mean_interval` in `xai_course.core` gives its interval.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), as the model takes them.
        labels: class indices (N,).
        seed: of the random numbers that the model draws. The caller's random state stays as it was.
        batch_size: images in one pass.

    Returns:
        0 or 1 for each image, (N,), in double precision.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import is_correct
        >>> model = nn.Flatten().eval()  # the pixels are the logits
        >>> images = torch.tensor([[0.1, 0.9], [0.8, 0.2]]).view(2, 1, 1, 2)
        >>> is_correct(model, images, torch.tensor([1, 1]))
        tensor([1., 0.], dtype=torch.float64)
    """
    with seeded_rng(seed, _device(images)):
        check_images(images)
        validate_inputs(model, images[:1])  # its checks; the pass below is over all images
        batches = torch.split(images, int(batch_size))
        predicted = torch.cat([model(batch.clone()).argmax(1) for batch in batches])
    return (predicted == labels.to(predicted.device)).double()


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
    """Attack a model in several ways, to see whether it is robust or only hides its gradient.

    The accuracy of an honest defence drops from "no attack" over "noise" and "FGSM" to "PGD", and
    it is 0 under "PGD, any change", whose ε allows every image. The gradient is hidden

    - where PGD does no better than noise or FGSM, or
    - where "transfer" does better than PGD: PGD on another network, `substitute`, whose images are
      then shown to this one, or
    - where "zero gradient" is 1: the gradient is 0 at all pixels.

    Args:
        model: a classifier of pixels in evaluation mode that returns logits (N, classes).
        images: pixels (N, C, H, W) in [0, 1].
        labels: class indices (N,).
        epsilon: how far a pixel may move.
        steps: number of steps of PGD.
        substitute: another classifier of pixels with the same classes, or None for no "transfer".
        seed: of the random numbers. The caller's random state stays as it was.

    Returns:
        For each attack by name, 1 where the prediction is still correct, else 0: (N,). And
        "zero gradient": 1 where the gradient is 0 at all pixels, else 0.

    Raises:
        ValueError: if an argument is not as described, or the output does not depend on the images.

    Cost:
        About `steps` + 22 forward and backward passes; `steps` more with a substitute.

    References:
        Athalye, Carlini, Wagner: Obfuscated Gradients Give a False Sense of Security. ICML 2018,
        arXiv:1802.00420.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.robustness import gradient_masking_checks
        >>> model = nn.Flatten().eval()  # the pixels are the logits
        >>> image, label = torch.tensor([0.7, 0.2]).view(1, 1, 1, 2), torch.tensor([0])
        >>> checks = gradient_masking_checks(model, image, label, epsilon=0.1)
        >>> {name: int(correct) for name, correct in checks.items()}
        {'no attack': 1, 'noise': 1, 'FGSM': 1, 'PGD': 1, 'PGD, any change': 0, 'zero gradient': 0}
    """
    options: dict[str, Any] = {"epsilon": epsilon, "steps": steps, "seed": seed}
    attacked = {
        "no attack": images,
        "noise": random_perturbation(images, epsilon=epsilon, seed=seed),
        "FGSM": fgsm(model, images, labels, epsilon=epsilon),
        "PGD": pgd(model, images, labels, **options),
        "PGD, any change": pgd(model, images, labels, **options | {"epsilon": 1.0, "steps": 20}),
    }
    if substitute is not None:
        attacked["transfer"] = pgd(substitute, images, labels, **options)
    checks = {name: is_correct(model, x, labels, seed=seed) for name, x in attacked.items()}
    with seeded_rng(seed, images.device), torch.inference_mode(False):
        grad = _loss_gradient(model, images, labels.to(images.device))
    checks["zero gradient"] = (grad == 0).flatten(1).all(1).double()
    return checks


# ---- parts ---------------------------------------------------------------------------------------


def _loss_gradient(model: nn.Module, x: Tensor, classes: Tensor, samples: int = 1) -> Tensor:
    """Return the gradient (N, C, H, W) of each image's cross-entropy, summed over passes."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        loss = x.new_zeros(())
        for _ in range(samples):
            loss = loss + F.cross_entropy(model(x.clone()), classes, reduction="sum")
        if not loss.requires_grad:
            raise ValueError(
                "model: got an output without a derivative by the images; must be differentiable. "
                "Does it run under no_grad?"
            )
        grad: Tensor = derivatives(loss, x, materialize_grads=True)[0]
    return grad


def _direction(grad: Tensor, norm: str) -> Tensor:
    """Return the step of length 1 that raises a linear loss most."""
    if norm == "inf":
        return grad.sign()
    length: Tensor = torch.linalg.vector_norm(grad, dim=(1, 2, 3), keepdim=True)
    return grad / length.clamp(min=torch.finfo(grad.dtype).tiny)


def _project(change: Tensor, epsilon: float, norm: str) -> Tensor:
    """Return the nearest change that lies in the ball."""
    if norm == "inf":
        return change.clamp(-epsilon, epsilon)
    length: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    return change * (epsilon / length.clamp(min=epsilon))


def _random_direction(images: Tensor, norm: str) -> Tensor:
    """Draw a change on the surface of the ball of radius 1."""
    return _direction(torch.randn_like(images), norm)


def _device(images: Any) -> torch.device | None:
    """Return the device of images; None for what is no tensor, which the checks refuse next."""
    return images.device if isinstance(images, Tensor) else None


def _check_inputs(
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
        raise ValueError("targets: got None; must be the classes to reach, with targeted=True.")
    x, logits, classes = validate_all_logits(model, images, targets, batch_size=batch_size)
    check_two_classes(logits)
    check_pixel_range(x, low, high)
    return x.detach(), classes


def check_pixel_range(images: Tensor, low: float, high: float) -> None:
    """Raise ValueError unless all pixels are in [low, high]."""
    if not low < high:
        raise ValueError(f"low, high: got {low} and {high}; must be low below high.")
    if not isinstance(images, Tensor):
        raise ValueError(f"images: got {type(images).__name__}; must be a tensor (N, C, H, W).")
    check_plain("images", images)
    least, most = float(images.min()), float(images.max())
    if not (low <= least and most <= high):
        raise ValueError(
            f"images: got values from {least:.3g} to {most:.3g}; must be pixels in "
            f"[{low:g}, {high:g}]. For a network of normalised images, attack "
            "NormalisingModel(network)."
        )


def _check_mask(mask: Tensor, images: Tensor) -> Tensor:
    """Return the mask (N, 1, H, W), one for each image."""
    count, _, height, width = images.shape
    shapes = ((1, 1, height, width), (count, 1, height, width))
    if isinstance(mask, Tensor):
        check_plain("mask", mask)
    if not isinstance(mask, Tensor) or mask.shape not in shapes:
        got = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask: got {got}; must be {shapes[0]}, or {count} of them.")
    if not (mask.min() >= 0 and mask.max() <= 1):
        raise ValueError("mask: got values outside [0, 1]; must be shares from 0 to 1.")
    return mask.to(images).expand(count, -1, -1, -1)
