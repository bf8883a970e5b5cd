"""All readings of a map: scores, verdicts and shares, by hand and against other implementations."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xai_course.beetlebox import pearson_with_truth, spearman_with_truth, top1_agreement
from xai_course.experiments import (
    CHOICES,
    FIELD_GUIDE,
    KEYS,
    NULL_LAYERS,
    SAME_SPECIES,
    RegionSums,
    choice_shares,
    deciding_choices,
    declared_readout,
    reading_scores,
    robust_share,
    specifications,
)
from xai_course.experiments.specification import _verdict
from xai_course.methods import METHODS, course_methods

ORACLES = {
    "rank": spearman_with_truth,
    "top part": top1_agreement,
    "Pearson": pearson_with_truth,
}


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(ORACLES)), st.booleans())
def test_scores_are_those_of_the_single_scores(seed, score, ties):
    relevance, effects = drawn(seed, 3, 5, 7), drawn(seed + 1, 5, 7)
    if ties:
        relevance, effects = relevance.round(), effects.round()
    shown = torch.rand(5, 7, generator=torch.Generator().manual_seed(seed)) > 0.3
    shown[:, :2] = True
    ours = reading_scores(relevance, effects, shown, score)
    # Regions that a scene does not show must not matter.
    hidden = effects.masked_fill(~shown, -99.0 if score == "top part" else 0.0)
    for one, found in zip(relevance, ours, strict=True):
        expected = ORACLES[score](one.masked_fill(~shown, torch.nan), hidden)
        torch.testing.assert_close(found, expected.double(), atol=1e-9, rtol=0)


def test_rank_is_scipys():
    relevance, effects = drawn(0, 1, 4, 6), drawn(1, 4, 6)
    ours = reading_scores(relevance, effects, torch.ones(4, 6, dtype=torch.bool), "rank")
    for row, effect, found in zip(relevance[0], effects, ours[0], strict=True):
        assert found.item() == pytest.approx(stats.spearmanr(row, effect).statistic)


def sums(keys, entries, shown=None, name="one", family="BeetleNet"):
    """Sums of one network: `entries[variant, method]` is (N, 7), all of it positive or not."""
    keys = dict.fromkeys(KEYS, keys) if isinstance(keys, torch.Tensor) else keys
    some = next(iter(keys.values()))
    if shown is None:
        shown = torch.ones(some.shape, dtype=torch.bool)
        shown[:, -1] = False  # no clutter
    both = {}
    for entry, signed in entries.items():
        whole = torch.cat([signed, torch.full((len(signed), 1), 99.0)], 1)
        both[entry] = torch.stack([whole, whole.abs()], 2)
    return RegionSums(name, family, shown, keys, torch.ones(len(shown)), both)


def test_a_verdict_by_hand():
    """Three scenes of two parts: the leads are 2, 2 and 0, so 1.33 ± 4.303 · 1.155 / √3."""
    keys = torch.zeros(3, 7)
    keys[:, 0] = 1.0  # the wing cases matter
    right, wrong = torch.zeros(2, 3, 7)
    right[:, 0], wrong[:, 2] = 1.0, 1.0
    shown = torch.zeros(3, 7, dtype=torch.bool)
    shown[:, [0, 2]] = True
    null = torch.stack([wrong[0], wrong[1], right[2]])
    entries = {("own", "LRP"): right, ("null", "edges"): null, ("null", "noise"): wrong}
    table = specifications([sums(keys, entries, shown)])
    row = next(r for r in table if r["score"] == "rank" and r["readout"] == "signed")
    assert row["null"] == "edges"
    assert row["score of the method"] == 1
    assert row["score of the null"] == pytest.approx(-1 / 3)
    assert row["difference"] == pytest.approx(4 / 3)
    half = 4.3027 * np.std([2, 2, 0], ddof=1) / 3**0.5
    assert (row["low"], row["high"]) == pytest.approx((4 / 3 - half, 4 / 3 + half), abs=1e-4)
    assert row["verdict"] == 0
    assert row["declared"]
    assert not next(r for r in table if r["readout"] == "size")["declared"]
    entries["null", "edges"] = wrong  # now the lead is 2 in each scene
    row = specifications([sums(keys, entries, shown)])[0]
    assert (row["low"], row["high"], row["verdict"]) == (2, 2, 1)
    entries = {("own", "LRP"): wrong, ("null", "edges"): right}
    assert specifications([sums(keys, entries, shown)])[0]["verdict"] == -1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_the_key_is_above_all_nulls_in_every_reading_with_its_own_key(seed):
    """Positive keys, and wing cases alone: with the pattern the map is another one."""
    keys = {name: drawn(seed + i, 30, 7).abs() for i, name in enumerate(KEYS)}
    nulls = {("null", f"null {i}"): drawn(seed + 10 + i, 30, 7) for i in range(3)}
    methods = {("own", name): key for name, key in keys.items()}
    for name in keys:
        methods["untrained network", name] = drawn(seed + 100, 30, 7).abs()
        methods["another class", name] = drawn(seed + 7, 30, 7)
    shown = torch.ones(30, 7, dtype=torch.bool)
    found = specifications_of_any_name(sums(keys, {**methods, **nulls}, shown), KEYS)
    own = [row for row in found if row["method"] == f"{row['change']}, {row['key']}"]
    own = [row for row in own if row["wing cases"] == "alone"]
    assert len(own) == len(KEYS) * 3 * 2 * 3  # readouts, regions, scores
    for row in own:
        assert row["score of the method"] == pytest.approx(1)
        assert row["verdict"] == 1, row


def specifications_of_any_name(one, names):
    """The table for methods that the registry does not know."""
    with pytest.MonkeyPatch.context() as patch:
        registry = {**METHODS, **dict.fromkeys(names, METHODS["LRP"])}
        patch.setattr("xai_course.experiments.specification.METHODS", registry)
        return specifications([one])


def test_every_combination_is_there_once_and_what_does_not_apply_is_not():
    entries = {("own", "LRP"): drawn(0, 4, 7), ("null", "edges"): drawn(1, 4, 7).abs()}
    plain = specifications([sums(drawn(2, 4, 7), entries)])
    readings = [tuple(row[name] for name in CHOICES) for row in plain]
    assert len(set(readings)) == len(readings) == 3 * (3 + 2) * 2 * 3
    assert {row["regions"] for row in plain} == {"parts"}
    shown = torch.ones(4, 7, dtype=torch.bool)
    cluttered = specifications([sums(drawn(2, 4, 7), entries, shown)])
    assert len(cluttered) == 2 * len(plain)
    assert ("exchange", "Shapley") not in {(r["change"], r["key"]) for r in cluttered}


def test_by_size_the_size_of_the_effects_counts():
    keys = torch.tensor([[-3.0, 2.0, 1.0, 0.5, 0.1, 0.2, 0.0]] * 2)
    entries = {("own", "LRP"): keys, ("null", "edges"): torch.ones(2, 7)}
    table = specifications([sums(keys, entries)])
    alone = [r for r in table if r["wing cases"] == "alone" and r["readout"] != "positive"]
    assert {round(row["score of the method"], 9) for row in alone} == {1.0}


def test_wing_cases_with_their_pattern():
    keys = torch.tensor([[3.0, 2.5, 1.0, 0.0, 0.0, 0.0, 0.0]] * 2)
    map_ = torch.tensor([[1.0, 2.0, 0.5, 0.0, 0.0, 0.0, 0.0]] * 2)
    table = specifications([sums(keys, {("own", "LRP"): map_, ("null", "edges"): -map_})])
    top = {r["wing cases"]: r["score of the method"] for r in table if r["score"] == "top part"}
    assert top == {"alone": 0, "with pattern": 1}


def test_layers_say_what_must_be_beaten():
    keys = drawn(0, 5, 7)
    entries = {
        ("own", "LRP"): drawn(1, 5, 7),
        ("null", "edges"): -keys,
        ("untrained network", "LRP"): keys,
        ("another class", "LRP"): -keys,
    }
    one = sums(keys, entries)
    for layers, null in (
        (("no network",), "edges"),
        (("no network", "untrained network"), "untrained network"),
        (("another class",), "another class"),
    ):
        row = specifications([one], layers=layers)[0]
        assert row["null"] == null
    with pytest.raises(ValueError, match=r"^layers: got 'luck'; must be"):
        specifications([one], layers=["luck"])
    with pytest.raises(ValueError, match=r"^methods: got 'SHAP'; must be"):
        specifications([one], methods=["SHAP"])


def test_one_more_null_makes_no_method_better():
    """The null with the best mean may be easier to beat than one that goes up and down with it."""
    keys = drawn(0, 40, 7)
    entries = {("own", "LRP"): keys + drawn(1, 40, 7), ("null", "edges"): drawn(2, 40, 7)}
    fewer = specifications([sums(keys, entries)])
    entries["another class", "LRP"] = entries["own", "LRP"] + 0.3 * drawn(3, 40, 7)
    more = specifications([sums(keys, entries)])
    assert {row["verdict"] for row in fewer} >= {0, 1}
    for before, after in zip(fewer, more, strict=True):
        assert after["low"] <= before["low"]
        assert after["verdict"] <= before["verdict"]


def test_cam_counts_once_where_it_is_grad_cam():
    map_ = drawn(1, 5, 7)
    entries = {("own", "CAM"): map_, ("own", "Grad-CAM"): map_ + 1e-4, ("null", "edges"): -map_}
    assert {r["method"] for r in specifications([sums(drawn(0, 5, 7), entries)])} == {"Grad-CAM"}
    entries["own", "Grad-CAM"] = drawn(2, 5, 7)
    assert len({r["method"] for r in specifications([sums(drawn(0, 5, 7), entries)])}) == 2


def reading(method, verdict, **choices):
    first = {name: values[0] for name, values in CHOICES.items()}
    names = {"network": "one", "family": "BeetleNet", "method": method, "declared": True}
    return {**names, **first, "verdict": verdict, **choices}


def test_shares_by_hand():
    table = [
        reading("a", 1),
        reading("a", 1, readout="size", declared=False),
        reading("a", 0, score="Pearson"),
        reading("a", -1, network="two", family="SmallVGG"),
        reading("b", 0),
    ]
    first, second = robust_share(table)
    assert (first["method"], first["readings"]) == ("a", 4)
    assert first["above"] == pytest.approx(1 / 3)  # 2 of 3 in one family, none in the other
    assert first["open"] == pytest.approx(1 / 6)
    assert first["below"] == pytest.approx(1 / 2)
    assert first["declared above"] == pytest.approx(1 / 4)
    assert (first["lowest"], first["highest"]) == (0, pytest.approx(2 / 3))
    assert (second["method"], second["open"]) == ("b", 1)
    with pytest.raises(ValueError, match=r"^table: got none; must be"):
        robust_share([])


def test_choices_are_compared_on_readings_that_differ_in_them_alone():
    table = [
        reading("a", int(readout == "size"), readout=readout, score=score)
        for readout, score in product(CHOICES["readout"], CHOICES["score"])
    ]
    table.append(reading("a", 1, key="Shapley"))  # its counterpart, the logit, has 0
    shares = choice_shares(table)["a"]
    assert shares["readout", "size"] == 1
    assert shares["readout", "signed"] == shares["readout", "positive"] == 0
    assert shares["score", "rank"] == pytest.approx(1 / 3)
    assert shares["key", "Shapley"] == 1
    assert shares["key", "logit"] == 0
    assert not any(choice in ("change", "family") for choice, _ in shares)  # of one value
    rows = deciding_choices(table)
    assert {row["choice"] for row in rows[:2]} == {"readout", "key"}
    assert rows[0]["spread"] == 1
    assert rows[0]["best share"] - rows[0]["worst share"] == rows[0]["spread"]
    with pytest.raises(ValueError, match=r"^verdict: got 2; must be"):
        choice_shares(table, verdict=2)


def test_every_graded_method_has_a_declared_readout():
    assert {declared_readout(name) for name in course_methods()} == {"signed", "size"}
    assert declared_readout("guided backpropagation") == "size"


def test_a_map_that_is_the_same_for_a_whole_species_is_level_with_its_own_neighbours():
    keys = drawn(0, 20, 7)
    of_species = drawn(1, 10, 7).repeat_interleave(2, 0)
    entries = {("own", "LRP"): of_species, ("null", "edges"): drawn(2, 20, 7)}
    rows = specifications([sums(keys, entries)], layers=(*NULL_LAYERS, SAME_SPECIES))
    assert {row["verdict"] for row in rows} <= {0, -1}
    assert all(row["low"] <= 0 for row in rows)
    mirrored = {**entries, ("own", "LRP"): keys, ("null", "edges"): -keys}
    (row, *_) = specifications([sums(keys, mirrored)], layers=(*NULL_LAYERS, SAME_SPECIES))
    assert row["null"] == SAME_SPECIES
    with pytest.raises(ValueError, match=r"^sums: got 5 scenes"):
        specifications(
            [sums(keys[:5], {key: value[:5] for key, value in entries.items()})],
            layers=(SAME_SPECIES,),
        )


def test_by_species_the_interval_is_over_the_means_of_the_species():
    keys, own, null = drawn(0, 20, 7), drawn(1, 20, 7), drawn(2, 20, 7)
    entries = {("own", "LRP"): own, ("null", "edges"): null}
    one = sums(keys, entries)
    (row, *_) = specifications([one], by_species=True)
    assert (row["readout"], row["key"], row["score"]) == ("signed", "logit", "rank")
    read = reading_scores(torch.stack([own, null]), keys, one.shown, "rank")
    leads = (read[0] - read[1]).view(10, 2).mean(1)
    low = leads.mean() - 2.262 * leads.std() / 10**0.5  # Student's t, nine degrees of freedom
    assert row["low"] == pytest.approx(low.item(), abs=1e-3)
    assert row["difference"] == pytest.approx(leads.mean().item(), abs=1e-6)
    five = sums(keys[:5], {key: value[:5] for key, value in entries.items()})
    with pytest.raises(ValueError, match=r"^sums: got 5 scenes"):
        specifications([five], by_species=True)


def test_the_field_guide_counts_only_where_it_is_asked_for():
    keys = drawn(0, 20, 7)
    entries = {("own", "LRP"): keys, ("null", "edges"): -keys, ("null", FIELD_GUIDE): keys}
    usual = specifications([sums(keys, entries)])
    assert {row["null"] for row in usual} == {"edges"}
    asked = specifications([sums(keys, entries)], layers=(*NULL_LAYERS, FIELD_GUIDE))
    assert {row["null"] for row in asked if row["readout"] == "signed"} == {FIELD_GUIDE}
    assert {row["verdict"] for row in asked} == {0}  # level with it


def test_below_one_null_is_below_though_another_null_reaches_lower():
    """The noisy null has the lowest lower end, and holds 0; the other is clearly ahead."""
    leads = torch.tensor([-0.2, -0.2, -0.2, -0.2])
    noisy = torch.tensor([3.0, -3.0, 3.0, -3.0])
    found = _verdict(leads, {("null", "good"): torch.zeros(4), ("null", "noisy"): noisy})
    assert (found["null"], found["verdict"]) == ("noisy", -1)
