"""The experiments of lesson 11, and what is computed from their tables."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_course.beetlebox import SPECIES, scenes
from xai_course.experiments import (
    CURVES,
    explain_photograph,
    photograph_methods,
    photograph_trials,
    rank_transfer,
    scaling,
    scaling_trials,
    slope_per_doubling,
    train_and_explain,
)
from xai_course.experiments.scaling import BASE
from xai_course.methods import NULL_MAPS, course_methods
from xai_course.models import BeetleNet

TINY = {"blocks": 1, "width": 8, "skips": True, "images": 20, "epochs": 1, "seed": 0}


# ---- trials --------------------------------------------------------------------------------------


@pytest.fixture
def _small_tests(monkeypatch):
    """Twenty test images in place of a thousand, one scene of three species to explain."""
    explained = list(SPECIES)[:3]

    def few_scenes(split, name, count):
        return scenes(split, name, 1) if name in explained else []

    drawn = scaling._drawn
    monkeypatch.setattr(scaling, "_drawn", lambda split, n, keep: drawn(split, min(n, 20), keep))
    monkeypatch.setattr(scaling, "scenes", few_scenes)


@pytest.mark.usefixtures("_small_tests")
def test_a_trial_repeats_and_leaves_the_random_state():
    state = torch.get_rng_state()
    first = train_and_explain(**TINY)
    assert train_and_explain(**TINY) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert train_and_explain(**{**TINY, "seed": 1}) != first
    assert first["weights"] == sum(w.numel() for w in BeetleNet(10, 1, 8).parameters())
    assert 0 <= first["accuracy"] <= 1
    assert 0.1 <= first["confidence"] <= 1
    best = max(first[name] for name in scaling.EXPLAINED_BY)
    span = 1 - first["best null"]
    assert first["skill"] == pytest.approx((best - first["best null"]) / span, abs=1e-3)


@pytest.mark.usefixtures("_small_tests")
def test_images_drawn_as_they_come_train_the_same_network(monkeypatch):
    drawn, inner = train_and_explain(**TINY), scaling._drawn
    monkeypatch.setattr(scaling, "_drawn", lambda split, n, keep: inner(split, n, True))
    assert train_and_explain(**TINY) == pytest.approx(drawn, abs=1e-4)


def test_curves_change_one_thing_and_share_networks(tmp_path, monkeypatch):
    seen = []

    def run(**settings):
        seen.append(settings)
        return {"accuracy": settings["blocks"] / 100 + settings["seed"]}

    monkeypatch.setattr(scaling, "train_and_explain", run)
    found = scaling_trials(tmp_path / "s.csv", seeds=(0, 1))
    assert list(found) == list(CURVES)
    distinct = {tuple({**BASE, **c}.items()) for curve in CURVES.values() for c in curve}
    assert len(seen) == 2 * len(distinct) < 2 * sum(map(len, CURVES.values()))
    assert [settings["seed"] for settings in seen] == sorted(s["seed"] for s in seen)
    for name, rows in found.items():
        assert [(row["accuracy"]) for row in rows] == [
            {**BASE, **change}["blocks"] / 100 + seed for seed in (0, 1) for change in CURVES[name]
        ]
    assert all(row["images"] * row["epochs"] == scaling.IMAGES_SEEN for row in found["data"])
    scaling_trials(tmp_path / "s.csv", seeds=(1,), curves=("width",))
    assert len(seen) == 2 * len(distinct)
    with pytest.raises(ValueError, match=r"^curves: got 'hue'; must be one of depth"):
        scaling_trials(curves=("hue",))


# ---- what the trials say -------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 10_000), min_size=2, max_size=8, unique=True),
    st.data(),
)
def test_the_slope_is_that_of_least_squares_on_log2(x, data):
    y = data.draw(st.lists(st.floats(-9, 9), min_size=len(x), max_size=len(x)))
    fitted = scipy.stats.linregress(np.log2(x), y).slope
    assert slope_per_doubling(x, y) == pytest.approx(fitted, rel=1e-6, abs=1e-6)


def test_a_line_gives_its_slope_per_doubling():
    assert slope_per_doubling([1, 4, 16], [5, 7, 9]) == pytest.approx(1.0)
    for x, y in (([1, 2], [1]), ([2, 2], [1, 2]), ([0, 1], [1, 2])):
        with pytest.raises(ValueError, match=r"^x: got .*; must be"):
            slope_per_doubling(x, y)


# ---- photographs ---------------------------------------------------------------------------------


@pytest.mark.end_to_end
def test_photographs_are_explained_by_the_methods_of_beetles():
    methods = photograph_methods("chelsea")
    assert list(methods) == [*course_methods(), *NULL_MAPS]
    others = methods["expected gradients"].keywords["baselines"]
    assert others.shape == (11, 3, 224, 224)
    cat = scaling._input("chelsea")
    assert all((other - cat).abs().max() > 0.1 for other in others)
    black = methods["IG, black"].keywords["baseline"]
    assert black.flatten().tolist() == pytest.approx([-127 / 128] * 3)


@pytest.mark.end_to_end
def test_one_photograph_one_null_and_the_edge_detector():
    constant, edges = (explain_photograph("chelsea", f"null: {n}") for n in ("constant", "edges"))
    assert constant["probability"] == edges["probability"] > 0.3
    assert edges["randomisation"] == edges["like edges"] == 1
    assert constant["randomisation"] == constant["like edges"] == 0  # a flat map
    assert constant["deletion, blur"] != edges["deletion, blur"]
    with pytest.raises(ValueError, match="got 'moth'"):
        explain_photograph("moth", "gradient")
    with pytest.raises(ValueError, match=r"^method: got 'tea'; must be one of gradient,"):
        explain_photograph("chelsea", "tea")


def test_every_photograph_and_method_is_a_trial(tmp_path, monkeypatch):
    def run(photo, method):
        return {"score": len(photo) + len(method)}

    monkeypatch.setattr(scaling, "explain_photograph", run)
    rows = photograph_trials(tmp_path / "p.csv", names=("moon", "coffee"))
    assert len(rows) == 2 * (len(course_methods()) + len(NULL_MAPS))
    assert {row["photo"] for row in rows} == {"moon", "coffee"}


def test_the_same_order_carries_over_and_the_reverse_does_not():
    beetles = torch.arange(6.0)
    same = beetles + 10 * torch.rand(5, 1)
    assert rank_transfer(same, beetles) == pytest.approx((1, 1, 1))
    assert rank_transfer(-same, beetles) == pytest.approx((-1, -1, -1))


@given(st.integers(0, 1000))
def test_rank_transfer_is_spearmans_and_its_interval_is_over_photographs(seed):
    generator = torch.Generator().manual_seed(seed)
    photographs, beetles = (
        torch.randn(4, 7, generator=generator),
        torch.randn(7, generator=generator),
    )
    correlation, low, high = rank_transfer(photographs, beetles, samples=200)
    expected = scipy.stats.spearmanr(photographs.mean(0), beetles).statistic
    assert correlation == pytest.approx(expected, abs=1e-6)
    assert -1 - 1e-9 <= low <= high <= 1 + 1e-9
    one = rank_transfer(photographs[:1].repeat(4, 1), beetles, samples=200)
    assert one == pytest.approx((one[0],) * 3)  # photographs that are all alike leave no doubt
    order = torch.randperm(7, generator=generator)
    turned = rank_transfer(photographs[:, order], beetles[order], samples=200)
    assert turned == pytest.approx((correlation, low, high), abs=1e-9)


def test_scores_of_other_methods_are_refused():
    with pytest.raises(ValueError, match=r"^photographs: got \(3, 4\) beside beetles \(5,\)"):
        rank_transfer(torch.zeros(3, 4), torch.zeros(5))
