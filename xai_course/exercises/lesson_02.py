"""Checks of lesson 02, A classifier worth explaining."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


def _classify(features: Tensor, fc1: nn.Linear, fc2: nn.Linear) -> Tensor:
    """Return the reference of exercise 1: logits (N, classes), means over an image's versions."""
    pooled = F.adaptive_avg_pool2d(features.flatten(0, 1), 4).flatten(1)
    logits: Tensor = fc2(fc1(pooled))
    return logits.view(*features.shape[:2], -1).mean(1)


def _count(logits: Tensor, labels: Tensor) -> Tensor:
    """Count (K, K) what is taken for what: rows the true classes, columns the predicted ones."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).float()


def _gaps(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Return each bin's number of images and its confidence minus its accuracy (0 if empty)."""
    bins = (confidence * 10).long().clamp(max=9)
    count = torch.bincount(bins, minlength=10).double()
    gap = torch.bincount(bins, (confidence - correct).double(), minlength=10)
    return count, gap / count.clamp(min=1)


@check
def check_classify(answer: Callable[..., Any]) -> str:
    """`answer(features, fc1, fc2)` gives one row an image, the mean over its versions."""
    fc1, fc2 = nn.Linear(8 * 4 * 4, 12), nn.Linear(12, 5)
    for height, width in ((4, 4), (10, 10), (7, 9)):
        features = torch.randn(4, 3, 8, height, width)
        logits = ask(answer, features, fc1, fc2)
        if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) != 4:
            raise Wrong(
                f"4 images in 3 versions of {height} × {width} places become {len(logits)} rows; "
                "each image should give one row."
            )
        logits = ask_tensor(answer, (4, 5), features, fc1, fc2)
        changed = features.clone()
        changed[1] = torch.randn(3, 8, height, width)
        moved = (ask_tensor(answer, (4, 5), changed, fc1, fc2) - logits).abs().amax(1) > 1e-5
        if moved[0] or moved[2] or moved[3]:
            rows = [row + 1 for row in range(4) if moved[row]]
            raise Wrong(
                f"Only image 2 changed, but rows {rows} did: the images of the batch are mixed."
            )
        if not torch.isfinite(logits).all():
            raise Wrong("Some numbers are NaN or infinite: a logit below 0 has no logarithm.")
        if not moved[1]:
            raise Wrong(
                "Only image 2 changed, but row 2 did not: row 2 does not belong to image 2."
            )
        right = _classify(features, fc1, fc2).detach()
        if not close(logits, right, 1e-3):
            raise Wrong(_why_not(logits, features, fc1, fc2))
    return "One row an image, whatever the number of versions, and no image sees another."


def _why_not(logits: Tensor, features: Tensor, fc1: nn.Linear, fc2: nn.Linear) -> str:
    """Say what is wrong with logits that mix no images."""
    right = _classify(features, fc1, fc2).detach()
    by_version = torch.stack([_classify(f[:, None], fc1, fc2) for f in features.unbind(1)], 1)
    if close(logits, 3 * right, 1e-3):
        return "This is the sum over the versions of an image; return their mean."
    if any(close(logits, by_version[:, version], 1e-3) for version in range(3)):
        return "This takes one version of each image alone; return the mean over all of them."
    if close(logits, by_version.amax(1), 1e-3):
        return "This is the largest logit of any version; return the mean over the versions."
    softened = (right.softmax(1), by_version.softmax(2).mean(1))
    if any(close(logits.exp(), p, 1e-3) or close(logits, p, 1e-3) for p in softened):
        return "These are probabilities or their logarithms; return the logits as they are."
    pooled = F.adaptive_avg_pool2d(features.flatten(0, 1), 4).flatten(1)
    with_relu = fc2(F.relu(fc1(pooled))).unflatten(0, features.shape[:2]).mean(1)
    if close(logits, with_relu, 1e-3):
        return (
            "This has a ReLU between the layers. That is better, but here the task is to leave "
            "the layers as they are."
        )
    return (
        "One row an image, and no image sees another: good. But the numbers differ from those of "
        "an average pool to 4 × 4, flattened, then fc1, then fc2, then the mean over versions."
    )


@check
def check_precision(answer: Callable[..., Any]) -> str:
    """`answer(logits, labels)` is each class's precision (K,), 0 for a class that is not named."""
    for classes, images in ((3, 40), (5, 200), (6, 3)):  # in the last, some classes never occur
        logits, labels = torch.randn(images, classes), torch.randint(classes, (images,))
        logits[range(0, images, 2), labels[::2]] += 2  # so that half of the images are mostly right
        got = ask_tensor(answer, (classes,), logits, labels).float()
        counts = _count(logits, labels)
        hits, named, own = counts.diagonal(), counts.sum(0), counts.sum(1)
        right = hits / named.clamp(min=1)
        if close(got, right):
            continue
        if got.isnan().any():
            raise Wrong("It gives NaN: for a class that is never named, return 0.")
        if close(got, 100 * right):
            raise Wrong("These are percentages; a share lies between 0 and 1.")
        if close(got, hits / own.clamp(min=1)):
            raise Wrong(
                "This is the share of each class's *own* images that are found (the recall). "
                "Divide by the number of images that the network takes for the class."
            )
        if close(got, hits):
            raise Wrong("These are counts; divide each by the images taken for that class.")
        if close(got, hits / images):
            raise Wrong("Divide by the images taken for each class, not by all images.")
        if close(got, (hits.sum() / images).expand(classes)):
            raise Wrong("This is the accuracy over all images; give each class its own share.")
        least = _count(-logits, labels)
        if close(got, least.diagonal() / least.sum(0).clamp(min=1)):
            raise Wrong("It takes the smallest logit; the predicted class has the largest.")
        k = int((got - right).abs().argmax())
        raise Wrong(
            f"The network takes {named[k]:.0f} images for class {k}, and {hits[k]:.0f} of them "
            f"belong to it: {right[k]:.3f}; it gives {got[k]:.3f}."
        )
    return "Precision: how far you can rely on an answer once it has been given."


@check
def check_calibration(answer: Callable[..., Any]) -> str:
    """`answer(confidence, correct)` is the expected calibration error with ten bins."""
    for shift in (0.3, -0.2, 0.0):
        images = random.randrange(200, 400)
        # Each image's accuracy differs from its confidence by `shift`; the last have confidence 1.
        confidence = torch.rand(images) ** 0.5
        confidence[-20:] = 1.0
        correct = (torch.rand(images) < (confidence - shift).clamp(0, 1)).float()
        error = ask(answer, confidence, correct)
        try:
            error = float(error)
        except (TypeError, ValueError):
            raise Wrong(f"It returns {type(error).__name__}, and should return a number.") from None
        if error != error:
            raise Wrong("It gives NaN: the mean of an empty bin is not a number; skip empty bins.")
        count, gap = _gaps(confidence, correct)
        share = count / count.sum()
        right = float((share * gap.abs()).sum())
        if abs(error - right) < 1e-4:
            continue
        without_last = _gaps(confidence[:-20], correct[:-20])
        lost = float((without_last[0] * without_last[1].abs()).sum())
        if min(abs(error - lost / images), abs(error - lost / (images - 20))) < 1e-6:
            raise Wrong("A confidence of 1 is in none of your bins; it belongs in the last.")
        plain = "the plain mean over bins; a bin counts as much as the share of images in it."
        together = "what all images together give, where bins can cancel; take the"
        mistakes = {
            f"{together} distance in each bin.": (share * gap).sum(),
            plain: gap.abs().mean(),
            f"{plain} An empty bin counts as nothing.": gap[count > 0].abs().mean(),
            "the largest distance of a bin; return the mean over images.": gap.abs().max(),
            "the mean *squared* distance; do not square it.": (share * gap**2).sum(),
        }
        for words, value in mistakes.items():
            if abs(abs(error) - abs(float(value))) < 1e-6:
                raise Wrong(f"This is {words}")
        raise Wrong(f"It gives {error:.4f} where {right:.4f} is right (ten bins of equal width).")
    return "This is how far confidence and accuracy are apart, on average over the images."
