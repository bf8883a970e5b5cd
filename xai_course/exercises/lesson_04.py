"""Checks of lesson 04, What the ReLUs let through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask_tensor, check, close


@check
def check_same_gates(answer: Callable[..., Any]) -> str:
    """`answer(logit, gradient, images, others)` are the logits of others with the same gates."""
    images, others, gradient = torch.randn(3, 3, 3, 6, 6)
    logit = (images * gradient).sum((1, 2, 3)) + torch.tensor([2.0, 5.0, -4.0])  # the biases
    found = ask_tensor(answer, (3,), logit, gradient, images, others)
    first, second = ((gradient * some).sum((1, 2, 3)) for some in (images, others))
    if close(found, logit - first + second):
        return translate("With the same gates, the biases add the same to both logits.")
    if close(found, second):
        raise Wrong("This is what the other image adds; the biases add to its logit, too.")
    if close(found, logit + second):
        raise Wrong("The logit holds what the first image adds; take that away.")
    if close(found, second - first):
        raise Wrong("This is the difference of the two logits; return the logit of the other.")
    if close(found, logit + first - second):
        raise Wrong("The sign is the wrong way round: add what the other image adds.")
    if close(found, logit - first):
        raise Wrong("This is what the biases add; add what the other image adds.")
    if close(found, logit):
        raise Wrong("The same gates do not give the same logit: the images differ.")
    if close(found, logit + (others - images).sum((1, 2, 3))):
        raise Wrong(
            "The pixels alone are no contribution: multiply them by the gradient, then sum."
        )
    if close(found, logit + (second - first).sum()):
        raise Wrong("It sums over the images as well; sum over all axes but the first.")
    raise Wrong("The logits differ from logit + Σ gradient · (other − image), one for each image.")


@check
def check_shared(answer: Callable[..., Any]) -> str:
    """`answer(first, second)` is the share of gates that two images have in common."""
    first, second = (torch.randn(4, 5, 6, 6).sub_(shift).relu_() for shift in (0.3, 0.8))
    share = ask_tensor(answer, (4,), first, second)
    a, b = first > 0, second > 0

    def mean(agree: Tensor) -> Tensor:
        return agree.float().mean((1, 2, 3))

    if close(share, mean(a == b)):
        return translate(
            "Gates closed in both count, too: the linear function depends on open and closed gates."
        )
    if close(share, mean(a & b)):
        raise Wrong("It counts gates that are open in both; closed in both counts too.")
    if close(share, mean(a & b) / mean(a | b)):
        raise Wrong("Intersection over union leaves out what is closed in both; count it as well.")
    if close(share, mean((first - second).abs() < 1e-6)):
        raise Wrong("It compares the outputs; two open gates agree whatever their values are.")
    if close(share, torch.ones(4)):
        raise Wrong("It finds that all agree: an output of a ReLU is never below 0, so test > 0.")
    if close(share, (a == b).float().mean().expand(4)):
        raise Wrong("It averages over the images as well; return one share for each pair.")
    if close(share, mean(a != b)):
        raise Wrong("It counts the gates that differ; count those in the same state.")
    if close(share, (a == b).sum((1, 2, 3)).float()):
        raise Wrong("It counts the gates in common; divide by the number of gates.")
    raise Wrong("Of each pair: in how many of all places are both above 0, or both 0?")
