"""Representer points: a logit as a sum over the training images.

The last linear layer is fitted once more, with a ridge penalty. At the optimum its weights are a
sum over the training images, and so is every logit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.inputs import validate_all_logits
from xai_course.core.outputs import check_two_classes
from xai_course.core.switches import own_switches
from xai_course.fully_connected.embeddings import embed

__all__ = [
    "RepresenterFit",
    "RepresenterPoints",
    "fit_representer",
    "refit_last_layer",
    "representer_points",
]


class RepresenterFit(NamedTuple):
    """A last layer that was fitted again, and what it was fitted to.

    Attributes:
        features: what enters the last layer, and a 1 in the last column (n, F + 1), float64.
        labels: the probability of each class that the layer was fitted to (n, classes).
        weight: of the fitted layer, its bias in the last column (classes, F + 1).
        alphas: how much each training image pulls at each logit (n, classes).
        ridge: the penalty λ.
        gradient_norm: of the penalised loss where the fit stopped; 0 is the exact optimum.
        agreement: the share of the training images that the fitted layer and the network put into
            the same class, from 0 to 1.
    """

    features: Tensor
    labels: Tensor
    weight: Tensor
    alphas: Tensor
    ridge: float
    gradient_norm: float
    agreement: float


class RepresenterPoints(NamedTuple):
    """Logits as sums over training images: `contributions.sum(1)` is the fitted layer's logit.

    Attributes:
        contributions: what each training image adds to the logit of the target class (N, n).
        logits: of the fitted layer (N, classes).
        classes: the target class of each image (N,).
        same_answer: whether the fitted layer and the network predict the same class (N,), boolean.
    """

    contributions: Tensor
    logits: Tensor
    classes: Tensor
    same_answer: Tensor


@own_switches(grad=False)
def fit_representer(
    model: nn.Module,
    images: Tensor,
    labels: Any = None,
    *,
    ridge: float = 0.003,
    batch_size: int = 250,
) -> RepresenterFit:
    """Fit a network's last linear layer again, so that its logits are sums over training images.

        loss(W)     = mean over i of cross-entropy(softmax(W f_i), label_i) + λ · ‖W‖²
        alpha[i, c] = -∂ cross-entropy_i / ∂ logit[c] / (2 λ n) = (label[i, c] - p[i, c]) / (2 λ n)

    f_i is what enters the last layer for training image i, with a 1 appended, so that the bias is a
    weight and is penalised, too. Where the gradient is 0, W = Σ_i alpha[i] f_iᵀ, and so the logit
    of class c for an image x is Σ_i alpha[i, c] · ⟨f_i, f(x)⟩. Newton's method goes there, in
    float64.

    The fitted layer is not the network's own: `agreement` says how often they answer alike. alpha
    of an image's own label is (1 - p) / (2 λ n), so it ranks images as their loss does.

    Args:
        model: a classifier in evaluation mode that ends in a linear layer.
        images: the training images (n, C, H, W), floating point.
        labels: their classes (n,); None for the network's own probabilities, which brings the
            fitted layer nearer to the network's.
        ridge: the penalty λ, above 0. A small one keeps the answers, and makes large alphas of both
            signs; a large one pulls all logits towards 0.
        batch_size: images in one forward pass.

    Returns:
        `RepresenterFit`, for `representer_points`.

    Raises:
        ValueError: if an argument is not as described, or the model has one logit.

    Cost:
        Two forward passes of the training images, and the fit, which takes no passes.

    References:
        Yeh, Kim, Yen, Ravikumar: Representer Point Selection for Explaining Deep Neural Networks.
        NeurIPS 2018, arXiv:1811.09720.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import fit_representer
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> fit = fit_representer(model, torch.rand(6, 1, 2, 2), [0, 1, 0, 1, 0, 1])
        >>> torch.allclose(fit.weight, fit.alphas.T @ fit.features, atol=1e-10)
        True
    """
    _, logits, predicted = validate_all_logits(
        model, images, batch_size=batch_size, probabilities=True
    )
    check_two_classes(logits)
    targets = logits.double().softmax(1) if labels is None else _one_hot(labels, logits)
    features = _with_one(embed(model, images, batch_size=batch_size))
    weight, gradient_norm = refit_last_layer(features, targets, ridge=ridge)
    scores = features @ weight.T
    return RepresenterFit(
        features=features,
        labels=targets,
        weight=weight,
        alphas=(targets - scores.softmax(1)) / (2 * ridge * len(features)),
        ridge=float(ridge),
        gradient_norm=gradient_norm,
        agreement=float((scores.argmax(1) == predicted).double().mean()),
    )


@own_switches(grad=False)
def representer_points(
    fit: RepresenterFit,
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    batch_size: int = 250,
) -> RepresenterPoints:
    """Return what each training image adds to the logit of the target class.

        contribution[i] = alpha[i, target] · ⟨f_i, f(x)⟩        with f_i and alpha of the fit
        logit[target]   = Σ over i of contribution[i]

    An image of the class adds a positive number where its features are like those of x, another one
    a negative number. The sum is the logit of the fitted layer, not that of the network.

    Args:
        fit: what `fit_representer` returned for this model.
        model: the classifier that was fitted.
        images: images to explain (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None for the class that the network
            predicts.
        batch_size: images in one forward pass.

    Returns:
        `RepresenterPoints`, float64: contributions (N, n) in logits, the fitted layer's logits
        (N, classes), the target classes (N,), and whether both answers are the same (N,).

    Raises:
        ValueError: if an argument is not as described, or the fit is one of another network.

    Cost:
        Two forward passes of the images.

    References:
        Yeh, Kim, Yen, Ravikumar: Representer Point Selection for Explaining Deep Neural Networks.
        NeurIPS 2018, arXiv:1811.09720.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import fit_representer, representer_points
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> images = torch.rand(6, 1, 2, 2)
        >>> fit = fit_representer(model, images, [0, 1, 0, 1, 0, 1])
        >>> points = representer_points(fit, model, images[:3], targets=1)
        >>> torch.allclose(points.contributions.sum(1), points.logits[:, 1])
        True
    """
    _, logits, classes = validate_all_logits(model, images, targets, batch_size=batch_size)
    features = _with_one(embed(model, images, batch_size=batch_size))
    if features.shape[1] != fit.features.shape[1] or logits.shape[1] != len(fit.weight):
        raise ValueError(
            f"fit: got one of {fit.features.shape[1] - 1} features and {len(fit.weight)} classes; "
            f"must be of this model, with {features.shape[1] - 1} and {logits.shape[1]}."
        )
    scores = features @ fit.weight.T
    return RepresenterPoints(
        contributions=(features @ fit.features.T) * fit.alphas.T[classes],
        logits=scores,
        classes=classes,
        same_answer=scores.argmax(1) == logits.argmax(1),
    )


@own_switches(grad=False)
def refit_last_layer(
    features: Tensor,
    labels: Tensor,
    *,
    ridge: float = 0.003,
    start: Tensor | None = None,
    steps: int = 100,
) -> tuple[Tensor, float]:
    """Fit a linear layer without bias to features, with a ridge penalty, by Newton's method.

        loss(W) = mean over i of cross-entropy(softmax(W f_i), label_i) + λ · ‖W‖²

    The penalty makes the loss strongly convex: it has one optimum. Each step solves for the
    direction by conjugate gradients, and is halved until the loss falls enough.

    Args:
        features: (n, F), float64.
        labels: the probability of each class (n, classes); of a known class, 1 and zeros.
        ridge: the penalty λ, above 0.
        start: weights (classes, F) to start from, such as those of almost the same images; None for
            zeros. The optimum is the same.
        steps: of Newton's method, at most.

    Returns:
        The weights (classes, F), and the norm of the gradient there.

    Raises:
        ValueError: if an argument is not as described.

    Example:
        >>> import torch
        >>> from xai_course.fully_connected import refit_last_layer
        >>> labels = torch.eye(2, dtype=torch.double)
        >>> weight, gradient_norm = refit_last_layer(torch.eye(2, dtype=torch.double), labels)
        >>> bool((weight.diag() > 0).all()), gradient_norm < 1e-12
        (True, True)
    """
    check_number("ridge", ridge, above=0)
    steps = check_count("steps", steps)
    if features.ndim != 2 or labels.ndim != 2 or len(features) != len(labels):
        raise ValueError(
            f"labels: got {tuple(labels.shape)} for features {tuple(features.shape)}; must be "
            "(n, classes) for (n, F)."
        )
    features, labels = features.double(), labels.double()
    count = len(features)
    scale = features.square().sum(1).mean().sqrt()  # of the loss's gradient
    shape = (labels.shape[1], features.shape[1])
    if start is not None and start.shape != shape:
        raise ValueError(f"start: got {tuple(start.shape)}; must be None or {shape}.")
    weight = features.new_zeros(shape) if start is None else start.detach().to(features)
    for _ in range(steps):
        log_p = (features @ weight.T).log_softmax(1)
        p = log_p.exp()
        grad = (p - labels).T @ features / count + 2 * ridge * weight
        if grad.norm() <= 1e-15 * (scale + 2 * ridge * weight.norm()):  # which is rounding
            break

        def hessian_times(direction: Tensor, p: Tensor = p) -> Tensor:
            change = features @ direction.T
            change = p * (change - (p * change).sum(1, keepdim=True))  # of the probabilities
            return change.T @ features / count + 2 * ridge * direction

        direction = _conjugate_gradients(hessian_times, -grad)
        # Near the optimum the loss changes by less than its rounding.
        most = _loss(weight, features, labels, ridge) * (1 + 1e-14)
        slope, size = (grad * direction).sum(), 1.0
        while size > 1e-6 and (
            _loss(weight + size * direction, features, labels, ridge) > most + 1e-4 * size * slope
        ):
            size /= 2
        weight = weight + size * direction
    return weight, float(grad.norm())


def _loss(weight: Tensor, features: Tensor, labels: Tensor, ridge: float) -> Tensor:
    """Return the mean cross-entropy and the penalty."""
    log_p = (features @ weight.T).log_softmax(1)
    return -(labels * log_p).sum(1).mean() + ridge * weight.square().sum()


def _conjugate_gradients(times: Callable[[Tensor], Tensor], wanted: Tensor) -> Tensor:
    """Solve times(x) = wanted for a linear, symmetric and positive function `times`."""
    x, residual = torch.zeros_like(wanted), wanted
    direction, square = residual, residual.square().sum()
    for _ in range(10 * wanted.numel()):
        if square <= 1e-12 * wanted.square().sum():  # exact enough for a step of Newton's method
            break
        product = times(direction)
        length = square / (direction * product).sum()
        x, residual = x + length * direction, residual - length * product
        previous, square = square, residual.square().sum()
        direction = residual + square / previous * direction
    return x


def _with_one(features: Tensor) -> Tensor:
    """Append a 1 to each row (n, F) and return it in float64, (n, F + 1)."""
    return F.pad(features.double(), (0, 1), value=1.0)


def _one_hot(labels: Any, logits: Tensor) -> Tensor:
    """Return class indices (n,) as probabilities (n, classes)."""
    count, classes = logits.shape
    must = f"must be None or {count} class indices, from 0 to {classes - 1}."
    try:
        indices = torch.as_tensor(labels, device=logits.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"labels: got {labels!r}; {must}") from error
    is_index = not (indices.is_floating_point() or indices.is_complex()) and (
        indices.dtype != torch.bool
    )
    if not is_index or indices.shape != (count,):
        raise ValueError(f"labels: got {indices.dtype} {tuple(indices.shape)}; {must}")
    wrong = indices[(indices < 0) | (indices >= classes)]
    if len(wrong):
        raise ValueError(f"labels: got {int(wrong[0])}; {must}")
    return F.one_hot(indices.long(), classes).double()
