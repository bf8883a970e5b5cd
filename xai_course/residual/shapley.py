"""Shapley values: what each segment adds to the output, on average over all orders."""

from __future__ import annotations

from math import comb
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_choice, check_count
from xai_course.core.randomness import new_generator
from xai_course.core.switches import own_switches
from xai_course.residual.coalitions import Game, segment_games
from xai_course.residual.segments import segment_map

__all__ = ["ShapleyValues", "shapley_estimates", "shapley_of_game", "shapley_values"]

MOST_EXACT = 16  # segments, of which all 65 536 coalitions are run


class ShapleyValues(NamedTuple):
    """Shapley values and how well they are known.

    Attributes:
        values: one for each segment, (N, S), or (players,) of a single game.
        standard_errors: of the values, from the spread of the draws; 0 where nothing is drawn.
    """

    values: Tensor
    standard_errors: Tensor


@own_switches(grad=False)
def shapley_values(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    segments: Tensor | None = None,
    method: str = "auto",
    samples: int = 1024,
    output: str = "logit",
    baseline: float | str | Tensor = "mean",
    seed: int = 0,
    batch_size: int = 16,
    progress: bool = False,
) -> Tensor:
    """Return Shapley values of segments of the image, each spread over its segment.

        value[s] = mean over all orders of the segments of  f(those before s, and s) − f(those)
        Σ value = f(whole) − f(all segments hidden)

    Of all ways to divide the change of the output among the segments, it is the only one that gives
    nothing to a segment without effect, treats equal ones alike, and adds up for sums of functions.
    The relevance of a segment is the sum over its pixels, and that is its value: a pixel gets the
    value divided by the segment's area. (In `occlusion` and `rise` a pixel gets the whole effect of
    its surroundings instead.) `shapley_estimates` returns the values and their standard errors.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        segments: labels (N, H, W), or (H, W) for all images, such as `superpixels` and
            `grid_segments` return; pixels of a negative label stay as they are. Or masks
            (N, S, H, W), boolean or from 0 to 1: what share of a pixel they hide; where several
            overlap, the shares add up to at most 1. None is a grid of 8 × 8.
        method: "exact", "kernel", "permutation", or "auto", as in `shapley_of_game`.
        samples: coalitions of segments that are run, at least four times the number of segments.
        output: f: the "logit" of the target class, or its "probability".
        baseline: what is seen where a segment is hidden: a number, a tensor, "mean" or "blur" (see
            `baseline_images`).
        seed: of the draws. Images with equally many segments get the same ones.
        batch_size: images in one forward pass, which bounds the memory.
        progress: show a bar of progress over the images.

    Returns:
        Relevance (N, 1, H, W), in logits or in probability, as the output is.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        At most `samples` + 3 forward passes, or 2^S + 1 for "exact"; no derivative.

    References:
        Shapley: A Value for n-Person Games. Contributions to the Theory of Games II, 1953.
        Lundberg, Lee: A Unified Approach to Interpreting Model Predictions. NeurIPS 2017,
        arXiv:1705.07874.

    Example:
        The logit is the product of the two pixels: neither is worth anything alone.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import shapley_values
        >>> class Product(nn.Module):
        ...     def forward(self, x):
        ...         return x.flatten(1).prod(1)[:, None]
        >>> images, labels = torch.tensor([[[[2.0, 5.0]]]]), torch.tensor([[0, 1]])
        >>> shapley_values(Product().eval(), images, segments=labels, baseline=0).tolist()
        [[[[5.0, 5.0]]]]
    """
    found = shapley_estimates(
        model,
        images,
        targets,
        segments=segments,
        method=method,
        samples=samples,
        output=output,
        baseline=baseline,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    return segment_map(found.values, segments, images)


@own_switches(grad=False)
def shapley_estimates(
    model: nn.Module,
    images: Tensor,
    targets: Any = None,
    *,
    segments: Tensor | None = None,
    method: str = "auto",
    samples: int = 1024,
    output: str = "logit",
    baseline: float | str | Tensor = "mean",
    seed: int = 0,
    batch_size: int = 16,
    progress: bool = False,
) -> ShapleyValues:
    """Return the Shapley value of each segment, and its standard error.

    Args:
        model: as for `shapley_values`, and so are all others.
        images: (N, C, H, W).
        targets: the classes.
        segments: labels or masks.
        method: "exact", "kernel", "permutation" or "auto".
        samples: coalitions that are run.
        output: "logit" or "probability".
        baseline: what is seen where a segment is hidden.
        seed: of the draws.
        batch_size: images in one forward pass.
        progress: show a bar of progress over the images.

    Returns:
        Values and standard errors (N, S), in logits or in probability, in double precision; S is
        the largest label plus 1, or the number of masks. A segment without pixels has 0.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        As `shapley_values`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.residual import grid_segments, shapley_estimates
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(256, 3), nn.Tanh()).eval()
        >>> images = torch.rand(1, 1, 16, 16)
        >>> found = shapley_estimates(model, images, segments=grid_segments(images, 4, 4))
        >>> found.values.shape, bool((found.standard_errors > 0).all())
        (torch.Size([1, 16]), True)
    """
    check_method(method, samples)
    new_generator(seed)  # checks the seed
    count, games = segment_games(
        model, images, targets, segments, baseline, output, batch_size, "Shapley values", progress
    )
    values, errors = torch.zeros(2, len(images), count, dtype=torch.double)
    for n, players, game in games:
        if len(players) > 0:
            found = shapley_of_game(game, len(players), method=method, samples=samples, seed=seed)
            values[n, players], errors[n, players] = found
    return ShapleyValues(values, errors)


# ---- any game ------------------------------------------------------------------------------------


def shapley_of_game(
    game: Game, players: int, *, method: str = "auto", samples: int = 1024, seed: int = 0
) -> ShapleyValues:
    """Return the Shapley values of any game: a function from coalitions to their values.

    "exact" runs all 2^players coalitions. The two others draw some:

    "permutation" draws orders of the players, each once forwards and once backwards. A player's
    value is the mean of what it adds when it comes in.

    "kernel" (Kernel SHAP) draws coalitions, each with its complement, of k players with a
    probability proportional to 1 / (k · (players − k)). The values are the linear model

        minimise over c   Σ over drawn z of  (game(z) − game(none) − c · z)²
        subject to        Σ c = game(all) − game(none)

    Both agree with "exact" in the limit of many draws, and both add up exactly for any number. For
    a sum of functions of single players every method is exact. For other games their errors are of
    about one size, but lie elsewhere: "kernel" has nearly the same for all players, "permutation"
    a small one where a player adds little, and none where it adds nothing. So it ranks the many
    small values of an image far better.

    Args:
        game: from coalitions (K, players), True for a player that takes part, to values (K,).
        players: how many.
        method: "exact", for at most 16 players; "kernel"; "permutation"; or "auto": "exact" if
            `samples` is enough for all coalitions, else "permutation".
        samples: coalitions that are run at most, beside none and all; at least four a player.
            "exact" does not look at it.
        seed: of the draws.

    Returns:
        Values and standard errors (players,), in double precision. The standard errors come from
        the spread of the draws. They are 0 for "exact", and where there is one player.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        At most `samples` + 2 values of the game, or 2^players.

    References:
        Castro, Gómez, Tejada: Polynomial Calculation of the Shapley Value Based on Sampling.
        Computers & Operations Research 36, 2009 (permutations). Štrumbelj, Kononenko: Explaining
        Prediction Models and Individual Predictions with Feature Contributions. Knowledge and
        Information Systems 41, 2014 (of a classifier). Lundberg, Lee: A Unified Approach to
        Interpreting Model Predictions. NeurIPS 2017, arXiv:1705.07874 (the kernel). Covert, Lee:
        Improving KernelSHAP. AISTATS 2021, arXiv:2012.01536 (complements).

    Example:
        Two gloves make a pair worth 1. Player 0 has a left glove, players 1 and 2 a right one each.

        >>> from xai_course.residual import shapley_of_game
        >>> def pairs(coalitions):
        ...     return (coalitions[:, 0] & (coalitions[:, 1] | coalitions[:, 2])).double()
        >>> shapley_of_game(pairs, 3).values
        tensor([0.6667, 0.1667, 0.1667], dtype=torch.float64)
    """
    samples = check_method(method, samples)
    players = check_count("players", players, most=MOST_EXACT if method == "exact" else None)
    generator = new_generator(seed)
    fits = players <= MOST_EXACT and 2**players <= samples
    if method == "exact" or players == 1 or (method == "auto" and fits):
        return _exact(game, players)
    if samples < 4 * players:
        raise ValueError(
            f"samples: got {samples}; must be at least {4 * players} for {players} players."
        )
    sample = _kernel if method == "kernel" else _permutation
    return sample(game, players, samples, generator)


def check_method(method: str, samples: int) -> int:
    """Check the name of a method and the number of samples, and return that number.

    Args:
        method: the name.
        samples: a whole number from 1.

    Returns:
        The number, one of Python.

    Raises:
        ValueError: if one is not as described.
    """
    check_choice("method", method, ("auto", "exact", "kernel", "permutation"))
    return check_count("samples", samples)


def _exact(game: Game, players: int) -> ShapleyValues:
    """Return the exact values, from all coalitions."""
    # Every coalition has a number: its bit p tells whether player p takes part.
    coalitions = (torch.arange(2**players)[:, None] >> torch.arange(players)) & 1 == 1
    f = _values(game, coalitions)
    values = []
    for p in range(players):
        without_p = (~coalitions[:, p]).nonzero()[:, 0]
        others = coalitions[without_p].sum(1).tolist()  # |S|
        # |S|! (P − |S| − 1)! / P!, with the binomial coefficient of P − 1 over |S|
        weight = f.new_tensor([1 / (players * comb(players - 1, k)) for k in others])
        values.append((f[without_p + 2**p] - f[without_p]) @ weight)
    return ShapleyValues(torch.stack(values), torch.zeros(players, dtype=torch.double))


def _permutation(
    game: Game, players: int, samples: int, generator: torch.Generator
) -> ShapleyValues:
    """Return the mean of what each player adds, over random orders and their reverses."""
    pairs = samples // (2 * (players - 1))  # an order has players − 1 coalitions between its ends
    chance = torch.rand(pairs, players, generator=generator, dtype=torch.double)
    position = chance.argsort(1)  # of each player in the order
    position = torch.cat([position, players - 1 - position])  # (2 pairs, players)
    # After k steps the coalition has the players at positions 0 to k − 1.
    after = position[:, None, :] < torch.arange(1, players)[:, None]  # (2 pairs, players − 1, P)
    nobody_and_all = torch.tensor([[False], [True]]).expand(2, players)
    f = _values(game, torch.cat([nobody_and_all, after.flatten(0, 1)]))
    between = f[2:].view(2 * pairs, players - 1)
    path = torch.cat([f[0].expand(2 * pairs, 1), between, f[1].expand(2 * pairs, 1)], 1)
    added = path.diff(dim=1).gather(1, position)  # by each player
    of_pair = (added[:pairs] + added[pairs:]) / 2
    return ShapleyValues(of_pair.mean(0), of_pair.std(0) / pairs**0.5)


def _kernel(game: Game, players: int, samples: int, generator: torch.Generator) -> ShapleyValues:
    """Return the constrained least-squares fit to random coalitions and their complements."""
    pairs = samples // 2
    sizes = torch.arange(1, players)
    drawn = torch.multinomial(1 / (sizes * (players - sizes)), pairs, True, generator=generator)
    chance = torch.rand(pairs, players, generator=generator, dtype=torch.double)
    first = chance.argsort(1) < sizes[drawn][:, None]  # as many random players as drawn
    coalitions = torch.cat([first, ~first])
    nobody_and_all = torch.tensor([[False], [True]]).expand(2, players)
    f = _values(game, torch.cat([nobody_and_all, coalitions]))
    z, y = coalitions.double(), f[2:] - f[0]

    # The values c and a multiplier solve  [A 1; 1ᵀ 0] (c, multiplier) = (b, f(all) − f(none)).
    # A few coalitions may leave them open: the pseudoinverse then takes the smallest values.
    matrix = torch.ones(players + 1, players + 1, dtype=torch.double)
    matrix[:-1, :-1] = z.T @ z / len(z)
    matrix[-1, -1] = 0
    inverse = torch.linalg.pinv(matrix, hermitian=True)
    values = (inverse @ torch.cat([z.T @ y / len(z), (f[1] - f[0])[None]]))[:-1]

    # What each pair moves the values by; a pair and its complement are one independent draw.
    pull = (y - z @ values)[:, None] * z @ inverse[:-1, :-1]  # (2 pairs, players)
    of_pair = (pull[:pairs] + pull[pairs:]) / 2
    freedom = pairs - (players - 1)  # less the number of values that were fitted
    return ShapleyValues(values, (of_pair.square().sum(0) / (pairs * freedom)).sqrt())


def _values(game: Game, coalitions: Tensor) -> Tensor:
    """Return the values of coalitions, checked, in double precision on the CPU."""
    values = game(coalitions)
    if not isinstance(values, Tensor) or values.shape != (len(coalitions),):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"game: got {got} for {len(coalitions)} coalitions; must return one value for each."
        )
    return values.detach().cpu().double()
