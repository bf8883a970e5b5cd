"""Right and wrong answers to the exercises of lesson 14."""

from math import comb, perm

import torch

from xai_course.exercises.lesson_14 import check_coin, check_go_on, check_surprise


def channels(x, mean, variance, correction=0):
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=correction)
    return (v / variance + (m - mean) ** 2 / variance - 1 - (v / variance).log()) / 2


def surprise(x, mean, variance):
    return channels(x, mean, variance).mean()


def swapped(x, mean, variance):
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    return ((variance / v + (m - mean) ** 2 / v - 1 - (variance / v).log()) / 2).mean()


def logarithm(x, variance):
    return (x.var((0, 2, 3), correction=0) / variance).log().mean()


def image_by_image(x, mean, variance):
    return torch.stack([surprise(one[None], mean, variance) for one in x]).mean()


def formula(x, mean, variance, moved=None, root=False):
    """The formula, with another term for the means, or with the root of the variance."""
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    v = v.sqrt() if root else v
    moved = (m - mean) ** 2 / variance if moved is None else moved(m - mean, v, variance)
    return (v / variance + moved - 1 - (v / variance).log()).mean() / 2


def upside_down(x, mean, variance):
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    return (variance / v + (m - mean) ** 2 / variance - 1 - (variance / v).log()).mean() / 2


def without_brackets(x, mean, variance):
    m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    return (0.5 * v / variance + (m - mean) ** 2 / variance - 1 - (v / variance).log()).mean()


def other_base(x, mean, variance):
    ratio = x.var((0, 2, 3), correction=0) / variance
    return surprise(x, mean, variance) + (ratio.log() - ratio.log10()).mean() / 2


def all_channels_together(x, mean, variance):
    m, v = x.mean(), x.var(correction=0)
    return ((v / variance + (m - mean) ** 2 / variance - 1 - (v / variance).log()) / 2).mean()


def go_on(run, items, size):
    done = []
    while len(done) < len(items):
        try:
            done += run(items[len(done) : len(done) + size])
        except MemoryError:
            if size == 1:
                raise
            size //= 2
    return done


def from_the_start(run, items, size):
    while True:
        try:
            parts = [run(items[k : k + size]) for k in range(0, len(items), size)]
            return [one for part in parts for one in part]
        except MemoryError:
            if size == 1:
                raise
            size //= 2


def forgets_the_size(run, items, size):
    done = []
    while len(done) < len(items):
        now = size
        while True:
            try:
                done += run(items[len(done) : len(done) + now])
                break
            except MemoryError:
                if now == 1:
                    raise
                now //= 2
    return done


def down_to_one(run, items, size):
    done = []
    while len(done) < len(items):
        try:
            done += run(items[len(done) : len(done) + size])
        except MemoryError:
            if size == 1:
                raise
            size = 1
    return done


def hides_the_error(run, items, size):
    try:
        return go_on(run, items, size)
    except MemoryError:
        return []


def coin(hits, n):
    return sum(comb(n, k) for k in range(hits, n + 1)) / 2**n


RIGHT = [(check_surprise, surprise), (check_go_on, go_on), (check_coin, coin)]
WRONG = [
    (check_surprise, channels, "one number for each channel"),
    (check_surprise, lambda x, m, v: channels(x, m, v, 1).mean(), "correction=0"),
    (check_surprise, lambda x, m, v: 2 * surprise(x, m, v), "½ is missing"),
    (check_surprise, lambda x, m, v: channels(x, m, v).sum(), "sum over the channels"),
    (check_surprise, swapped, "exchanged"),
    (check_surprise, lambda x, m, v: surprise(x, m, v) + 0.5, "−1 is missing"),
    (check_surprise, lambda x, m, v: surprise(x, m, v) + logarithm(x, v), "sign of the logarithm"),
    (check_surprise, lambda x, m, v: surprise(x, m, v) + logarithm(x, v) / 2, "is missing"),
    (check_surprise, image_by_image, "over all images"),
    (check_surprise, upside_down, "wrong way round"),
    (check_surprise, lambda *a: formula(*a, moved=lambda d, v, s: d / s), "not squared"),
    (check_surprise, lambda *a: formula(*a, moved=lambda d, v, s: d**2), "not divided by σ²"),
    (
        check_surprise,
        lambda *a: formula(*a, moved=lambda d, v, s: d**2 / s**0.5),
        "divide it by σ²",
    ),
    (check_surprise, lambda *a: formula(*a, moved=lambda d, v, s: d**2 / v), "divided by v"),
    (check_surprise, lambda *a: formula(*a, moved=lambda d, v, s: 0 * d), "means, (m - μ)²"),
    (check_surprise, lambda *a: formula(*a, root=True), "not x.std"),
    (check_surprise, lambda x, m, v: surprise(x, m, v**2), "do not square"),
    (check_surprise, without_brackets, "brackets"),
    (check_surprise, other_base, "base 10"),
    (check_surprise, all_channels_together, "for all channels"),
    (check_surprise, lambda x, m, v: surprise(x, m, v) + 3, "and should give"),
    (check_surprise, lambda x, m, v: x, "should return ()"),
    (check_go_on, lambda run, items, size: run(items), "Catch it while"),
    (check_go_on, from_the_start, "continue after those"),
    (check_go_on, forgets_the_size, "keep it for the rest"),
    (check_go_on, down_to_one, "Halve the size"),
    (check_go_on, lambda run, items, size: go_on(run, items, size)[::-1], "another order"),
    (check_go_on, lambda run, items, size: go_on(run, items, size)[1:], "results"),
    (check_go_on, lambda run, items, size: tuple(go_on(run, items, size)), "returns tuple"),
    (check_go_on, lambda run, items, size: go_on(run, items, 1), "should have tried"),
    (check_go_on, hides_the_error, "should not be caught"),
    (check_coin, lambda hits, n: comb(n, hits) / 2**n, "for exactly"),
    (check_coin, lambda hits, n: coin(hits + 1, n), "itself counts"),
    (check_coin, lambda hits, n: 1 - coin(hits, n), "the other side"),
    (check_coin, lambda hits, n: coin(hits, n) * 2**n, "divide by all"),
    (check_coin, lambda hits, n: sum(comb(n, k) for k in range(hits, n)) / 2**n, "ends before n"),
    (check_coin, lambda hits, n: 1 - coin(hits + 1, n), "at most"),
    (check_coin, lambda hits, n: 2 * coin(hits, n), "Twice too much"),
    (check_coin, lambda hits, n: 100 * coin(hits, n), "percentage"),
    (check_coin, lambda hits, n: coin(hits, n) * 2 ** (n - hits), "power of hits"),
    (check_coin, lambda hits, n: coin(hits, n) * 2**n / (2 * n), "not by 2 · n"),
    (check_coin, lambda hits, n: coin(hits, n) * 2**n / n**2, "not by n²"),
    (check_coin, lambda hits, n: 0.5**hits, "in a row"),
    (check_coin, lambda hits, n: hits / n, "share of heads"),
    (check_coin, lambda hits, n: round(coin(hits, n), 3), "rounded"),
    (check_coin, lambda hits, n: sum(perm(n, k) for k in range(hits, n + 1)) / 2**n, "math.comb"),
    (check_coin, lambda hits, n: coin(hits, n) + 0.01, "and should give"),
    (check_coin, lambda hits, n: torch.tensor(coin(hits, n)), "returns Tensor"),
]
