"""Scores against the key, held against what is known by hand and against SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import roc_auc_score
from stock_networks import curved_model, linear_model

from xai_course.beetlebox import (
    CLUTTER,
    PARTS,
    SPECIES,
    Scene,
    clutter_masks,
    distractibility,
    distractors_above,
    ground_truth_effects,
    ground_truth_map,
    magnitude_agreement,
    part_relevance,
    pearson_with_truth,
    score_against_ground_truth,
    sign_agreement,
    spearman_with_truth,
    stack_masks,
    top1_agreement,
    top_has_effect,
)
from xai_course.core import mean_interval
from xai_course.metrics import constant_map, noise_map
from xai_course.relu import gradient

SCENES = [Scene(name, 40 + i).with_label() for i, name in enumerate(list(SPECIES)[:5])]


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
    masks = stack_masks(scenes)
    assert torch.equal(part_relevance(relevance, masks).nan_to_num(), found.nan_to_num())
    with pytest.raises(ValueError, match=r"^scenes: got masks of shape \(2, 3, 64, 64\)"):
        part_relevance(relevance, masks[:, :3])


def test_a_readout_says_what_counts_of_each_value():
    """A part of two pixels and two channels, by hand."""
    masks = torch.zeros(1, len(PARTS), 2, 2)
    masks[0, 0, 0] = torch.tensor([1.0, 0.5])  # the second pixel is covered by half
    relevance = torch.tensor([[[[4.0, -2.0], [9, 9]], [[-3.0, 6.0], [9, 9]]]])
    by_hand = {"signed": 4 - 3 + (6 - 2) / 2, "positive": 4 + 6 / 2, "size": 4 + 3 + (6 + 2) / 2}
    for readout, expected in by_hand.items():
        assert part_relevance(relevance, masks, readout=readout)[0, 0].item() == expected
    assert part_relevance(relevance, masks)[0, 0].item() == by_hand["signed"]
    with pytest.raises(ValueError, match=r"^readout: got 'sum'; must be one of signed, positive"):
        part_relevance(relevance, masks, readout="sum")


def test_the_score_against_the_key_takes_a_readout():
    model, key = linear_model(), torch.arange(35.0).view(5, 7)
    maps = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for readout in ("signed", "positive", "size"):
        found = score_against_ground_truth(model, maps, SCENES, effects=key, readout=readout)
        by_hand = spearman_with_truth(part_relevance(maps, SCENES, readout=readout), key)
        assert torch.equal(found, by_hand)


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
    ours = spearman_with_truth(torch.tensor(found), torch.tensor(effects))
    for row, true, score in zip(found, effects, ours, strict=True):
        shown = ~np.isnan(row)
        constant = len(set(row[shown])) == 1
        expected = 0 if constant else spearmanr(row[shown], true[shown]).statistic
        assert score.item() == pytest.approx(expected, abs=1e-9)


@given(seed=st.integers(0, 10**6), gone=st.integers(0, 3), scale=st.sampled_from([1e-30, 1, 1e30]))
def test_pearson_is_scipys_over_what_is_shown(seed, gone, scale):
    rng = np.random.default_rng(seed)
    found, effects = rng.normal(size=(2, 4, 7))
    found[:, 3 : 3 + gone] = np.nan
    ours = pearson_with_truth(torch.tensor(found * scale), torch.tensor(effects))
    for row, true, score in zip(found, effects, ours, strict=True):
        shown = ~np.isnan(row)
        assert score.item() == pytest.approx(pearsonr(row[shown], true[shown]).statistic, abs=1e-9)


def test_pearson_hardly_sees_the_order_of_what_has_no_effect():
    effects, relevance = torch.tensor([[9.0, 0.02, 0.01, 0]]), torch.tensor([[5.0, 0, 0.1, 0.2]])
    assert pearson_with_truth(relevance, effects).item() > 0.99
    assert spearman_with_truth(relevance, effects).item() == pytest.approx(0.2)
    flat = torch.full((1, 4), 0.1)
    assert pearson_with_truth(flat, effects).item() == pearson_with_truth(effects, flat).item() == 0


@pytest.mark.parametrize("score", [spearman_with_truth, pearson_with_truth])
def test_correlations_of_shapes_that_differ_are_refused(score):
    with pytest.raises(ValueError, match=r"^relevance: got \(2, 3\)"):
        score(torch.zeros(2, 3), torch.zeros(2, 4))


def test_relevance_of_clutter_stands_behind_that_of_the_parts():
    scenes = [Scene("Ellipsa_polita", 1), Scene("Ellipsa_polita", 2).with_clutter(2)]
    relevance = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    names = ("legs", *CLUTTER[:3])
    found = part_relevance(relevance, scenes, names)
    assert found.isnan().tolist() == [[False, True, True, True], [False, False, False, True]]
    by_hand = (relevance[1, 0] * torch.from_numpy(scenes[1].masks()["clutter 1"])).sum()
    assert found[1, 2].item() == pytest.approx(by_hand.item(), abs=1e-4)
    masks = torch.cat([stack_masks(scenes), clutter_masks(scenes)], 1)
    again = part_relevance(relevance, masks, names)
    assert torch.equal(again.nan_to_num(), found.nan_to_num())
    assert torch.equal(again.isnan(), found.isnan())


# ----------------------------------------------------------------------------- scores, by hand

NAN = float("nan")
EFFECTS = torch.tensor([[4.0, 1.0, -2.0, 9.0]])  # of which the last is not shown


def score_of(score, *row):
    return score(torch.tensor([row]), EFFECTS).item()


def test_top_agreement_by_hand():
    assert score_of(top1_agreement, 3.0, 1.0, 2.0, NAN) == 1
    assert score_of(top1_agreement, 1.0, 3.0, 2.0, NAN) == 0
    assert score_of(top1_agreement, 3.0, 3.0, 2.0, NAN) == 0.5
    assert score_of(top1_agreement, 0.0, 0.0, 0.0, NAN) == pytest.approx(1 / 3)
    assert score_of(top1_agreement, 1.0, 3.0, 3.0, NAN) == 0
    assert score_of(top1_agreement, 3.0, 1.0, 2.0, 5.0) == 1  # now the last is shown


def test_sign_agreement_by_hand():
    assert score_of(sign_agreement, 1.0, 1.0, -1.0, NAN) == 1
    assert score_of(sign_agreement, 1.0, 1.0, 1.0, NAN) == pytest.approx(5 / 7)
    assert score_of(sign_agreement, 0.0, 0.0, 0.0, NAN) == pytest.approx(1 / 2)
    assert score_of(sign_agreement, -1.0, 1.0, -1.0, NAN) == pytest.approx(3 / 7)
    assert sign_agreement(torch.ones(1, 4), torch.zeros(1, 4)).item() == 0.5


def test_calibration_by_hand():
    assert score_of(magnitude_agreement, 4.0, 1.0, -2.0, NAN) == 1
    assert score_of(magnitude_agreement, 0.0, 0.0, 0.0, NAN) == 0
    assert score_of(magnitude_agreement, 2.0, 0.5, -1.0, NAN) == pytest.approx(0.5)
    assert score_of(magnitude_agreement, 8.0, 2.0, -4.0, NAN) == pytest.approx(0)  # twice the scale
    assert score_of(magnitude_agreement, 4.0, 8.0, -2.0, NAN) == pytest.approx(0)
    assert magnitude_agreement(torch.ones(1, 4), torch.zeros(1, 4)).item() == 0


def test_distractibility_by_hand():
    """Of the effects 4, 1 and −2, the second is none where 0.3 of the largest is tolerated."""
    assert score_of(distractibility, 3.0, 1.0, 2.0, NAN) == 0  # all have an effect
    third = lambda found, true: distractibility(found, true, tolerance=0.3)  # noqa: E731
    assert score_of(third, 3.0, 1.0, -4.0, NAN) == pytest.approx(1 / 8)
    assert score_of(third, 0.0, -5.0, 0.0, NAN) == 1
    assert score_of(third, 0.0, 0.0, 0.0, NAN) == 0
    assert score_of(third, 1.0, 1.0, 1.0, 2.0) == pytest.approx(2 / 5)  # 9 is now the largest
    assert distractibility(torch.ones(1, 4), torch.zeros(1, 4)).item() == 1  # nothing has an effect
    exactly = distractibility(torch.tensor([[1.0, 3]]), torch.tensor([[4.0, 1]]), tolerance=0.25)
    assert exactly.item() == 0.75


def test_distractors_above_by_hand():
    effects = torch.tensor([[4.0, -3.0, 0.1, 0.0, 9.0]])  # of which the last is not shown

    def above(*row):
        return distractors_above(torch.tensor([row]), effects).item()

    assert above(4.0, -3.0, 2.0, 1.0, NAN) == 0
    assert above(1.0, 2.0, 3.0, -4.0, NAN) == 1
    assert above(1.0, 3.0, 2.0, 0.0, NAN) == 1 / 4
    assert above(1.0, 1.0, 1.0, 1.0, NAN) == 1 / 2
    assert distractors_above(torch.ones(2, 2), torch.tensor([[1.0, 1], [0, 0]])).isnan().all()


@given(seed=st.integers(0, 10**6))
def test_distractors_above_is_the_rest_of_the_area_under_the_roc_curve(seed):
    rng = np.random.default_rng(seed)
    found, effects = rng.normal(size=(2, 1, 12)).round(1)
    effects[0, :6] = 0
    effects[0, 6] = 1
    has_effect = np.abs(effects[0]) > 0.05 * np.abs(effects).max()
    ours = distractors_above(torch.tensor(found), torch.tensor(effects)).item()
    assert ours == pytest.approx(1 - roc_auc_score(has_effect, np.abs(found[0])))


def test_top_has_effect_by_hand():
    effects = torch.tensor([[4.0, -3.0, 0.1, 0.0, 9.0]])

    def top(*row):
        return top_has_effect(torch.tensor([row]), effects).item()

    assert top(1.0, -5.0, 4.0, 0.0, NAN) == 1
    assert top(1.0, 2.0, -3.0, 0.0, NAN) == 0
    assert top(3.0, 1.0, 3.0, -3.0, NAN) == pytest.approx(1 / 3)
    assert top(0.0, 0.0, 0.0, 0.0, NAN) == 1 / 2
    assert top(1.0, 2.0, 3.0, 0.0, 4.0) == 1  # now the last is shown


@pytest.mark.parametrize("score", [distractibility, distractors_above, top_has_effect])
def test_a_map_that_gives_the_effects_is_not_distracted(score):
    effects = torch.randn(20, 9, generator=torch.Generator().manual_seed(1))
    effects[:, 5:] *= 0.01
    scores = score(effects, effects)
    assert (scores == 1).all() if score is top_has_effect else (scores < 0.06).all()
    with pytest.raises(ValueError, match=r"^relevance: got \(2, 3\)"):
        score(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"^tolerance: got 1; must be"):
        score(effects, effects, tolerance=1)


@pytest.mark.parametrize(
    "score",
    [spearman_with_truth, pearson_with_truth, top1_agreement, sign_agreement, magnitude_agreement],
)
def test_the_key_itself_scores_1(score):
    """Also when it is handed in as a map, and goes the whole way through the masks."""
    model = curved_model()
    scenes = [scene.without("label") for scene in SCENES]
    key = ground_truth_effects(model, scenes)
    found = score_against_ground_truth(model, ground_truth_map(scenes, key), scenes, score=score)
    assert found.tolist() == pytest.approx([1] * 5, abs=1e-3)


def test_on_a_linear_model_gradient_times_the_change_is_the_key():
    """An explainer that knows what would be there instead: then part sums are effects."""
    model, scene = linear_model().double(), Scene("Tenuella_lineata", 5)
    from xai_course.beetlebox import stack_images
    from xai_course.data import normalise

    def knows(model, images, targets):
        gone = normalise(stack_images([scene.without("horn").without("antennae")])).to(images)
        return (images - gone) * gradient(model, images, targets)

    parts = ["antennae"]
    found = part_relevance(
        knows(model, normalise(stack_images([scene])).double(), 1), [scene], parts
    )
    true = ground_truth_effects(model, [scene], 1, parts=parts)
    masks = scene.masks()["antennae"]
    assert masks[masks > 0].min() < 1  # soft edges count by their cover, so it is near, not equal
    assert found.item() == pytest.approx(true.item(), rel=0.2)


def test_nulls_score_0_within_their_interval():
    model = curved_model()
    scenes = [Scene(name, 7 + i) for name in SPECIES for i in range(8)]
    key = ground_truth_effects(model, scenes)
    scores = [
        score_against_ground_truth(
            model, lambda m, x, t, s=seed: noise_map(m, x, t, seed=s), scenes, effects=key
        )
        for seed in range(3)
    ]
    _, low, high = mean_interval(torch.stack(scores).mean(0))
    assert low < 0 < high


def test_any_function_of_the_one_signature_is_graded():
    captum = pytest.importorskip("captum.attr")
    model, targets = curved_model(), torch.tensor([0, 1, 2, 3, 0])
    ours = score_against_ground_truth(model, gradient, SCENES, targets)
    theirs = score_against_ground_truth(
        model,
        lambda m, x, t: captum.Saliency(m).attribute(x, target=t, abs=False),
        SCENES,
        targets,
        batch_size=2,
    )
    assert torch.allclose(ours, theirs)


def test_a_flat_map_is_as_good_as_guessing_the_top_part():
    model = linear_model()
    scenes = [Scene("Globaria_maculata", seed) for seed in range(30)]  # all six parts
    flat = score_against_ground_truth(
        model, lambda m, x, t: 0 * constant_map(m, x), scenes, score=top1_agreement
    )
    assert flat.tolist() == pytest.approx([1 / 6] * 30)
