"""Checks of lesson 06, What the fully connected layer adds up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from xai_course.core.translation import translate
from xai_course.exercises.asking import Wrong, ask_tensor, check, close


@check
def check_cam(answer: Callable[..., Any]) -> str:
    """`answer(maps, weight, k)` is the class activation map (N, h, w) of a pooled head."""
    maps, weight, k = torch.randn(2, 5, 3, 4), torch.randn(5, 5), 3
    got = ask_tensor(answer, (2, 3, 4), maps, weight, k)
    total = torch.einsum("nkhw,k->nhw", maps, weight[k])
    if close(got, total / 12):
        return translate("Its sum over the places, plus the bias, is the logit.")
    if close(got, total):
        raise Wrong(
            "Its sum is 12 times too large for a map of 3 × 4 places: the feature is the "
            "mean over places, so each gives a 12th of its value."
        )
    if close(got, (total / 12).relu()) or close(got, total.relu()):
        raise Wrong("Negative evidence is missing: keep the sign.")
    if close(got, torch.einsum("nkhw,k->nhw", maps, weight[:, k]) / 12):
        raise Wrong("It takes a column of the weights; a class has a row, `weight[k]`.")
    if close(got, total / 5) or close(got, total / 60):
        raise Wrong("Add the channels up; this takes their mean.")
    raise Wrong("The sum over the places should be Σ over k of weight · mean of that map.")


@check
def check_why_not(answer: Callable[..., Any]) -> str:
    """`answer(features, weight, a, b)`: each feature's contribution to logit a minus logit b."""
    features, weight, a, b = torch.randn(8), torch.randn(8, 8), 5, 2
    got = ask_tensor(answer, (8,), features, weight, a, b)
    if close(got, features * (weight[a] - weight[b])):
        return translate(
            "Added up, and with the difference of the two biases, they give the margin."
        )
    if close(got, features * (weight[b] - weight[a])):
        raise Wrong("This is why b and not a: the sign is reversed.")
    if close(got, features * weight[a]):
        raise Wrong("This is why a, whatever b is; subtract the evidence for b.")
    if close(got, weight[a] - weight[b]):
        raise Wrong("These are the weights alone; a feature that is 0 contributes nothing.")
    if close(got, features * (weight[:, a] - weight[:, b])):
        raise Wrong("It takes columns of the weights; a class has a row, `weight[a]`.")
    raise Wrong("The terms should add up to logit a minus logit b, without the biases.")


@check
def check_holm(answer: Callable[..., Any]) -> str:
    """`answer(p)` corrects p values (m,) by Holm's method, in the order in which they are given."""
    last = torch.tensor([0.02, 0.6, 0.011, 0.9, 0.012, 0.021])
    for p in (last[torch.randperm(6)], torch.rand(5) * 0.2, last):
        m = len(p)
        got = ask_tensor(answer, (m,), p)
        order = p.argsort()
        raw = p[order] * torch.arange(m, 0, -1)
        right = raw.cummax(0).values.clamp(max=1)
        back = order.argsort()
        if close(got, right[back]):
            continue
        if close(got, (p * m).clamp(max=1)) or close(got, p * m):
            raise Wrong("Every p times m is Bonferroni's method; Holm's factors go down to 1.")
        if close(got, right):
            raise Wrong("Right values in rising order: put them back into the order of p.")
        if close(got, raw[back]) or close(got, raw.clamp(max=1)[back]):
            raise Wrong("A larger p gets a smaller result: take the running maximum.")
        if close(got, raw.cummax(0).values[back]):
            raise Wrong("A probability above 1: clip at 1.")
        if close(got, right[order]):
            raise Wrong(
                "In the wrong order: `values[order]` sorts once more. Write `result[order] "
                "= values`."
            )
        if close(got, p * torch.arange(m, 0, -1)):
            raise Wrong("The factors go with the rising order of p, not with the order given.")
        rising = (p[order] * torch.arange(1, m + 1)).cummax(0).values.clamp(max=1)
        if close(got, rising[back]):
            raise Wrong("The factors run the wrong way: the smallest p gets the largest, m.")
        raise Wrong(
            "For {values} it gives something else.", values=[round(v, 3) for v in p.tolist()]
        )
    return translate("Whatever the order, it corrects as `tcav` does.")
