"""Shapley values by their definition, against shap and captum, and by the axioms."""

from itertools import permutations

import numpy as np
import pytest
import shap
import torch
from captum.attr import FeatureAblation
from captum.attr import ShapleyValues as CaptumShapley
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_methods import NoDerivative, masked_function
from stock_networks import error, pictures, tiny
from torch import nn

from xai_course.beetlebox import BODY_PARTS, scenes, shapley_effects, stack_images
from xai_course.data import normalise
from xai_course.residual import (
    grid_segments,
    shapley_estimates,
    shapley_of_game,
    shapley_values,
    superpixels,
)

METHODS = ("exact", "kernel", "permutation")


def table_game(players, seed=0):
    """A game with a random value for each coalition."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(2**players, dtype=torch.double, generator=generator)
    return lambda coalitions: table[(coalitions.long() << torch.arange(players)).sum(1)]


def by_definition(game, players):
    """The mean of what each player adds, over all orders."""
    added = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        present = torch.zeros(1, players, dtype=torch.bool)
        for player in order:
            before = float(game(present))
            present[0, player] = True
            added[player] += float(game(present)) - before
    return torch.from_numpy(added / len(orders))


# ---- oracles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("players", [1, 2, 3, 5])
def test_exact_values_by_their_definition(players):
    game = table_game(players)
    found = shapley_of_game(game, players)
    assert error(found.values, by_definition(game, players)) < 1e-10
    assert found.standard_errors.abs().max() == 0


def test_the_kernel_over_all_coalitions_is_exact():
    """Lundberg and Lee's theorem, with the weights that the sampled form draws by."""
    players, game = 6, table_game(6)
    kept = (torch.arange(64)[:, None] >> torch.arange(6)) & 1 == 1
    size = kept.sum(1).double()
    weight = torch.full((64,), 1e9).double()  # none and all: as good as constraints
    inner = (size > 0) & (size < 6)
    ways = torch.tensor([1, 6, 15, 20, 15, 6, 1]).double()[size.long()]
    weight[inner] = 5 / (ways * size * (6 - size))[inner]
    rows = torch.nn.functional.pad(kept.double(), (0, 1), value=1.0) * weight.sqrt()[:, None]
    expected = torch.linalg.lstsq(rows, (game(kept) * weight.sqrt())[:, None]).solution[:6, 0]
    assert error(shapley_of_game(game, players).values, expected) < 1e-6


@pytest.mark.parametrize("baseline", ["mean", 0.3])
def test_values_agree_with_shap(baseline):
    model, images = tiny(), pictures(1, 12)
    labels = grid_segments(images, 2, 3)
    function = masked_function(model, images[0], labels[0], 4, baseline)
    found = shapley_estimates(model, images, 4, segments=labels, baseline=baseline)
    kernel = shap.KernelExplainer(function, np.zeros((1, 6)))
    expected = kernel.shap_values(np.ones((1, 6)), nsamples=200, l1_reg=False, silent=True)
    assert error(found.values, torch.from_numpy(np.asarray(expected))) < 1e-6


def test_values_agree_with_captum():
    model, images, targets = tiny(), pictures(2, 12), torch.tensor([3, 1])
    labels = grid_segments(images, 2, 2)[:1]
    expected = CaptumShapley(lambda x: model(x.clone())).attribute(
        images, baselines=0.3, target=targets, feature_mask=labels[:, None]
    )
    found = shapley_estimates(model, images, targets, segments=labels[0], baseline=0.3)
    assert error(found.values, expected[:, 0, ::6, ::6].flatten(1)) < 1e-5
    # Captum gives each pixel the whole value of its segment, of 36 pixels.
    relevance = shapley_values(model, images, targets, segments=labels[0], baseline=0.3)
    assert error(36 * relevance, expected[:, :1]) < 1e-5


def test_a_single_segment_gets_what_its_removal_costs():
    model, images = tiny(), pictures(1, 12)
    mask = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    mask[..., 3:8, 2:6] = True
    expected = FeatureAblation(lambda x: model(x.clone())).attribute(
        images, baselines=0.0, target=2, feature_mask=mask.long()
    )
    for method in ("auto", *METHODS):
        found = shapley_estimates(model, images, 2, segments=mask, baseline=0.0, method=method)
        assert error(found.values, expected[:, :1, 3, 2]) < 1e-5


@pytest.mark.parametrize("method", ["kernel", "permutation"])
def test_sampled_values_approach_the_exact_ones_as_their_standard_errors_say(method):
    players, game = 8, table_game(8, seed=3)
    exact = shapley_of_game(game, players, method="exact").values
    runs = [
        shapley_of_game(game, players, method=method, samples=600, seed=seed) for seed in range(60)
    ]
    values = torch.stack([run.values for run in runs])
    errors = torch.stack([run.standard_errors for run in runs])
    off = (values - exact) / errors  # about normal with variance 1
    assert 0.8 < off.square().mean() < 1.25
    assert (values.mean(0) - exact).abs().max() < 4.5 * float(errors.mean()) / 60**0.5
    assert 0.8 < (values.std(0) / errors.mean(0)).mean() < 1.25
    more = shapley_of_game(game, players, method=method, samples=60_000)
    assert (more.values - exact).abs().max() < 5 * more.standard_errors.max()
    assert more.standard_errors.mean() < errors.mean() / 7


def test_the_game_may_be_any_function_also_one_that_draws_scenes():
    """The answer key's Shapley values are those of the game played by rendering."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 3)).eval()
    scene = scenes("test", "Ellipsa_polita", 1)[0]
    parts = [part for part in BODY_PARTS if part in scene.parts][:4]

    @torch.no_grad()
    def game(coalitions):
        drawn = []
        for row in coalitions.tolist():
            shown = scene
            for part, is_kept in zip(parts, row, strict=True):
                shown = shown if is_kept else shown.without(part)
            drawn.append(shown)
        return model(normalise(stack_images(drawn, 32)))[:, 1]

    found = shapley_of_game(game, len(parts)).values
    expected = shapley_effects(model, [scene], 1, parts=parts, size=32)[0]
    assert error(found, expected.double()) < 1e-5


# ---- axioms --------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), players=st.integers(2, 7), method=st.sampled_from(METHODS))
@settings(max_examples=60, deadline=None)
def test_values_add_up_for_any_game_and_any_number_of_draws(seed, players, method):
    game = table_game(players, seed)
    found = shapley_of_game(game, players, method=method, samples=4 * players, seed=seed)
    ends = torch.tensor([[False], [True]]).expand(2, players)
    assert float(found.values.sum() - game(ends).diff()) == pytest.approx(0, abs=1e-10)
    assert found.standard_errors.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("players", [2, 5, 9])
def test_a_sum_over_players_is_divided_exactly(method, players):
    worth = torch.randn(players, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    worth[0] = 0  # a player without effect
    found = shapley_of_game(lambda z: 5 + z.double() @ worth, players, method=method, samples=200)
    assert (found.values - worth).abs().max() < 1e-10
    assert found.standard_errors.abs().max() < 1e-10


def test_two_players_alike_two_games_and_a_player_without_effect():
    first, second = table_game(4, 1), table_game(4, 2)
    both = shapley_of_game(lambda z: first(z) - 3 * second(z), 4).values
    single = [shapley_of_game(game, 4).values for game in (first, second)]
    assert error(both, single[0] - 3 * single[1]) < 1e-10
    alike = shapley_of_game(lambda z: first(torch.cat([z[:, :1] & z[:, 1:2], z[:, 1:]], 1)), 4)
    assert alike.values.shape == (4,)
    number = shapley_of_game(lambda z: (z[:, :2].sum(1) ** 2).double() * (1 + z[:, 2]), 4).values
    assert float(number[0] - number[1]) == pytest.approx(0, abs=1e-12)
    assert float(number[3]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_map_adds_up_to_the_change_of_the_output(method):
    model, images = tiny(), pictures(2, 16)
    masks = torch.nn.functional.one_hot(grid_segments(images, 3, 3)).movedim(3, 1).bool()[:, :8]
    hidden = torch.where(masks.any(1, keepdim=True), images.mean((2, 3), keepdim=True), images)
    for output, function in (("logit", lambda y: y), ("probability", lambda y: y.softmax(1))):
        with torch.no_grad():
            change = (function(model(images.clone())) - function(model(hidden)))[:, 2]
        relevance = shapley_values(
            model, images, 2, segments=masks, method=method, samples=40, output=output
        )
        assert (relevance.sum((1, 2, 3)) - change).abs().max() < 1e-10
        assert relevance[~masks.any(1, keepdim=True)].abs().max() == 0


# ---- options -------------------------------------------------------------------------------------


def test_auto_is_exact_where_the_samples_are_enough():
    game = table_game(5)
    exact = shapley_of_game(game, 5, method="exact").values
    assert torch.equal(shapley_of_game(game, 5, samples=32).values, exact)
    drawn = shapley_of_game(game, 5, method="permutation", samples=31)
    assert torch.equal(shapley_of_game(game, 5, samples=31).values, drawn.values)


def test_permutations_give_exactly_nothing_to_a_player_without_effect():
    worth = table_game(6)

    def game(coalitions):  # players 6 to 11 have no effect
        return worth(coalitions[:, :6])

    drawn = shapley_of_game(game, 12, method="permutation", samples=200)
    assert drawn.values[6:].abs().max() == 0
    assert drawn.standard_errors[6:].abs().max() == 0
    kernel = shapley_of_game(game, 12, method="kernel", samples=200)
    assert (kernel.values[6:].abs() < 5 * kernel.standard_errors[6:]).all()
    assert kernel.values[6:].abs().max() > 1e-3


def test_no_more_coalitions_than_promised():
    for method, most in (("kernel", 102), ("permutation", 102), ("exact", 64)):
        counts = []

        def game(z, counts=counts):
            counts.append(len(z))
            return z.double().sum(1)

        shapley_of_game(game, 6, method=method, samples=100)
        assert sum(counts) == most


def test_it_needs_no_derivative():
    model, images = NoDerivative().eval(), pictures(2, 16)
    for method in ("kernel", "permutation"):
        found = shapley_estimates(model, images, method=method, samples=260)
        assert found.values.abs().max() > 1e-3
        assert (found.standard_errors > 0).any()


def test_images_with_different_numbers_of_segments_do_not_mix():
    images = pictures(3, 24)
    images[1] = 0.1 * images[1].mean(2, keepdim=True)  # stripes
    labels = superpixels(images, 10)
    assert labels.amax((1, 2)).unique().numel() > 1
    options = {"samples": 100, "method": "kernel"}
    together = shapley_values(tiny(), images, segments=labels, **options)
    alone = [
        shapley_values(tiny(), image[None], segments=each[None], **options)
        for image, each in zip(images, labels, strict=True)
    ]
    assert error(torch.cat(alone), together) < 1e-10


def test_nothing_to_hide_is_nothing_to_explain():
    masks = torch.zeros(2, 3, 12, 12)
    found = shapley_estimates(tiny(), pictures(2, 12), segments=masks)
    assert found.values.abs().max() == 0


def test_seeds_batches_and_the_callers_random_numbers():
    model, images = tiny(), pictures(2, 16)
    for method in ("kernel", "permutation"):
        options = {"samples": 256, "method": method}
        before = torch.get_rng_state()
        whole = shapley_values(model, images, **options)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(whole, shapley_values(tiny(), images, **options))
        assert error(shapley_values(tiny(), images, seed=1, **options), whole) > 1e-3
        assert error(shapley_values(tiny(), images, batch_size=7, **options), whole) < 1e-10


def test_the_progress_bar_changes_nothing(capsys):
    labels = torch.arange(16).repeat(16, 1) // 8
    quiet = shapley_values(tiny(), pictures(1, 16), segments=labels)
    assert capsys.readouterr().err == ""
    loud = shapley_values(tiny(), pictures(1, 16), segments=labels, progress=True)
    assert torch.equal(loud, quiet)
    assert "Shapley" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "sampling"}, "method: got 'sampling'"),
        ({"method": "exact"}, "players: got 64"),
        ({"samples": 255}, "samples: got 255; must be at least 256"),
        ({"samples": 2.5}, r"samples: got 2\.5"),
        ({"output": "softmax"}, "output: got 'softmax'"),
        ({"baseline": "inpaint"}, "baseline: got 'inpaint'"),
        ({"segments": "slic"}, "segments: got str"),
        ({"seed": -1}, "seed: got -1"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_options_that_are_refused_by_name(options, words):
    for function in (shapley_values, shapley_estimates):
        with pytest.raises(ValueError, match=f"^{words}.*must be|^{words} for"):
            function(tiny(), pictures(1, 16), **options)


def test_games_that_are_refused_by_name():
    for game in (lambda z: z.double(), lambda z: 1.0, lambda z: z.double().sum()):
        with pytest.raises(ValueError, match=r"^game: got .* for 4 coalitions; must return one"):
            shapley_of_game(game, 2)
    with pytest.raises(ValueError, match=r"^players: got 0; must be"):
        shapley_of_game(lambda z: z.double().sum(1), 0)
