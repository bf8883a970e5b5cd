"""Checks of lesson 03, What the ReLUs let through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_course.exercises.asking import Wrong, ask_tensor, check, close


@check
def check_guided(answer: Callable[..., Any]) -> str:
    """`answer(inputs, grad)` is the gradient that guided backpropagation lets through a ReLU."""
    inputs, grad = torch.randn(2, 6, 5, 5), torch.randn(2, 6, 5, 5)
    through = ask_tensor(answer, (2, 6, 5, 5), inputs, grad).float()
    is_open, positive = inputs > 0, grad > 0
    if close(through, grad * is_open * positive):
        return "It keeps the gradient where the gate is open and the gradient is positive."
    if close(through, grad * is_open):
        raise Wrong("This is the rule of the gradient: it uses the input alone.")
    if close(through, grad * positive):
        raise Wrong("This is DeconvNet's rule: it uses the gradient alone.")
    if close(through, grad.abs() * is_open):
        raise Wrong("It makes negative gradients positive; set them to 0.")
    if close(through, (is_open & positive).float()):
        raise Wrong("These are the places that stay open; return the gradient at these places.")
    if close(through, inputs * is_open * positive):
        raise Wrong("This passes the *input* on; the backward pass passes the gradient on.")
    if close(through, inputs.relu() * grad) or close(through, inputs.relu() * grad.relu()):
        raise Wrong("It multiplies by the input; only test whether the input is above 0.")
    if close(through, (inputs * grad).relu()):
        raise Wrong("Two negative numbers have a positive product; test each by itself.")
    raise Wrong("Of each number of `grad`: keep it if its input and it are both above 0, else 0.")


@check
def check_bias_share(answer: Callable[..., Any]) -> str:
    """`answer(logit, gradient, images)` is the share of each logit that biases add."""
    images, gradient = torch.randn(3, 3, 6, 6), torch.randn(3, 3, 6, 6)
    from_input = (images * gradient).sum((1, 2, 3))
    logit = from_input / (1 - torch.tensor([0.6, 2.0, -0.5]))  # the shares that the biases add
    share = ask_tensor(answer, (3,), logit, gradient, images)
    right = (logit - from_input) / logit
    if close(share, right):
        return "What the image does not add, the biases do: the equation leaves nothing over."
    if close(share, from_input / logit):
        raise Wrong("This is the image's share; return the share of the biases.")
    if close(share, logit - from_input):
        raise Wrong("This is what the biases add, in logits; return its share of the logit.")
    if close(share, (logit - gradient.sum((1, 2, 3))) / logit):
        raise Wrong("The gradient alone is no contribution: multiply it by the image, then sum.")
    if close(share, ((logit - from_input) / logit).mean().expand(3)):
        raise Wrong("It averages over the images; return one share for each.")
    if close(share, (logit - (images * gradient).sum()) / logit):
        raise Wrong("It sums over the images as well; sum over all axes but the first.")
    if close(share, right.abs()):
        raise Wrong("It drops the sign; a share is negative where the biases lower the logit.")
    if close(share, (logit - from_input) / from_input):
        raise Wrong("It divides by what the image adds; return the share of the logit.")
    raise Wrong("The shares differ from (logit − Σ gradient · image) / logit, one for each image.")


@check
def check_shared(answer: Callable[..., Any]) -> str:
    """`answer(first, second)` is the share of gates that two images have in common."""
    first, second = (torch.randn(4, 5, 6, 6).sub_(shift).relu_() for shift in (0.3, 0.8))
    share = ask_tensor(answer, (4,), first, second)
    a, b = first > 0, second > 0

    def mean(agree: Tensor) -> Tensor:
        return agree.float().mean((1, 2, 3))

    if close(share, mean(a == b)):
        return "A closed gate in common counts as well: the two then share that part of the map."
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
