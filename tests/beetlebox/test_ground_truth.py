"""The ground truth, compared with models whose answer is known by hand."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_networks import curved_model, linear_model

from xai_course.beetlebox import (
    BODY_PARTS,
    CLUTTER,
    PARTS,
    SPECIES,
    Scene,
    clutter_effects,
    field_guide_map,
    field_guide_numbers,
    ground_truth_effects,
    ground_truth_map,
    pair_effects,
    part_relevance,
    scenes,
    shapley_effects,
    silhouette,
    stack_images,
    stack_masks,
)
from xai_course.data import normalise

SCENES = [Scene(name, 40 + i).with_label() for i, name in enumerate(list(SPECIES)[:5])]
WHOLE = Scene("Globaria_maculata", 3)  # has all parts but the label


@torch.no_grad()
def logits(model, *scenes):
    return model(normalise(stack_images(scenes)))


def stripped(scene, parts):
    """The scene without these parts."""
    for part in parts:
        scene = scene.without(part)
    return scene


# ---------------------------------------------------------------------------------- single parts


@pytest.mark.parametrize("batch_size", [1, 7, 250])
def test_effects_are_differences_of_the_logit_one_scene_at_a_time(batch_size):
    model, targets = linear_model(), torch.tensor([0, 1, 2, 3, 0])
    effects = ground_truth_effects(model, SCENES, targets, batch_size=batch_size)
    assert effects.shape == (5, len(PARTS))
    for scene, target, row in zip(SCENES, targets, effects, strict=True):
        for part, effect in zip(PARTS, row, strict=True):
            before, after = logits(model, scene, scene.without(part))[:, target]
            assert effect == pytest.approx((before - after).item(), abs=1e-4)


def test_effects_of_clutter_are_differences_of_the_logit_one_piece_at_a_time():
    model, targets = linear_model(), torch.tensor([0, 1, 2])
    littered = [scene.with_clutter(k) for k, scene in zip((0, 2, 3), SCENES, strict=False)]
    littered[2] = littered[2].without("clutter 1")
    effects = clutter_effects(model, littered, targets)
    assert effects.shape == (3, 3)
    for scene, target, row in zip(littered, targets, effects, strict=True):
        for number in range(3):
            before, after = logits(model, scene, scene.without(CLUTTER[number]))[:, target]
            assert row[number] == pytest.approx((before - after).item(), abs=1e-4)
            assert (row[number] != 0) == (number in scene.clutter)
    names = ["head", *CLUTTER[:3]]
    both = ground_truth_effects(model, littered, targets, parts=names)
    assert torch.allclose(both[:, 1:], effects, atol=1e-5)
    painted = ground_truth_map(littered, both, parts=names)
    found = part_relevance(painted, littered, names)
    assert torch.allclose(found.nan_to_num(), both, atol=1e-3)


def test_a_scene_that_comes_twice_gets_the_same_effects_twice():
    model = linear_model()
    twice = ground_truth_effects(model, [SCENES[0], SCENES[1], SCENES[0]], 1)
    assert torch.allclose(twice, ground_truth_effects(model, SCENES[:2], 1)[[0, 1, 0]], atol=1e-6)


def test_a_part_that_is_not_there_has_no_effect():
    scene = Scene("Ellipsa_polita", 1)  # no horn, no pattern, no label
    effects = ground_truth_effects(linear_model(), [scene], 0)[0]
    assert [effects[PARTS.index(part)] for part in ("horn", "pattern", "label")] == [0, 0, 0]
    assert effects[PARTS.index("elytra")] != 0


def test_effects_of_a_linear_model_are_its_weights_times_the_change():
    model, scene = linear_model(), SCENES[2]
    before, after = normalise(stack_images([scene, scene.without("head")]))
    by_hand = ((before - after).flatten() @ model[1].weight[3]).item()
    effect = ground_truth_effects(model, [scene], 3, parts=["head"])
    assert effect.item() == pytest.approx(by_hand, abs=1e-4)


def test_without_targets_the_class_is_the_one_predicted_for_the_whole_scene():
    model = linear_model()
    predicted = logits(model, *SCENES).argmax(1)
    assert torch.equal(
        ground_truth_effects(model, SCENES), ground_truth_effects(model, SCENES, predicted)
    )


@pytest.mark.parametrize("target", [0, 3, None])
def test_the_margin_is_held_against_the_runner_up_of_the_whole_scene(target):
    model = curved_model()
    effects = ground_truth_effects(model, SCENES, target, margin=True)
    for scene, row in zip(SCENES, effects, strict=True):
        whole = logits(model, scene)[0]
        chosen = int(whole.argmax()) if target is None else target
        rival = max((k for k in range(4) if k != chosen), key=lambda k, z=whole: z[k])
        for part, effect in zip(PARTS, row, strict=True):
            before, after = logits(model, scene, scene.without(part))
            by_hand = (before[chosen] - before[rival]) - (after[chosen] - after[rival])
            assert effect.item() == pytest.approx(by_hand.item(), abs=1e-5)


# ------------------------------------------------------------------------ parts that work together


def test_pairs_are_what_two_removals_do_beyond_each_alone():
    model = curved_model()
    pairs = pair_effects(model, [WHOLE], 2, parts=["head", "legs", "elytra"])[0]
    f = lambda *gone: logits(model, stripped(WHOLE, gone))[0, 2].item()  # noqa: E731
    assert pairs[0, 1] == pytest.approx(f() - f("head") - f("legs") + f("head", "legs"), abs=1e-5)
    assert torch.equal(pairs, pairs.T)
    alone = ground_truth_effects(model, [WHOLE], 2, parts=["head", "legs", "elytra"])[0]
    assert torch.allclose(pairs.diagonal(), alone)


def test_parts_that_add_up_have_no_pair_effect():
    """A linear model, and two parts that share no pixel but for soft edges."""
    pairs = pair_effects(linear_model(), [WHOLE], 1, parts=["legs", "pattern"])[0]
    assert abs(pairs[0, 1]) < 0.02 * abs(pairs[0, 0])


def test_shapley_values_are_the_mean_over_all_orders():
    model, parts = curved_model(), ("head", "horn", "antennae", "elytra")
    f = lambda gone: logits(model, stripped(WHOLE, gone))[0, 1].item()  # noqa: E731
    by_hand = dict.fromkeys(parts, 0.0)
    for order in permutations(parts):
        for i, part in enumerate(order):  # put in one after the other
            by_hand[part] += (f(order[i + 1 :]) - f(order[i:])) / 24
    values = shapley_effects(model, [WHOLE], 1, parts=parts)[0]
    assert values.tolist() == pytest.approx(list(by_hand.values()), abs=1e-4)


@given(seed=st.integers(0, 1000), target=st.integers(0, 3), margin=st.booleans())
@settings(max_examples=8, deadline=None)
def test_shapley_values_add_up_and_ignore_what_is_not_there(seed, target, margin):
    model, scene = curved_model(), Scene("Ellipsa_furcata", seed)  # has no pattern
    values = shapley_effects(model, [scene], target, margin=margin)[0]
    whole, bare = logits(model, scene, stripped(scene, BODY_PARTS))
    rival = whole.clone()
    rival[target] = -torch.inf
    rival = int(rival.argmax())
    span = whole[target] - bare[target]
    if margin:
        span = span - whole[rival] + bare[rival]
    assert values.sum().item() == pytest.approx(span.item(), abs=1e-4)
    assert values[BODY_PARTS.index("pattern")] == 0


def test_for_one_part_the_shapley_value_is_its_effect():
    model = curved_model()
    alone = shapley_effects(model, SCENES, 0, parts=["horn"])
    assert torch.allclose(alone, ground_truth_effects(model, SCENES, 0, parts=["horn"]), atol=1e-6)


# ------------------------------------------------------------------------ the ground truth as a map


def test_the_map_sums_to_the_effects():
    effects = torch.randn(5, len(PARTS), generator=torch.Generator().manual_seed(0))
    painted = ground_truth_map(SCENES, effects)
    shown = stack_masks(SCENES).sum((2, 3)) > 0
    found = part_relevance(painted, SCENES)
    assert torch.allclose(found[shown], effects[shown], atol=1e-3)
    ground = 1 - stack_masks(SCENES).sum(1, keepdim=True)
    assert (painted[ground == 1] == 0).all()


def test_the_silhouette_is_the_beetle_without_its_label():
    shown = silhouette(SCENES)
    assert shown.shape == (5, 1, 64, 64)
    assert shown.min() == 0
    assert shown.max() == 1
    for scene, mask in zip(SCENES, shown, strict=True):
        by_hand = sum(value for part, value in scene.masks().items() if part != "label")
        assert np.allclose(mask[0], by_hand, atol=1e-6)
        bare = silhouette([scene.without("label")])[0]
        assert torch.equal(mask, bare)
        legless = silhouette([scene.without("legs")])[0]
        assert legless.sum() < mask.sum()
    assert silhouette(SCENES[:2], 100).shape == (2, 1, 100, 100)
    with pytest.raises(ValueError, match="scenes"):
        silhouette([])


def test_bad_input_is_named():
    model = linear_model()
    with pytest.raises(ValueError, match=r"model\.eval"):
        ground_truth_effects(linear_model().train(), SCENES)
    with pytest.raises(ValueError, match=r"^model: got int"):
        ground_truth_effects(3, SCENES)
    with pytest.raises(ValueError, match=r"^scenes: got none"):
        ground_truth_effects(model, [])
    with pytest.raises(ValueError, match=r"^parts: got wing; must be elytra"):
        pair_effects(model, SCENES, parts=["wing"])
    with pytest.raises(ValueError, match=r"^targets"):
        ground_truth_effects(model, SCENES, 4)
    with pytest.raises(ValueError, match=r"^parts: got 7"):
        shapley_effects(model, SCENES, parts=PARTS)
    with pytest.raises(ValueError, match=r"^effects: got \(5, 3\)"):
        ground_truth_map(SCENES, torch.zeros(5, 3))


# ---- the field guide -----------------------------------------------------------------------------


def test_the_field_guide_counts_the_species_with_another_trait():
    beetles = [scene for name in SPECIES for scene in scenes("test", name, 1)]
    numbers = field_guide_numbers(beetles)
    horns = [traits.horn for traits in SPECIES.values()]
    expected = [len(horns) - horns.count(horn) for horn in horns]
    assert numbers[:, PARTS.index("horn")].tolist() == expected
    assert not numbers[:, [PARTS.index(part) for part in ("head", "legs", "label")]].any()
    relevance = field_guide_map(beetles)
    masks = stack_masks(beetles)
    alone = [PARTS.index(part) for part in ("horn", "antennae")]
    inside = (relevance * (masks[:, alone] > 0.5)).sum((2, 3))
    seen = masks[:, alone].sum((2, 3)) > 0
    assert ((inside / numbers[:, alone])[seen] > 0.7).all()  # its soft edges are outside


def test_the_field_guide_against_a_twin_names_the_trait_that_differs():
    beetles = scenes("test", "Ellipsa_longicornis", 3)
    numbers = field_guide_numbers(beetles, against=["Ellipsa_furcata"] * 3)
    assert numbers.nonzero()[:, 1].tolist() == [PARTS.index("antennae")] * 3
    assert not field_guide_numbers(beetles, against=["Ellipsa_longicornis"] * 3).any()
    with pytest.raises(ValueError, match=r"^against: got 2 names; must be 3"):
        field_guide_numbers(beetles, against=["Ellipsa_furcata"] * 2)
    with pytest.raises(ValueError, match=r"^against: got 'ladybird'"):
        field_guide_numbers(beetles, against=["ladybird"] * 3)
