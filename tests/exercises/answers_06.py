"""Right and wrong answers to the exercises of lesson 06: (check, answer) and what a check says."""

import torch

from xai_course.exercises.lesson_06 import check_cam, check_holm, check_why_not


def cam(maps, weight, k):
    return torch.einsum("nkhw,k->nhw", maps, weight[k]) / (maps.shape[2] * maps.shape[3])


def why_not(features, weight, a, b):
    return features * (weight[a] - weight[b])


def sorted_holm(p, running=True, end=1.0, factors=None):
    m = len(p)
    values = p.sort().values * (torch.arange(m, 0, -1) if factors is None else factors)
    return (values.cummax(0).values if running else values).clamp(max=end)


def holm(p, **options):
    return sorted_holm(p, **options)[p.argsort().argsort()]


RIGHT = [(check_cam, cam), (check_why_not, why_not), (check_holm, holm)]
WRONG = [
    (check_cam, lambda maps, w, k: 12 * cam(maps, w, k), "12 times too large"),
    (check_cam, lambda maps, w, k: cam(maps, w, k).relu(), "keep the sign"),
    (check_cam, lambda maps, w, k: cam(maps, w.T, k), "a class has a row"),
    (check_cam, lambda maps, w, k: cam(maps, w, k) / 5, "takes their mean"),
    (check_cam, lambda maps, w, k: cam(maps, w, k).abs(), "sum over the places"),
    (check_cam, lambda maps, w, k: cam(maps, w, k)[:, None], "returns shape"),
    (check_why_not, lambda f, w, a, b: why_not(f, w, b, a), "reversed"),
    (check_why_not, lambda f, w, a, b: f * w[a], "evidence for b"),
    (check_why_not, lambda f, w, a, b: w[a] - w[b], "weights alone"),
    (check_why_not, lambda f, w, a, b: why_not(f, w.T, a, b), "a class has a row"),
    (check_why_not, lambda f, w, a, b: why_not(f, w, a, b).abs(), "add up to logit a"),
    (check_why_not, lambda f, w, a, b: why_not(f, w, a, b).sum(), "returns shape"),
    (check_holm, lambda p: (p * len(p)).clamp(max=1), "Bonferroni"),
    (check_holm, sorted_holm, "put them back"),
    (check_holm, lambda p: holm(p, running=False), "running maximum"),
    (check_holm, lambda p: holm(p, end=9.0), "clip at 1"),
    (check_holm, lambda p: holm(p, factors=torch.arange(1, len(p) + 1)), "wrong way"),
    (check_holm, lambda p: sorted_holm(p)[p.argsort()], "In the wrong order"),
    (check_holm, lambda p: p * torch.arange(len(p), 0, -1), "rising order of p"),
    (check_holm, lambda p: p, "something else"),
    (check_holm, lambda p: p.tolist(), "returns list"),
]
