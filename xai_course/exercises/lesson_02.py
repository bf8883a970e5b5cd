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
    """Return the reference of exercise 1: logits (N, classes), one row an image."""
    logits: Tensor = fc2(fc1(F.adaptive_avg_pool2d(features, 4).flatten(1)))
    return logits


def _count(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the reference of exercise 2: counts (K, K), rows true, columns predicted."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def _gaps(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Return each bin's number of images and its confidence minus its accuracy (0 if empty)."""
    bins = (confidence * 10).long().clamp(max=9)
    count = torch.bincount(bins, minlength=10).double()
    gap = torch.bincount(bins, (confidence - correct).double(), minlength=10)
    return count, gap / count.clamp(min=1)


@check
def check_classify(answer: Callable[..., Any]) -> str:
    """`answer(features, fc1, fc2)` gives one row of logits an image, for maps of any size."""
    fc1, fc2 = nn.Linear(8 * 4 * 4, 12), nn.Linear(12, 5)
    for height, width in ((4, 4), (10, 10), (7, 9)):
        features = torch.randn(4, 8, height, width)
        logits = ask(answer, features, fc1, fc2)
        if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) != 4:
            raise Wrong(
                f"4 images of {height} × {width} places become {len(logits)} rows; "
                "each image should give one row."
            )
        logits = ask_tensor(answer, (4, 5), features, fc1, fc2)
        changed = features.clone()
        changed[1] = torch.randn(8, height, width)
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
        if close(logits, right, 1e-3):
            continue
        if close(logits.exp(), right.softmax(1), 1e-3) or close(logits, right.softmax(1), 1e-3):
            raise Wrong(
                "These are probabilities or their logarithms; return the logits as they are."
            )
        if close(logits, fc2(F.relu(fc1(F.adaptive_avg_pool2d(features, 4).flatten(1)))), 1e-3):
            raise Wrong(
                "This has a ReLU between the layers. That is better, but here the task is to "
                "correct `view` and to change nothing else."
            )
        raise Wrong(
            "One row an image, and no image sees another: good. But the numbers differ from "
            "those of an average pool to 4 × 4, flattened, then fc1, then fc2."
        )
    return "One row an image, no image sees another, and maps of any size fit."


@check
def check_confusion(answer: Callable[..., Any]) -> str:
    """`answer(logits, labels)` counts (K, K): rows the true classes, columns the predicted."""
    for classes, images in ((3, 40), (5, 200), (6, 3)):  # in the last, some classes never occur
        logits, labels = torch.randn(images, classes), torch.randint(classes, (images,))
        counts = ask_tensor(answer, (classes, classes), logits, labels).double()
        right = _count(logits, labels).double()
        if torch.equal(counts, right):
            continue
        if torch.equal(counts, right.T):
            raise Wrong("Rows and columns are exchanged: rows are the true classes.")
        if torch.equal(counts, (right > 0).double()):
            raise Wrong(
                "Every cell is 0 or 1: `counts[rows, columns] += 1` counts a pair that occurs "
                "several times only once."
            )
        if close(counts, right / images) or close(
            counts, right / right.sum(1, keepdim=True).clamp(min=1)
        ):
            raise Wrong("These are shares; return counts.")
        if torch.equal(counts, _count(-logits, labels).double()):
            raise Wrong("It takes the smallest logit; the predicted class has the largest.")
        raise Wrong(
            f"For {images} images of {classes} classes it gives {counts.sum():.0f} counts, "
            f"{counts.trace():.0f} of them right; there are {images}, {right.trace():.0f} of them "
            "right."
        )
    return "Its diagonal is what the network gets right; all else says what it takes for what."


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
    return "So far is the network's confidence, on average, from how often it is right."
