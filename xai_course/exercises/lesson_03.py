"""Checks of lesson 03, A classifier worth explaining."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check, close


def _count(logits: Tensor, labels: Tensor) -> Tensor:
    """Count (K, K) what is taken for what: rows the true classes, columns the predicted ones."""
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).float()


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
                "This is the share of each class's *own* images that are found (the "
                "recall). Divide by the number of images that the network takes for the "
                "class."
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
            "The network takes {named:.0f} images for class {k}, and {hits:.0f} of them "
            "belong to it: {right:.3f}; it gives {got:.3f}.",
            named=named[k],
            k=k,
            hits=hits[k],
            right=right[k],
            got=got[k],
        )
    return translate("Precision: how far you can rely on an answer once it has been given.")


def _group_gaps(confidence: Tensor, correct: Tensor) -> Tensor:
    """Return confidence minus accuracy (10,), in ten groups of equally many images."""
    order = confidence.argsort()
    return (confidence - correct)[order].view(10, -1).mean(1)


def _equal_width(confidence: Tensor, correct: Tensor) -> float:
    """Return the expected calibration error with ten bins of equal width."""
    bins = (confidence * 10).long().clamp(max=9)
    return float(torch.bincount(bins, (confidence - correct).double()).abs().sum()) / len(bins)


@check
def check_calibration(answer: Callable[..., Any]) -> str:
    """`answer(confidence, correct)` is the calibration error with ten groups of equal size."""
    for slope in (0.3, 1.8, 0.0):
        images = 10 * random.randrange(20, 40)
        # Too sure at one end and too modest at the other, so that gaps of both signs occur.
        confidence = (torch.randperm(images) + torch.rand(images)) / images
        confidence = confidence**0.5
        correct = (torch.rand(images) < (0.6 + slope * (confidence - 0.6)).clamp(0, 1)).float()
        error = ask(answer, confidence, correct)
        try:
            error = float(error)
        except (TypeError, ValueError):
            raise Wrong(
                "It returns {kind}, and should return a number.", kind=type(error).__name__
            ) from None
        if error != error:
            raise Wrong("It gives NaN.")
        gaps = _group_gaps(confidence, correct)
        right = float(gaps.abs().mean())
        if abs(error - right) < 1e-4:
            continue
        order = confidence.argsort()
        unsorted = (confidence - correct).view(10, -1).mean(1)
        half = confidence[order].view(10, -1).mean(1) - correct.view(10, -1).mean(1)
        mistakes: dict[str, Tensor | float] = {
            translate(
                "the error with bins of equal *width*; here each group has equally many images."
            ): (_equal_width(confidence, correct)),
            translate(
                "what unsorted groups give; sort by confidence first."
            ): unsorted.abs().mean(),
            translate(
                "what you get when only `confidence` is sorted; sort `correct` in the same order."
            ): (half.abs().mean()),
            translate(
                "what all images together give, where groups can cancel; take each distance."
            ): (gaps.mean()),
            translate("the largest distance of a group; return the mean."): gaps.abs().max(),
            translate("the mean *squared* distance; do not square it."): (gaps**2).mean(),
            translate("the sum over groups; return the mean."): gaps.abs().sum(),
        }
        for words, value in mistakes.items():
            if abs(abs(error) - abs(float(value))) < 1e-5:
                raise Wrong("This is {words}", words=words)
        raise Wrong(
            "It gives {error:.4f} where {right:.4f} is right (ten groups of equal size).",
            error=error,
            right=right,
        )
    return translate(
        "This is how far confidence and accuracy are apart, and every group counts the same."
    )
