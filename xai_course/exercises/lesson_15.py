"""Checks of lesson 15, Methods you have heard of."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from xai_course.core.translation import translate
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


def _arrivals(worth: Tensor) -> Tensor:
    """Return the mean, over all orders, of what is there when a player has arrived (players,)."""
    players = len(worth).bit_length() - 1
    values, orders = torch.zeros(players), list(permutations(range(players)))
    for order in orders:
        there = 0
        for player in order:
            there |= 1 << player
            values[player] += worth[there]
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
            raise Wrong(
                "This is the sum over the {orders} orders; it should be the mean.", orders=orders
            )
        if close(values, gains[:, 0]):
            raise Wrong("This is what each player adds when it comes first, to nobody.")
        if close(values, gains[:, -1]):
            raise Wrong("This is what each player adds when it comes last, to all others.")
        if close(values, gains.mean(1)):
            raise Wrong(
                "Every coalition counts the same here (Banzhaf). In the mean over orders "
                "the empty and the full ones count more."
            )
        if close(values, right.flip(0)):
            raise Wrong("The players are in the wrong order: bit 0 of the index is player 0.")
        first = torch.stack([worth[(2 << p) - 1] - worth[(1 << p) - 1] for p in range(players)])
        if close(values, first):
            raise Wrong("This is one order only, 0, 1, 2, …; take the mean over all orders.")
        before = torch.tensor(
            [[worth[c] for c in range(len(worth)) if not c & 1 << p] for p in range(players)]
        )
        after = before + gains
        mistakes = {
            translate(
                "From the second order on nothing is added: begin each order with nobody there."
            ): (first / orders),
            translate(
                "Divide by the number of orders, {orders}, and not by the number of players.",
                orders=orders,
            ): (orders / players * right),
            translate(
                "Divide by the number of orders, {orders}, and not by that of coalitions.",
                orders=orders,
            ): (orders / len(worth) * right),
            translate(
                "The sign is wrong: it is the worth with the player minus the worth before."
            ): -right,
            translate(
                "This is the mean of coming first and coming last; the orders between count as "
                "well."
            ): ((gains[:, 0] + gains[:, -1]) / 2),
            translate("All players get the same here: the change is only shared equally."): (
                (worth[-1] - worth[0]).expand(players) / players
            ),
            translate(
                "This is what the player is worth alone; subtract what nobody is worth."
            ): after[:, 0],
            translate("These are shares of the sum; return the values themselves."): right
            / right.sum(),
            translate(
                "The mean worth of the coalitions with the player: subtract the worth without it."
            ): (after.mean(1)),
            translate("The mean worth on arrival: subtract what the others were worth before."): (
                _arrivals(worth)
            ),
        }
        for words, wrong in mistakes.items():
            if close(values, wrong):
                raise Wrong(words)
        total, change = values.sum(), worth[-1] - worth[0]
        raise Wrong(
            translate(
                "They add up to {total:.3f}, and should add up to {change:.3f}: all players' "
                "worth minus nobody's.",
                total=total,
                change=change,
            )
            if not close(total, change)
            else translate("They add up to what they should, but the single values are others.")
        )
    return translate("In every order somebody comes first; in the mean nobody has an advantage.")


@check
def check_centred(answer: Callable[..., Any]) -> str:
    """`answer(outputs, masks)` gives covariance by variance at each pixel."""
    outputs, masks = 3 + torch.randn(12), torch.rand(12, 5, 4)
    slope = ask_tensor(answer, (5, 4), outputs, masks)
    change, shown = outputs - outputs.mean(), masks - masks.mean(0)
    covariance, variance = (change[:, None, None] * shown).mean(0), shown.square().mean(0)
    if close(slope, covariance / variance):
        return translate("A pixel without effect now has 0, whatever the network says in the mean.")
    count = len(outputs)
    if close(slope, covariance):
        raise Wrong("This is the covariance; divide it by the variance of the mask at each pixel.")
    if close(slope * count, (count - 1) * covariance / variance):
        raise Wrong(
            "Your variance divides by M - 1 (as torch.var does), and your covariance by M: "
            "use one of them for both."
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
    product = outputs[:, None, None] * masks
    if close(slope, product.sum(0) / masks.sum(0)):
        raise Wrong("This is the mean output where the pixel is shown; take the means off first.")
    hidden = (outputs[:, None, None] * (1 - masks)).sum(0) / (1 - masks).sum(0)
    if close(slope, product.sum(0) / masks.sum(0) - hidden):
        raise Wrong(
            "This is the mean output with the pixel minus that without it. Where masks are "
            "neither 0 nor 1 that is another number: divide the covariance by the variance."
        )
    if close(slope, count * covariance / variance):
        raise Wrong("The product is summed over the masks; take its mean.")
    if close(slope, covariance / change.square().mean()):
        raise Wrong("Your variance is that of the outputs; take that of the mask at each pixel.")
    if close(slope, covariance / masks.mean(0)):
        raise Wrong("Divide by the variance of the mask at each pixel, not by its mean.")
    if any(close(slope, covariance / masks.var(correction=c)) for c in (0, 1)):
        raise Wrong("Your variance is that of all pixels together; each pixel has its own.")
    if close(slope, covariance / (masks - masks.mean()).square().mean(0)):
        raise Wrong(
            "The mean that you take off the masks is of all pixels; each pixel has its own."
        )
    if close(slope, (outputs[:, None, None] * masks).sum(0) / shown.square().sum(0)):
        raise Wrong("Take the mean off the outputs and off the masks first.")
    own = masks - masks.mean((1, 2), keepdim=True)
    if close(slope, (change[:, None, None] * own).mean(0) / own.square().mean(0)):
        raise Wrong("You take each mask's own mean off; the mean is over the masks, at each pixel.")
    if close(slope, -covariance / variance):
        raise Wrong("The sign is wrong: a pixel that raises the output when shown is above 0.")
    raise Wrong(
        "At pixel (0, 0) it gives {slope:.3f}, and should give {covariance:.3f}.",
        slope=slope[0, 0],
        covariance=(covariance / variance)[0, 0],
    )
