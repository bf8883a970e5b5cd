"""Scenes drawn on the fly, the experiments of lesson 08, and what is computed from their tables."""

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_course.beetlebox import SPECIES, DrawnScenes, scenes, write_beetlebox
from xai_course.beetlebox import scene as scene_module
from xai_course.data import load_folders, loader, modern_transform
from xai_course.experiments import (
    CURVES,
    explain_photograph,
    explain_photographs,
    photograph_methods,
    rank_transfer,
    scale,
    scaling,
    slope_per_doubling,
    train_and_explain,
)
from xai_course.experiments.scaling import BASE
from xai_course.methods import NULLS, course_methods
from xai_course.models import BeetleNet

TINY = {"blocks": 1, "width": 8, "skips": True, "images": 20, "epochs": 1, "seed": 0}


# ---- scenes drawn on the fly ---------------------------------------------------------------------


def test_the_images_are_those_on_disk(tmp_path):
    root = write_beetlebox(tmp_path / "world", train=2, test=1, progress=False)
    for folder, split, count in zip(
        load_folders(root, modern_transform()), ("train", "test"), (2, 1), strict=True
    ):
        drawn = DrawnScenes(split, count)
        assert len(drawn) == len(folder) == 10 * count
        for (ours, label), (theirs, wanted) in zip(drawn, folder, strict=True):
            assert label == wanted
            assert torch.equal(ours, theirs)


def test_the_scenes_are_those_of_the_list():
    drawn = DrawnScenes("extra", 3)
    listed = [scene for name in SPECIES for scene in scenes("extra", name, 3)]
    assert [drawn.scene(index) for index in range(30)] == listed
    assert (
        DrawnScenes("train", 1_000_000).scene(9_999_999)
        == scenes("train", list(SPECIES)[9], 1_000_000).pop()
    )


def test_worker_processes_change_nothing():
    drawn = DrawnScenes("train", 2)
    passes = [
        [batch for _ in range(2) for batch in loader(drawn, 8, True, 3, workers)]
        for workers in (0, 2)
    ]
    for (alone, labels), (shared, others) in zip(*passes, strict=True):
        assert torch.equal(alone, shared)
        assert torch.equal(labels, others)


def test_memory_does_not_grow_with_the_number_of_scenes():
    large = DrawnScenes("train", 1_000_000)
    before = len(pickle.dumps(large))
    assert before < len(pickle.dumps(DrawnScenes("train", 1))) + 100
    tracemalloc.start()
    held = []
    for count in (5, 60):  # all that is drawn is forgotten, however many there were
        for index in np.random.default_rng(0).integers(len(large), size=count):
            large[int(index)]
        held.append(tracemalloc.get_traced_memory()[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held[1] - held[0] < 100_000  # an image has 49,152 bytes
    assert peak < 5_000_000
    assert len(pickle.dumps(large)) == before


@pytest.mark.parametrize("index", [-1, 10])
def test_no_such_item(index):
    with pytest.raises(IndexError, match=r"^index: got .*; allowed"):
        DrawnScenes("train", 1)[index]


@pytest.mark.parametrize("count", [0, 1_000_001, 1.5, "many"])
def test_wrong_numbers_and_splits_are_refused(count):
    with pytest.raises(ValueError, match=r"^per_species: got .*; allowed"):
        DrawnScenes("train", count)
    with pytest.raises(ValueError, match="split is 'valid'"):
        DrawnScenes("valid")
    with pytest.raises(ValueError, match="size is 8"):
        DrawnScenes("train", 1, size=8)


# ---- trials --------------------------------------------------------------------------------------


@pytest.fixture
def _small_tests(monkeypatch):
    """Twenty test images in place of a thousand, one scene a species to explain."""
    drawn = scaling._drawn
    monkeypatch.setattr(scaling, "_drawn", lambda split, n, keep: drawn(split, min(n, 20), keep))
    monkeypatch.setattr(scene_module, "scenes", lambda split, name, count: scenes(split, name, 1))


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
    found = scale(tmp_path / "s.csv", seeds=(0, 1))
    assert list(found) == list(CURVES)
    distinct = {tuple({**BASE, **c}.items()) for curve in CURVES.values() for c in curve}
    assert len(seen) == 2 * len(distinct) < 2 * sum(map(len, CURVES.values()))
    assert [settings["seed"] for settings in seen] == sorted(s["seed"] for s in seen)
    for name, rows in found.items():
        assert [(row["accuracy"]) for row in rows] == [
            {**BASE, **change}["blocks"] / 100 + seed for seed in (0, 1) for change in CURVES[name]
        ]
    assert all(row["images"] * row["epochs"] == scaling.SHOWN for row in found["data"])
    scale(tmp_path / "s.csv", seeds=(1,), curves=("width",))
    assert len(seen) == 2 * len(distinct)
    with pytest.raises(ValueError, match=r"^curves: got \['hue'\]; allowed are depth"):
        scale(curves=("hue",))


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
        with pytest.raises(ValueError, match=r"^x: got .*; allowed"):
            slope_per_doubling(x, y)


# ---- photographs ---------------------------------------------------------------------------------


def test_photographs_are_explained_by_the_methods_of_beetles():
    methods = photograph_methods("chelsea")
    assert list(methods) == [*course_methods(), *NULLS]
    others = methods["expected gradients"].keywords["baselines"]
    assert others.shape == (11, 3, 224, 224)
    cat = scaling._input("chelsea")
    assert all((other - cat).abs().max() > 0.1 for other in others)
    black = methods["IG, black"].keywords["baseline"]
    assert black.flatten().tolist() == pytest.approx([-127 / 128] * 3)


def test_one_photograph_one_null_and_the_edge_detector():
    constant, edges = (explain_photograph("chelsea", f"null: {n}") for n in ("constant", "edges"))
    assert constant["probability"] == edges["probability"] > 0.3
    assert edges["randomisation"] == edges["like edges"] == 1
    assert constant["randomisation"] == constant["like edges"] == 0  # a flat map
    assert constant["deletion, blur"] != edges["deletion, blur"]
    with pytest.raises(ValueError, match="got 'moth'"):
        explain_photograph("moth", "gradient")
    with pytest.raises(ValueError, match=r"^method: got 'tea'; allowed are gradient,"):
        explain_photograph("chelsea", "tea")


def test_every_photograph_and_method_is_a_trial(tmp_path, monkeypatch):
    def run(photo, method):
        return {"score": len(photo) + len(method)}

    monkeypatch.setattr(scaling, "explain_photograph", run)
    rows = explain_photographs(tmp_path / "p.csv", names=("moon", "coffee"))
    assert len(rows) == 2 * (len(course_methods()) + len(NULLS))
    assert {row["photo"] for row in rows} == {"moon", "coffee"}


def test_the_same_order_carries_over_and_the_reverse_does_not():
    beetles = torch.arange(6.0)
    same = beetles + 10 * torch.rand(5, 1)
    assert rank_transfer(same, beetles) == pytest.approx((1, 1, 1))
    assert rank_transfer(-same, beetles) == pytest.approx((-1, -1, -1))


@given(st.integers(0, 1000))
def test_carry_over_is_spearmans_and_its_interval_is_over_photographs(seed):
    chance = torch.Generator().manual_seed(seed)
    photographs, beetles = torch.randn(4, 7, generator=chance), torch.randn(7, generator=chance)
    found, low, high = rank_transfer(photographs, beetles, samples=200)
    expected = scipy.stats.spearmanr(photographs.mean(0), beetles).statistic
    assert found == pytest.approx(expected, abs=1e-6)
    assert -1 <= low <= high <= 1
    one = rank_transfer(photographs[:1].repeat(4, 1), beetles, samples=200)
    assert one == pytest.approx((one[0],) * 3)  # photographs that are all alike leave no doubt
    order = torch.randperm(7, generator=chance)
    turned = rank_transfer(photographs[:, order], beetles[order], samples=200)
    assert turned == pytest.approx((found, low, high), abs=1e-9)


def test_scores_of_other_methods_are_refused():
    with pytest.raises(ValueError, match=r"^photographs: got \(3, 4\) beside beetles \(5,\)"):
        rank_transfer(torch.zeros(3, 4), torch.zeros(5))
