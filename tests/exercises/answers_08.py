"""Right and wrong answers to the exercises of lesson 08."""

import torch

from xai_course.exercises.lesson_08 import check_deletion, check_null, check_skill
from xai_course.metrics import edge_map
from xai_course.models import BeetleNet

NETWORK = BeetleNet(classes=10, depth=3, width=4).eval()


def skill(score, nulls, key):
    best = max(nulls)
    return (score - best) / (key - best)


def curve(f, image, relevance, fill, steps, descending=True, size=False, shift=0):
    value = relevance.abs() if size else relevance
    place = value.flatten().argsort(descending=descending).argsort()
    found = []
    for k in range(steps + 1):
        gone = (place < place.numel() * (k + shift) // steps).view_as(relevance)
        found.append(f(torch.where(gone, fill, image)))
    return found


def bright_edges(pixels):
    return edge_map(NETWORK, pixels) * pixels.mean(1, keepdim=True) ** 2


RIGHT = [(check_skill, skill), (check_deletion, curve), (check_null, bright_edges)]
RIGHT += [(check_skill, lambda s, n, k: torch.tensor(skill(s, n, k), dtype=torch.double))]
RIGHT += [(check_deletion, lambda *a: torch.tensor(curve(*a)))]
RIGHT += [(check_deletion, lambda *a: [torch.tensor(value) for value in curve(*a)])]
WRONG = [
    (check_skill, lambda s, n, k: (s - sum(n) / len(n)) / (k - sum(n) / len(n)), "mean null"),
    (check_skill, lambda s, n, k: s - max(n), "Divide"),
    (check_skill, lambda s, n, k: (s - max(n)) / (1 - max(n)), "need not be 1"),
    (check_skill, lambda s, n, k: s, "the skill is"),
    (check_skill, lambda s, n, k: "0.3", "one number"),
    (check_skill, lambda s, n, k: torch.tensor(n) - s, "one number|the skill is"),
    (check_deletion, lambda *a: curve(*a, descending=False), "least relevant"),
    (check_deletion, lambda *a: curve(*a, size=True), "by the size"),
    (check_deletion, lambda *a: curve(*a)[1:], "numbers"),
    (check_deletion, lambda *a: "curve", "return a list of numbers"),
    (check_deletion, lambda *a: curve(*a)[::-1], "backwards"),
    (
        check_deletion,
        lambda f, i, r, fill, s: curve(f, i, r, fill, s, descending=False)[::-1],
        "insertion",
    ),
    (check_deletion, lambda *a: curve(*a, shift=1), "The first number"),
    (check_deletion, lambda *a: [*curve(*a)[:-1], curve(*a)[0]], "last number"),
    (
        check_deletion,
        lambda f, i, r, fill, s: curve(f, i, torch.arange(r.numel()).view_as(r), fill, s),
        "In between",
    ),
    (check_null, lambda pixels: edge_map(NETWORK, pixels), "ahead by 0.02"),
    (check_null, lambda pixels: torch.ones_like(pixels[:, :1]), "ahead by 0.02"),
    (check_null, lambda pixels: pixels.mean(1, keepdim=True), "ahead by 0.02"),
    (check_null, lambda pixels: pixels[:, :1] / 0, "NaN or infinite"),
    (check_null, lambda pixels: pixels, "should return"),
]
