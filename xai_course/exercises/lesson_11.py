"""Checks of lesson 11, Methods you have heard of."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from xai_course.exercises.asking import Wrong, ask_tensor, check, close


def _shapley(worth: Tensor) -> Tensor:
    """Return the reference of exercise 1: the Shapley values of a game (players,)."""
    players = len(worth).bit_length() - 1
    values, orders = torch.zeros(players), list(permutations(range(players)))
    for order in orders:
        there = 0
        for player in order:
            values[player] += worth[there | 1 << player] - worth[there]
            there |= 1 << player
    return values / len(orders)


def _marginals(worth: Tensor) -> Tensor:
    """Return what each player adds to each coalition of the others, (players, 2^(players - 1))."""
    players = len(worth).bit_length() - 1
    rows = [
        [worth[c | 1 << p] - worth[c] for c in range(len(worth)) if not c & 1 << p]
        for p in range(players)
    ]
    return torch.tensor(rows)


@check
def check_shapley(answer: Callable[..., Any]) -> str:
    """`answer(worth)` gives the Shapley value of each player; bit p of the index is player p."""
    for players in (3, 4):
        worth = torch.randn(2**players)
        values = ask_tensor(answer, (players,), worth)
        right, gains = _shapley(worth), _marginals(worth)
        if close(values, right):
            continue
        orders = len(list(permutations(range(players))))
        if close(values, orders * right):
            raise Wrong(f"This is the sum over the {orders} orders; it should be the mean.")
        if close(values, gains[:, 0]):
            raise Wrong("This is what each player adds when it comes first, to nobody.")
        if close(values, gains[:, -1]):
            raise Wrong("This is what each player adds when it comes last, to all others.")
        if close(values, gains.mean(1)):
            raise Wrong(
                "Every coalition counts the same here (Banzhaf). In the mean over orders the empty "
                "and the full ones count more."
            )
        if close(values, right.flip(0)):
            raise Wrong("The players are in the wrong order: bit 0 of the index is player 0.")
        first = torch.stack([worth[(2 << p) - 1] - worth[(1 << p) - 1] for p in range(players)])
        if close(values, first):
            raise Wrong("This is one order only, 0, 1, 2, …; take the mean over all orders.")
        total, change = values.sum(), worth[-1] - worth[0]
        raise Wrong(
            f"They add up to {total:.3f}, and should add up to {change:.3f}: all players' worth "
            "minus nobody's."
            if not close(total, change)
            else "They add up to what they should, but the single values are others."
        )
    return "In every order somebody comes first; in the mean nobody has an advantage."


@check
def check_centred(answer: Callable[..., Any]) -> str:
    """`answer(outputs, masks)` gives covariance by variance at each pixel."""
    outputs, masks = 3 + torch.randn(12), torch.rand(12, 5, 4)
    slope = ask_tensor(answer, (5, 4), outputs, masks)
    change, shown = outputs - outputs.mean(), masks - masks.mean(0)
    covariance, variance = (change[:, None, None] * shown).mean(0), shown.square().mean(0)
    if close(slope, covariance / variance):
        return "A pixel without effect now has 0, whatever the network says in the mean."
    count = len(outputs)
    if close(slope, covariance):
        raise Wrong("This is the covariance; divide it by the variance of the mask at each pixel.")
    if close(slope * count, (count - 1) * covariance / variance):
        raise Wrong(
            "Your variance divides by M - 1 (as torch.var does), and your covariance by M: use one "
            "of them for both."
        )
    if close(slope * (count - 1), count * covariance / variance):
        raise Wrong("Your covariance divides by M - 1, and your variance by M: use one of them.")
    if close(slope, covariance / variance.sqrt()):
        raise Wrong("Divide by the variance, not by its root.")
    if close(slope, covariance / (variance.sqrt() * change.square().mean().sqrt())):
        raise Wrong("This is the correlation: divide by the variance of the mask alone.")
    if close(slope, (outputs[:, None, None] * masks).mean(0) / variance):
        raise Wrong("Take the mean off the outputs and off the masks first.")
    if any(close(slope, (outputs[:, None, None] * masks).mean(0) / p) for p in (0.5, masks.mean())):
        raise Wrong("This is the published form. It holds the mean output at every pixel.")
    if close(slope, covariance / masks.var(correction=0)):
        raise Wrong("Your variance is that of all pixels together; each pixel has its own.")
    raise Wrong(
        f"At pixel (0, 0) it gives {slope[0, 0]:.3f}, and should give "
        f"{(covariance / variance)[0, 0]:.3f}."
    )
