"""Right and wrong answers to the exercises of lesson 15."""

from itertools import permutations

import torch

from xai_course.exercises.lesson_15 import check_centred, check_shapley


def shapley(worth):
    players = len(worth).bit_length() - 1
    values, orders = torch.zeros(players), list(permutations(range(players)))
    for order in orders:
        there = 0
        for player in order:
            values[player] += worth[there | 1 << player] - worth[there]
            there |= 1 << player
    return values / len(orders)


def by_weights(worth):
    """The same by the formula with factorials."""
    players = len(worth).bit_length() - 1
    factorial = torch.arange(players + 1).float().add(1).lgamma().exp()
    values = torch.zeros(players)
    for player in range(players):
        for there in range(len(worth)):
            if not there >> player & 1:
                size = there.bit_count()
                weight = factorial[size] * factorial[players - size - 1] / factorial[players]
                values[player] += weight * (worth[there | 1 << player] - worth[there])
    return values


def summed(worth):
    players = len(worth).bit_length() - 1
    return shapley(worth) * len(list(permutations(range(players))))


def alone(worth):
    return torch.stack([worth[1 << p] - worth[0] for p in range(len(worth).bit_length() - 1)])


def last(worth):
    end = len(worth) - 1
    return torch.stack([worth[end] - worth[end ^ 1 << p] for p in range(end.bit_length())])


def banzhaf(worth):
    players = len(worth).bit_length() - 1
    rows = [
        [worth[c | 1 << p] - worth[c] for c in range(len(worth)) if not c >> p & 1]
        for p in range(players)
    ]
    return torch.tensor(rows).mean(1)


def one_order(worth):
    players = len(worth).bit_length() - 1
    return torch.stack([worth[(2 << p) - 1] - worth[(1 << p) - 1] for p in range(players)])


def evenly(worth):
    players = len(worth).bit_length() - 1
    return ((worth[-1] - worth[0]) / players).expand(players)


def never_reset(worth):
    players, there = len(worth).bit_length() - 1, 0
    values, orders = torch.zeros(players), list(permutations(range(players)))
    for order in orders:
        for player in order:
            values[player] += worth[there | 1 << player] - worth[there]
            there |= 1 << player
    return values / len(orders)


def arrivals(worth):
    players = len(worth).bit_length() - 1
    values, orders = torch.zeros(players), list(permutations(range(players)))
    for order in orders:
        there = 0
        for player in order:
            there |= 1 << player
            values[player] += worth[there]
    return values / len(orders)


def centred(outputs, masks):
    change, shown = outputs - outputs.mean(), masks - masks.mean(0)
    return (change[:, None, None] * shown).mean(0) / shown.square().mean(0)


def covariance(outputs, masks):
    return centred(outputs, masks) * masks.var(0, correction=0)


def shown_minus_hidden(outputs, masks):
    f = outputs[:, None, None]
    return (f * masks).sum(0) / masks.sum(0) - (f * (1 - masks)).sum(0) / (1 - masks).sum(0)


def own_means(outputs, masks):
    change, shown = outputs - outputs.mean(), masks - masks.mean((1, 2), keepdim=True)
    return (change[:, None, None] * shown).mean(0) / shown.square().mean(0)


RIGHT = [
    (check_shapley, shapley),
    (check_shapley, by_weights),
    (check_centred, centred),
    (check_centred, lambda f, m: (f[:, None, None] * (m - m.mean(0))).sum(0)
     / (m - m.mean(0)).square().sum(0)),
]  # fmt: skip
WRONG = [
    (check_shapley, summed, "should be the mean"),
    (check_shapley, alone, "comes first"),
    (check_shapley, last, "comes last"),
    (check_shapley, banzhaf, "Banzhaf"),
    (check_shapley, one_order, "one order only"),
    (check_shapley, lambda worth: shapley(worth).flip(0), "wrong order"),
    (check_shapley, evenly, "shared equally"),
    (check_shapley, never_reset, "begin each order"),
    (check_shapley, arrivals, "worth before"),
    (check_shapley, lambda worth: alone(worth) + worth[0], "what nobody is worth"),
    (check_shapley, lambda worth: -shapley(worth), "sign"),
    (check_shapley, lambda worth: (alone(worth) + last(worth)) / 2, "first and coming last"),
    (check_shapley, lambda worth: summed(worth) / (len(worth).bit_length() - 1), "of players"),
    (check_shapley, lambda worth: summed(worth) / len(worth), "of coalitions"),
    (check_shapley, lambda worth: shapley(worth) / shapley(worth).sum(), "shares of the sum"),
    (check_shapley, lambda worth: shapley(worth).roll(1), "single values"),
    (check_shapley, lambda worth: shapley(worth) + 1, "add up to"),
    (check_shapley, lambda worth: shapley(worth).tolist(), "returns list"),
    (check_centred, covariance, "divide it by the variance"),
    (check_centred, lambda f, m: covariance(f, m) / m.var(0), "M - 1 (as torch.var"),
    (check_centred, lambda f, m: covariance(f, m) * 12 / 11 / m.var(0, correction=0), "M - 1, and"),
    (check_centred, lambda f, m: covariance(f, m) / m.std(0, correction=0), "not by its root"),
    (
        check_centred,
        lambda f, m: covariance(f, m) / m.std(0, correction=0) / f.std(correction=0),
        "correlation",
    ),
    (check_centred, lambda f, m: (f[:, None, None] * m).mean(0) / 0.5, "published form"),
    (
        check_centred,
        lambda f, m: (f[:, None, None] * m).mean(0) / m.var(0, correction=0),
        "mean off the outputs",
    ),
    (check_centred, lambda f, m: covariance(f, m) / m.var(correction=0), "all pixels together"),
    (check_centred, lambda f, m: covariance(f, m) / m.var(), "all pixels together"),
    (check_centred, lambda f, m: 12 * centred(f, m), "take its mean"),
    (check_centred, lambda f, m: covariance(f, m) / f.var(correction=0), "that of the outputs"),
    (check_centred, lambda f, m: covariance(f, m) / m.mean(0), "not by its mean"),
    (
        check_centred,
        lambda f, m: (f[:, None, None] * m).sum(0) / m.sum(0),
        "where the pixel is shown",
    ),
    (check_centred, shown_minus_hidden, "minus that without it"),
    (
        check_centred,
        lambda f, m: covariance(f, m) / (m - m.mean()).square().mean(0),
        "of all pixels",
    ),
    (check_centred, own_means, "each mask's own mean"),
    (check_centred, lambda f, m: -centred(f, m), "sign"),
    (check_centred, lambda f, m: centred(f, m) + 1, "At pixel"),
    (check_centred, lambda f, m: centred(f, m).T, "shape"),
]
