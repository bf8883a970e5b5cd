"""The answer key, held against a model whose answer is known by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn

from xai_course.beetles import PARTS, SPECIES, Scene
from xai_course.data import normalise, stack_images
from xai_course.judge import (
    mean_interval,
    noise_map,
    part_effects,
    part_relevance,
    rank_agreement,
)


def linear_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)).eval()


SCENES = [Scene(name, 40 + i).with_label() for i, name in enumerate(list(SPECIES)[:5])]


@pytest.mark.parametrize("batch_size", [1, 7, 250])
def test_effects_are_differences_of_the_logit_one_scene_at_a_time(batch_size):
    model, targets = linear_model(), torch.tensor([0, 1, 2, 3, 0])
    effects = part_effects(model, SCENES, targets, batch_size=batch_size)
    assert effects.shape == (5, len(PARTS))
    for scene, target, row in zip(SCENES, targets, effects, strict=True):
        for part, effect in zip(PARTS, row, strict=True):
            pair = normalise(stack_images([scene, scene.without(part)]))
            before, after = model(pair)[:, target]
            assert effect == pytest.approx((before - after).item(), abs=1e-4)


def test_a_part_that_is_not_there_has_no_effect():
    scene = Scene("Ellipsa_polita", 1)  # no horn, no pattern, no label
    effects = part_effects(linear_model(), [scene], 0)[0]
    assert [effects[PARTS.index(part)] for part in ("horn", "pattern", "label")] == [0, 0, 0]
    assert effects[PARTS.index("elytra")] != 0


def test_effects_of_a_linear_model_are_its_weights_times_the_change():
    model, scene = linear_model(), SCENES[2]
    before, after = normalise(stack_images([scene, scene.without("head")]))
    by_hand = ((before - after).flatten() @ model[1].weight[3]).item()
    effect = part_effects(model, [scene], 3, parts=["head"])
    assert effect.item() == pytest.approx(by_hand, abs=1e-4)


def test_without_targets_the_class_is_the_one_predicted_for_the_whole_scene():
    model = linear_model()
    predicted = model(normalise(stack_images(SCENES))).argmax(1)
    assert torch.equal(part_effects(model, SCENES), part_effects(model, SCENES, predicted))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"model\.eval"):
        part_effects(linear_model().train(), SCENES)
    with pytest.raises(ValueError, match="scenes"):
        part_effects(linear_model(), [])
    with pytest.raises(ValueError, match="part is 'wing'"):
        part_effects(linear_model(), SCENES, parts=["wing"])
    with pytest.raises(ValueError, match="targets"):
        part_effects(linear_model(), SCENES, 4)


# ------------------------------------------------------------------ relevance held against the key


def test_relevance_of_a_part_is_its_sum_under_the_mask():
    scenes = [SCENES[2], Scene("Ellipsa_polita", 1)]
    relevance = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = part_relevance(relevance, scenes)
    for n, scene in enumerate(scenes):
        for part, value in zip(PARTS, found[n], strict=True):
            mask = torch.from_numpy(scene.masks()[part])
            by_hand = (relevance[n].sum(0) * mask).sum() if mask.any() else torch.nan
            assert value.item() == pytest.approx(float(by_hand), abs=1e-3, nan_ok=True)
    assert found[1].isnan().tolist() == [False, True, False, True, False, False, True]
    assert torch.allclose(part_relevance(relevance, scenes, ["legs"])[:, 0], found[:, 5])


def test_relevance_that_does_not_fit_the_scenes_is_refused():
    for shape in [(1, 1, 64, 64), (2, 1, 64, 32), (2, 64, 64)]:
        with pytest.raises(ValueError, match=r"^relevance: got"):
            part_relevance(torch.zeros(shape), SCENES[:2])
    with pytest.raises(ValueError, match=r"^parts: got"):
        part_relevance(torch.zeros(1, 1, 64, 64), SCENES[:1], ["wing"])


@given(seed=st.integers(0, 10**6), gone=st.integers(0, 3), ties=st.booleans())
def test_rank_agreement_is_spearman_over_what_is_shown(seed, gone, ties):
    rng = np.random.default_rng(seed)
    found, effects = rng.normal(size=(2, 4, 7))
    if ties:
        found = found.round()
    found[:, 3 : 3 + gone] = np.nan
    ours = rank_agreement(torch.tensor(found), torch.tensor(effects))
    for row, true, score in zip(found, effects, ours, strict=True):
        shown = ~np.isnan(row)
        constant = len(set(row[shown])) == 1
        expected = 0 if constant else spearmanr(row[shown], true[shown]).statistic
        assert score.item() == pytest.approx(expected, abs=1e-9)


def test_rank_agreement_of_shapes_that_differ_is_refused():
    with pytest.raises(ValueError, match=r"^found: got \(2, 3\)"):
        rank_agreement(torch.zeros(2, 3), torch.zeros(2, 4))


def test_the_interval_of_a_mean_is_about_as_wide_as_theory_says():
    values = torch.randn(400, generator=torch.Generator().manual_seed(1))
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(values.mean().item())
    assert (high - low) / 2 == pytest.approx(1.96 * values.std().item() / 20, rel=0.1)
    assert mean_interval([3.0]) == (3, 3, 3)
    assert mean_interval(values) == (mean, low, high)
    for wrong in ([], [float("nan")]):
        with pytest.raises(ValueError, match=r"^values: got"):
            mean_interval(wrong)
    with pytest.raises(ValueError, match=r"^level: got 1"):
        mean_interval([1.0], level=1)


def test_noise_knows_nothing_and_repeats_itself():
    model, images = linear_model(), torch.zeros(3, 3, 64, 64)
    noise = noise_map(model, images)
    assert noise.shape == (3, 1, 64, 64)
    assert torch.equal(noise, noise_map(model, images + 1, 2))
    assert not torch.equal(noise, noise_map(model, images, seed=1))
    assert not torch.equal(noise[0], noise[1])
    blots = noise_map(model, images, smooth=4)
    step = blots.diff(dim=3).std() / blots.std()
    assert step < 0.5 < noise.diff(dim=3).std() / noise.std()
    with pytest.raises(ValueError, match=r"^smooth: got -1"):
        noise_map(model, images, smooth=-1)
