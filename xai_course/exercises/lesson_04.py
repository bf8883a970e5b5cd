"""Checks of lesson 04, What the fully connected layer adds up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from xai_course.exercises.asking import Wrong, ask_tensor, check, close


@check
def check_cam(answer: Callable[..., Any]) -> str:
    """`answer(maps, weight, k)` is the class activation map (N, h, w) of a pooled head."""
    maps, weight, k = torch.randn(2, 5, 3, 4), torch.randn(5, 5), 3
    found = ask_tensor(answer, (2, 3, 4), maps, weight, k)
    total = torch.einsum("nkhw,k->nhw", maps, weight[k])
    if close(found, total / 12):
        return "Its sum over the places, plus the bias, is the logit."
    if close(found, total):
        raise Wrong(
            "Its sum is 12 times too large for a map of 3 × 4 places: the feature is the mean "
            "over places, so each gives a 12th of its value."
        )
    if close(found, (total / 12).relu()) or close(found, total.relu()):
        raise Wrong("What speaks against the class is missing: keep the sign.")
    if close(found, torch.einsum("nkhw,k->nhw", maps, weight[:, k]) / 12):
        raise Wrong("It takes a column of the weights; a class has a row, `weight[k]`.")
    if close(found, total / 5) or close(found, total / 60):
        raise Wrong("The channels are to be added up; this takes their mean.")
    raise Wrong("The sum over the places should be Σ over k of weight · mean of that map.")


@check
def check_why_not(answer: Callable[..., Any]) -> str:
    """`answer(features, weight, a, b)`: each feature's contribution to logit a minus logit b."""
    features, weight, a, b = torch.randn(8), torch.randn(8, 8), 5, 2
    found = ask_tensor(answer, (8,), features, weight, a, b)
    if close(found, features * (weight[a] - weight[b])):
        return "Added up, and with the difference of the two biases, they give the margin."
    if close(found, features * (weight[b] - weight[a])):
        raise Wrong("This is why b and not a: the sign is turned round.")
    if close(found, features * weight[a]):
        raise Wrong("This is why a, whatever else; take away what speaks for b.")
    if close(found, weight[a] - weight[b]):
        raise Wrong("These are the weights alone; a feature that is 0 contributes nothing.")
    if close(found, features * (weight[:, a] - weight[:, b])):
        raise Wrong("It takes columns of the weights; a class has a row, `weight[a]`.")
    raise Wrong("The terms should add up to logit a minus logit b, without the biases.")


@check
def check_holm(answer: Callable[..., Any]) -> str:
    """`answer(p)` corrects p values (m,) by Holm's method, in the order in which they came."""
    last = torch.tensor([0.02, 0.6, 0.011, 0.9, 0.012, 0.021])
    for p in (last[torch.randperm(6)], torch.rand(5) * 0.2, last):
        m = len(p)
        found = ask_tensor(answer, (m,), p)
        order = p.argsort()
        raw = p[order] * torch.arange(m, 0, -1)
        right = raw.cummax(0).values.clamp(max=1)
        back = order.argsort()
        if close(found, right[back]):
            continue
        if close(found, (p * m).clamp(max=1)) or close(found, p * m):
            raise Wrong("Every p times m is Bonferroni's method; Holm's factors go down to 1.")
        if close(found, right):
            raise Wrong("Right values in rising order: put them back to where they came from.")
        if close(found, raw[back]) or close(found, raw.clamp(max=1)[back]):
            raise Wrong("One ends below a smaller one before it: take the running maximum.")
        if close(found, raw.cummax(0).values[back]):
            raise Wrong("A probability above 1: cut at 1.")
        if close(found, right[order]):
            raise Wrong(
                "Put back the wrong way: `values[order]` sorts once more. Write "
                "`result[order] = values`."
            )
        if close(found, p * torch.arange(m, 0, -1)):
            raise Wrong("The factors go with the rising order of p, not with the order given.")
        rising = (p[order] * torch.arange(1, m + 1)).cummax(0).values.clamp(max=1)
        if close(found, rising[back]):
            raise Wrong("The factors run the wrong way: the smallest p gets the largest, m.")
        raise Wrong(f"For {[round(v, 3) for v in p.tolist()]} it gives something else.")
    return "Whatever the order, it corrects as `tcav` does."
