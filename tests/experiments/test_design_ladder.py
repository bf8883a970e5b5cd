"""The ablation's networks, recipes and trials, and what reads its table."""

import math
from collections import Counter

import pytest
import torch
from torch import nn

from xai_course.experiments import (
    FULL_RECIPE,
    POINTS,
    RECIPE_CHANGES,
    REMOVED,
    STEPS,
    Recipe,
    build,
    curve,
    design_ladder,
    recipe,
    run_step,
    time_to,
)
from xai_course.models import ArticleNet, BeetleNet

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def kinds(network):
    return Counter(type(module) for module in network.modules())


def test_the_first_step_is_the_articles_network_number_for_number():
    torch.manual_seed(0)
    article = ArticleNet(10)
    torch.manual_seed(0)
    ours = build(recipe("the article"))
    halved = nn.functional.avg_pool2d(IMAGES, 2)
    assert torch.equal(ours(IMAGES), article(halved))


def test_the_last_step_is_beetle_net_number_for_number_and_sees_every_pixel():
    torch.manual_seed(0)
    beetle = BeetleNet(10).eval()
    torch.manual_seed(0)
    assert torch.equal(build(recipe("more pixels")).eval()(IMAGES), beetle(IMAGES))
    torch.manual_seed(0)
    assert torch.equal(
        build(recipe(FULL_RECIPE)).eval()(IMAGES), beetle(nn.functional.avg_pool2d(IMAGES, 2))
    )


def test_each_step_is_one_change_more_than_the_one_before():
    made = [vars(recipe(step)) for step in STEPS]
    for before, after, change in zip(made, made[1:], RECIPE_CHANGES.values(), strict=False):
        assert {k: after[k] for k in after if after[k] != before[k]} == change


@pytest.mark.parametrize("name", REMOVED)
def test_what_is_removed_differs_from_the_full_recipe_in_that_alone(name):
    full, less = vars(recipe(FULL_RECIPE)), vars(recipe(FULL_RECIPE, name))
    assert {k for k in full if full[k] != less[k]} == set(REMOVED[name])


def test_the_changes_of_the_network_are_in_the_network():
    pooled, relu, norm = (
        kinds(build(recipe(step))) for step in ("pooling", "ReLUs", "normalisation")
    )
    assert (pooled[nn.MaxPool2d], pooled[nn.ReLU], pooled[nn.BatchNorm2d]) == (3, 0, 0)
    assert (relu[nn.MaxPool2d], relu[nn.ReLU], relu[nn.BatchNorm2d]) == (3, 4, 0)
    assert (norm[nn.MaxPool2d], norm[nn.ReLU], norm[nn.BatchNorm2d]) == (3, 4, 3)
    assert kinds(build(recipe(FULL_RECIPE, "ReLUs")))[nn.ReLU] == 0
    assert kinds(build(recipe(FULL_RECIPE, "normalisation")))[nn.BatchNorm2d] == 0
    whole = kinds(build(recipe(FULL_RECIPE)))
    assert whole[nn.ReLU] > 0
    assert whole[nn.BatchNorm2d] > 0


def test_without_relus_and_pooling_choices_the_network_is_linear_in_its_blocks():
    network = build(recipe(FULL_RECIPE, "ReLUs")).eval()
    a, b = IMAGES[:1], IMAGES[1:]
    middle = (network(a) + network(b)) / 2
    assert torch.allclose(network((a + b) / 2), middle, atol=1e-4)


def test_the_learning_rate_follows_the_batch():
    article, full = recipe("the article"), recipe(FULL_RECIPE)
    assert (article.learning_rate, full.learning_rate) == (0.01, 0.01)
    assert recipe("optimiser").learning_rate == pytest.approx(0.01 / math.sqrt(8))
    assert recipe(FULL_RECIPE, "optimiser").learning_rate == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("step", "without", "words"),
    [("roof", "nothing", "step: got 'roof'"), (FULL_RECIPE, "shoes", "without: got 'shoes'")],
)
def test_unknown_names_are_refused(step, without, words):
    with pytest.raises(ValueError, match=words):
        recipe(step, without)


def test_a_trial_repeats_to_the_bit_and_gives_every_column(monkeypatch):
    def small_world(images):
        parts = []
        for count, seed in ((40, 0), (20, 1)):
            generator = torch.Generator().manual_seed(seed)
            labels = torch.arange(count) % 10
            parts.append(
                torch.utils.data.TensorDataset(
                    torch.randn(count, 3, 64, 64, generator=generator), labels
                )
            )
        return parts

    monkeypatch.setattr(design_ladder, "_world", small_world)
    monkeypatch.setattr(
        design_ladder,
        "ground_truth_agreement",
        lambda network, scenes: {"gradient": 0.25, "scenes": float(len(scenes)), "skill": -0.5},
    )
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again = (run_step(FULL_RECIPE, seed=1, seen=40_000, grade_on=1) for _ in range(2))
    other = run_step(FULL_RECIPE, seed=2, seen=40_000, grade_on=1)
    del first["core seconds"], again["core seconds"], other["core seconds"]
    assert first == again
    assert first != other
    assert curve(first)[-1] == first[f"accuracy at {POINTS[-1]}"]
    assert first["scenes"] == 10
    assert next(iter(first)) == "weights"
    assert torch.equal(torch.get_rng_state(), state)


def test_each_step_and_each_thing_removed_runs_from_every_seed(monkeypatch):
    asked = []
    monkeypatch.setattr(
        design_ladder, "run_step", lambda **settings: asked.append(settings) or {"x": 1}
    )
    rows = design_ladder.ablation_trials(progress=False)
    assert len(rows) == 3 * (len(STEPS) + len(REMOVED)) == len(asked)
    assert asked[0] == {"step": "the article", "without": "nothing", "seed": 0}


# ---- reading the table ---------------------------------------------------------------------------


def test_time_to_a_level_by_hand():
    x, y = [10, 20, 30], [0.2, 0.6, 0.5]
    assert time_to(0.1, x, y) == pytest.approx(5)
    assert time_to(0.2, x, y) == pytest.approx(10)
    assert time_to(0.5, x, y) == pytest.approx(17.5)
    assert time_to(0.7, x, y) is None
    with pytest.raises(ValueError, match="shorter"):
        time_to(0.9, x, y[:2])


def test_a_recipe_cannot_be_changed_by_accident():
    with pytest.raises(AttributeError):
        Recipe().relu = True
