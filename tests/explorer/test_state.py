"""The explorer's numbers: those of the rooms, for every selection."""

import math
import re
from dataclasses import fields, replace

import pytest
import torch

from xai_course.beetlebox import PARTS, SPECIES, TRAITS, Scene, ground_truth, scores, stack_images
from xai_course.core.paths import data_folder
from xai_course.data import normalise, photographs
from xai_course.explorer import Selection
from xai_course.explorer.catalogue import PHOTO_NETWORK, network_lock, open_network
from xai_course.explorer.state import run_all, run_model, scene_of
from xai_course.methods import METHODS
from xai_course.metrics import null_maps
from xai_course.relu import grad_cam, gradient, smooth_grad
from xai_course.residual import deeplift, integrated_gradients, lrp, occlusion
from xai_course.storage import load_checkpoint

DRAWN = Scene("Ellipsa_longicornis", 24)
MODEL, CARD = load_checkpoint(data_folder() / "checkpoints" / "beetle_net")


def seen(scene):
    """What the network sees of a scene."""
    return normalise(stack_images([scene]))


def logit(scene, target):
    with torch.no_grad():
        return float(MODEL(seen(scene))[0, target])


# ---- what a selection means ----------------------------------------------------------------------


def test_a_choice_without_changes_is_the_scene_as_drawn():
    assert scene_of(Selection(species="Ellipsa_longicornis", seed=24)) == DRAWN


@pytest.mark.parametrize("part", ground_truth.BODY_PARTS)
def test_turning_a_part_off_takes_it_out_of_the_scene(part):
    assert scene_of(Selection(without=(part,))) == DRAWN.without(part)


def test_every_other_change_is_the_scene_s_own():
    assert scene_of(Selection(pattern="striped")) == DRAWN.with_trait(pattern="striped")
    assert scene_of(Selection(background=3)) == DRAWN.with_background(3)
    assert scene_of(Selection(label=True)) == DRAWN.with_label()
    both = Selection(horn="single", without=("legs",), background=0, label=True)
    expected = DRAWN.with_trait(horn="single").without("legs").with_background(0).with_label()
    assert scene_of(both) == expected


def test_the_species_own_trait_is_no_change():
    own = SPECIES["Ellipsa_longicornis"]
    same = Selection(**{trait: getattr(own, trait) for trait in TRAITS})
    assert scene_of(same) == DRAWN


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "ResNet"),
        ("species", "Ellipsa"),
        ("seed", -1),
        ("outline", "square"),
        ("pattern", "checked"),
        ("horn", "double"),
        ("antennae", "none"),
        ("background", -1),
        ("background", 1.5),
        ("pixel_noise", -0.1),
        ("pixel_noise", math.nan),
        ("pixel_noise", "much"),
        ("target", "beetle"),
        ("method", "magic"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(field, value):
    with pytest.raises(ValueError, match=rf"\b{field}\b.*{re.escape(str(value))[:6]}"):
        run_all(replace(Selection(), **{field: value}))


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("Grad-CAM", "layer", "blocks.9"),
        ("occlusion", "window", 65),
        ("occlusion", "stride", 9),
        ("occlusion", "baseline", "green"),
        ("Integrated Gradients", "steps", 0),
        ("Integrated Gradients", "steps", "many"),
        ("SmoothGrad", "samples", 2.5),
        ("SmoothGrad", "noise", -1.0),
        ("LRP", "rule", "alpha"),
        ("DeepLIFT", "baseline", "green"),
    ],
)
def test_an_option_that_is_not_allowed_is_named(method, field, value):
    with pytest.raises(ValueError, match=rf"\b{field}\b.*{re.escape(str(value))}"):
        run_all(replace(Selection(method=method), **{field: value}))


@pytest.mark.parametrize("part", ["label", "wings"])
def test_only_parts_of_the_body_can_be_taken_away(part):
    with pytest.raises(ValueError, match=rf"without.*{part}"):
        run_all(Selection(without=(part,)))


def test_an_unknown_photograph_is_named():
    with pytest.raises(ValueError, match=r"photograph.*holiday"):
        run_all(Selection(network=PHOTO_NETWORK, photograph="holiday"))


# ---- the numbers are those of the rooms ----------------------------------------------------------


def test_pictures_and_logits_before_and_after():
    result = run_model(Selection(without=("horn",)))
    for place, scene in enumerate((DRAWN, DRAWN.without("horn"))):
        assert torch.equal(result.images[place], stack_images([scene])[0])
        with torch.no_grad():
            assert torch.equal(result.logits[place], MODEL(seen(scene))[0])
    assert result.changed
    assert result.classes == tuple(CARD["classes"])
    assert not run_model(Selection()).changed


def test_the_class_explained():
    away = {"without": ("horn",)}
    before, after = MODEL(seen(DRAWN)).argmax(), MODEL(seen(DRAWN.without("horn"))).argmax()
    assert before != after
    assert run_model(Selection(**away)).target == before
    assert run_model(Selection(target="after", **away)).target == after
    assert run_model(Selection(target="Globaria_cincta", **away)).target == 5


def test_the_truth_is_the_answer_key():
    scene = DRAWN.with_trait(pattern="spotted").with_label()
    result = run_model(Selection(pattern="spotted", label=True, target="Ellipsa_longicornis"))
    key = ground_truth.ground_truth_effects(MODEL, [scene], 1)[0]
    assert {p.name: p.effect for p in result.parts} == dict(zip(PARTS, key.tolist(), strict=True))
    assert all(p.present for p in result.parts)


def test_a_part_taken_away_keeps_its_row_and_is_worth_what_the_logit_lost():
    result = run_model(Selection(without=("horn", "legs")))
    rows = {p.name: p for p in result.parts}
    assert [name for name, p in rows.items() if not p.present] == ["horn", "legs"]
    gone = DRAWN.without("horn").without("legs")
    for name, back in (("horn", DRAWN.without("legs")), ("legs", DRAWN.without("horn"))):
        expected = logit(back, result.target) - logit(gone, result.target)
        assert rows[name].effect == pytest.approx(expected, abs=1e-4)
    alone = run_model(Selection(without=("horn",)))
    lost = float(alone.logits[0, alone.target] - alone.logits[1, alone.target])
    assert {p.name: p.effect for p in alone.parts}["horn"] == pytest.approx(lost, abs=1e-4)


def test_the_pattern_goes_with_the_wing_cases():
    result = run_model(Selection(species="Globaria_maculata", without=("elytra",)))
    assert "pattern" not in {p.name for p in result.parts}
    assert "pattern" in {p.name for p in result.before}


BLACK = normalise(torch.zeros(1, 3, 1, 1))


DIRECT = {
    "gradient": ({}, lambda x, t: gradient(MODEL, x, t)),
    "Grad-CAM": ({"layer": "blocks.1"}, lambda x, t: grad_cam(MODEL, x, t, layer="blocks.1")),
    "SmoothGrad": (
        {"samples": 3, "noise": 0.3},
        lambda x, t: smooth_grad(MODEL, x, t, samples=3, noise=0.3),
    ),
    "occlusion": (
        {"window": 16, "stride": 8, "baseline": "black"},
        lambda x, t: occlusion(MODEL, x, t, window=16, stride=8, baseline=BLACK),
    ),
    "Integrated Gradients": (
        {"steps": 4, "baseline": "black"},
        lambda x, t: integrated_gradients(MODEL, x, t, steps=4, baseline=BLACK),
    ),
    "DeepLIFT": ({"baseline": "blur"}, lambda x, t: deeplift(MODEL, x, t, baseline="blur")),
    "LRP": ({"rule": "epsilon"}, lambda x, t: lrp(MODEL, x, t, rule="epsilon")),
}


@pytest.mark.parametrize("method", DIRECT)
def test_maps_parts_and_scores_equal_direct_calls(method):
    options, direct = DIRECT[method]
    result = run_all(Selection(without=("legs",), method=method, **options))
    gone = DRAWN.without("legs")
    expected = [direct(seen(scene), result.target)[0].sum(0) for scene in (DRAWN, gone)]
    torch.testing.assert_close(result.maps, torch.stack(expected), rtol=1e-4, atol=1e-5)
    sums = scores.part_relevance(expected[1][None, None], [gone])
    rows = {p.name: p.relevance for p in result.parts}
    for part in ("elytra", "head", "horn", "antennae"):
        assert rows[part] == pytest.approx(float(sums[0, PARTS.index(part)]), rel=1e-3, abs=1e-4)
    with_legs = scores.part_relevance(expected[0][None, None], [DRAWN])
    assert rows["legs"] == pytest.approx(float(with_legs[0, 5]), rel=1e-3, abs=1e-4)
    key = ground_truth.ground_truth_effects(MODEL, [gone], result.target)
    assert result.score == pytest.approx(float(scores.spearman_with_truth(sums, key)))
    edges = scores.part_relevance(null_maps.edge_map(MODEL, seen(gone)), [gone])
    assert result.null_score == pytest.approx(float(scores.spearman_with_truth(edges, key)))


def test_every_method_of_the_course_is_offered_and_runs():
    choices = {field.name for field in fields(Selection)}
    for name, method in METHODS.items():
        assert set(method.options) <= choices
        result = run_all(Selection(method=name, steps=1, samples=1, window=32, stride=32))
        assert result.maps.shape == (2, 64, 64)
        assert math.isfinite(result.score)


def test_noise_is_added_to_the_pixels_of_every_picture_that_is_compared():
    result = run_model(Selection(pixel_noise=0.2))
    clean, noisy = stack_images([DRAWN]), result.images[1:]
    grain = 0.2 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(24))
    torch.testing.assert_close(noisy, (clean + grain).clamp(0, 1))
    gone = normalise((stack_images([DRAWN.without("horn")]) + grain).clamp(0, 1))
    with torch.no_grad():
        fall = (MODEL(normalise(noisy)) - MODEL(gone))[0, result.target]
    assert {p.name: p.effect for p in result.parts}["horn"] == pytest.approx(float(fall), abs=1e-4)
    assert torch.equal(result.images[:1], clean)


def test_a_photograph_has_a_map_and_no_key():
    result = run_all(Selection(network=PHOTO_NETWORK, photograph="coffee", method="gradient"))
    net = open_network(PHOTO_NETWORK)
    image = net.transform(photographs.photograph("coffee"))[None]
    torch.testing.assert_close(net.to_input(result.images[:1]), image, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(result.logits[:1], net.model(image), rtol=1e-3, atol=1e-3)
    assert result.classes[result.target] == "espresso"
    assert result.maps.shape == (2, 224, 224)
    assert result.parts == result.before == ()
    assert math.isnan(result.score)
    assert math.isnan(result.null_score)


# ---- long methods --------------------------------------------------------------------------------


def test_progress_runs_from_0_and_what_is_known_is_not_done_again():
    choice = Selection(seed=900, without=("legs",), method="occlusion", window=8, stride=4)
    shares = []
    run_all(choice, shares.append)
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] < 1
    again = []
    run_all(choice, again.append)
    assert again == []


def test_a_long_method_can_be_given_up_and_leaves_the_network_alone():
    model = open_network("BeetleNet").model
    count = []

    def stop(_share):
        count.append(1)
        if len(count) == 3:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        run_all(Selection(seed=901, method="occlusion", window=2, stride=1), stop)
    assert len(count) == 3
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert not network_lock.locked()
