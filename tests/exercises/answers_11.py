"""Right and wrong answers to the exercises of lesson 11."""

import math

import numpy as np

from xai_course.beetlebox import SPECIES, scenes
from xai_course.exercises.lesson_11 import check_gradient_of_batch, check_item, check_slope

NAMES = list(SPECIES)


def slope(x, y, log=math.log2):
    u = [log(value) for value in x]
    mean_u, mean_y = sum(u) / len(u), sum(y) / len(y)
    up = sum((a - mean_u) * (b - mean_y) for a, b in zip(u, y, strict=True))
    return up / sum((a - mean_u) ** 2 for a in u)


def ends(x, y):
    pairs = sorted(zip(x, y, strict=True))
    return (pairs[-1][1] - pairs[0][1]) / math.log2(pairs[-1][0] / pairs[0][0])


def item(index, per_species):
    label, number = divmod(index, per_species)
    return NAMES[label], number


def listed(index, per_species):
    every = [(name, number) for name in NAMES for number in range(min(per_species, 10_000))]
    return item(index, per_species) if per_species > 10_000 else every[index]


def batch(gradients, counts):
    return sum(n * g for g, n in zip(gradients, counts, strict=True)) / sum(counts)


RIGHT = [(check_slope, slope), (check_item, item), (check_gradient_of_batch, batch)]
RIGHT += [(check_slope, lambda x, y: float(np.polyfit(np.log2(x), y, 1)[0]))]
WRONG = [
    (check_slope, lambda x, y: slope(x, y, math.log), "another logarithm"),
    (check_slope, lambda x, y: slope(x, y, math.log10), "another logarithm"),
    (check_slope, lambda x, y: slope(x, y, float), "x itself|you return"),
    (check_slope, ends, "two ends"),
    (check_slope, lambda x, y: "0.1", "one number"),
    (check_item, lambda i, n: (NAMES[i % 10], i // 10), "alternate"),
    (check_item, listed, "no list"),
    (check_item, lambda i, n: scenes("train", item(i, n)[0], 1)[0], "return (species"),
    (check_item, lambda i, n: (NAMES[i // n], i), "it is"),
    (check_gradient_of_batch, lambda g, n: sum(g) / len(g), "plain mean"),
    (check_gradient_of_batch, lambda g, n: batch(g, n) * sum(n), "this is a sum"),
    (check_gradient_of_batch, lambda g, n: batch(g, n) * sum(n) / len(n), "not of processes"),
    (check_gradient_of_batch, lambda g, n: g[0], "not the gradient"),
]
