"""Right and wrong answers to the exercises of lesson 08."""

import torch

from xai_course.exercises.lesson_08 import check_null, check_skill
from xai_course.metrics import edge_map
from xai_course.models import BeetleNet

NETWORK = BeetleNet(classes=10, depth=3, width=4).eval()


def skill(score, nulls, key):
    best = max(nulls)
    return (score - best) / (key - best)


def bright_edges(pixels):
    return edge_map(NETWORK, pixels) * pixels.mean(1, keepdim=True) ** 2


RIGHT = [(check_skill, skill), (check_null, bright_edges)]
RIGHT += [(check_skill, lambda s, n, k: torch.tensor(skill(s, n, k), dtype=torch.double))]
WRONG = [
    (check_skill, lambda s, n, k: (s - sum(n) / len(n)) / (k - sum(n) / len(n)), "mean null"),
    (check_skill, lambda s, n, k: s - max(n), "Divide"),
    (check_skill, lambda s, n, k: (s - max(n)) / (1 - max(n)), "need not be 1"),
    (check_skill, lambda s, n, k: s, "the skill is"),
    (check_skill, lambda s, n, k: "0.3", "one number"),
    (check_skill, lambda s, n, k: torch.tensor(n) - s, "one number|the skill is"),
    (check_null, lambda pixels: edge_map(NETWORK, pixels), "ahead by 0.02"),
    (check_null, lambda pixels: torch.ones_like(pixels[:, :1]), "ahead by 0.02"),
    (check_null, lambda pixels: pixels.mean(1, keepdim=True), "ahead by 0.02"),
    (check_null, lambda pixels: pixels[:, :1] / 0, "NaN or infinite"),
    (check_null, lambda pixels: pixels, "should return"),
]
