"""Intervals, tests and scores: by hand, and against SciPy and scikit-learn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from xai_course.core import (
    auroc_placements,
    clopper_pearson_lower,
    detected_at_fpr,
    interval_text,
    mean_interval,
    seed_interval,
    sign_test,
    skill_score,
    strongest_null,
    wilson_interval,
)

# ------------------------------------------------------------------ scores of methods


def test_skill_is_0_for_the_best_null_and_1_for_the_ground_truth():
    nulls = {"poor": torch.tensor([0.0, 0.2]), "good": torch.tensor([0.2, 0.6])}
    assert skill_score(nulls["good"], nulls).tolist() == [0, 0]
    assert skill_score(torch.ones(2), nulls).mean() == pytest.approx(1)
    assert skill_score(torch.tensor([0.5, 0.5]), nulls).tolist() == pytest.approx([0.5, -1 / 6])
    assert skill_score(torch.tensor([0.8, 0.8]), nulls, torch.tensor([0.7, 0.9])).mean() == (
        pytest.approx(1)
    )
    assert skill_score(nulls["poor"], nulls).mean() < 0
    with pytest.raises(ValueError, match=r"^best: got a mean no better than that of good"):
        skill_score(torch.ones(2), nulls, 0.3)
    with pytest.raises(ValueError, match=r"^nulls: got none"):
        skill_score(torch.ones(2), {})
    with pytest.raises(ValueError, match=r"^nulls: got shape \(2,\) of poor"):
        skill_score(torch.ones(3), nulls)
    with pytest.raises(ValueError, match=r"^nulls: got shape \(1, 2\) of row"):
        skill_score(torch.ones(1, 2), {"row": torch.zeros(1, 2)})


def test_the_strongest_null_has_the_highest_mean():
    scores = {"noise": torch.tensor([0.9, 0.0]), "edges": torch.tensor([0.4, 0.6])}
    name, null = strongest_null(scores)
    assert name == "edges"
    assert null is scores["edges"]
    assert strongest_null({"a": torch.zeros(1), "b": torch.zeros(1)})[0] == "a"
    for wrong, words in (
        ({}, "none"),
        ({"a": torch.zeros(2), "b": torch.zeros(3)}, r"shape \(3,\) of b"),
        ({"a": torch.zeros(0)}, r"shape \(0,\) of a"),
        ({"a": torch.tensor([0, torch.nan])}, "scores of a that are not finite"),
    ):
        with pytest.raises(ValueError, match=rf"^nulls: got {words}; must be"):
            strongest_null(wrong)


def test_detection_keeps_its_false_alarms():
    clean = torch.arange(100) / 100
    assert detected_at_fpr(clean, clean).mean() == pytest.approx(0.05)
    assert detected_at_fpr(torch.tensor([0.94, 0.95, 2.0]), clean).tolist() == [0, 1, 1]
    assert detected_at_fpr(clean, clean, false_alarms=0).sum() == 0
    assert detected_at_fpr(torch.zeros(3), torch.zeros(9)).sum() == 0  # a tie is no alarm
    for wrong in ({"scores": torch.tensor([0, torch.nan])}, {"clean": torch.zeros(0)}):
        with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}: got"):
            detected_at_fpr(**{"scores": clean, "clean": clean, **wrong})
    for share in (1, -0.1):
        with pytest.raises(ValueError, match=rf"^false_alarms: got {share}; must be"):
            detected_at_fpr(clean, clean, false_alarms=share)


@given(seed=st.integers(0, 10**6), rate=st.floats(0, 0.99), many=st.integers(1, 60))
def test_clean_scores_never_alarm_more_often_than_allowed(seed, rate, many):
    clean = torch.rand(many, generator=torch.Generator().manual_seed(seed))
    assert detected_at_fpr(clean, clean, false_alarms=rate).mean() <= rate


def test_auroc_by_hand():
    known = torch.tensor([1.0, 2.0, 2.0, 4.0])
    assert auroc_placements(torch.tensor([0.0, 2.0, 3.0, 9.0]), known).tolist() == [0, 0.5, 0.75, 1]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1)
)
def test_auroc_is_scikit_learn_s_and_turns_round(strange, known):
    truth = [1] * len(strange) + [0] * len(known)
    area = auroc_placements(torch.tensor(strange), torch.tensor(known)).mean().item()
    assert area == pytest.approx(roc_auc_score(truth, strange + known))
    assert area == pytest.approx(
        1 - auroc_placements(torch.tensor(known), torch.tensor(strange)).mean().item()
    )


def test_auroc_refuses():
    for strange, known in (([], [1.0]), ([1.0], []), ([float("nan"), 1], [1.0]), ([[1.0]], [1.0])):
        with pytest.raises(ValueError, match=r"^(strange|known): got .*; must be finite numbers"):
            auroc_placements(torch.tensor(strange), torch.tensor(known))


# ------------------------------------------------------------------ intervals


def test_the_interval_of_a_mean_is_about_as_wide_as_theory_says():
    values = torch.randn(400, generator=torch.Generator().manual_seed(1))
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(values.mean().item())
    assert (high - low) / 2 == pytest.approx(1.96 * values.std().item() / 20, rel=0.1)
    assert mean_interval([3.0]) == (3, 3, 3)
    assert mean_interval(values) == (mean, low, high) == mean_interval(values, seed=0)
    assert mean_interval(values, seed=1)[1:] != (low, high)
    narrow = mean_interval(values, level=0.5)
    assert (narrow[2] - narrow[1]) / (high - low) == pytest.approx(0.674 / 1.96, rel=0.15)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        ([], {}, "values: got"),
        ([float("nan")], {}, "values: got"),
        ([1.0, float("inf")], {}, "values: got"),
        ([1.0], {"level": 1}, "level: got 1"),
        ([1.0], {"level": 0}, "level: got 0"),
        ([1.0], {"samples": 0}, "samples: got 0"),
    ],
)
def test_means_without_an_interval_are_refused(values, options, words):
    with pytest.raises(ValueError, match=f"^{words}.*must be"):
        mean_interval(values, **options)


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (1, 20), (13, 20), (20, 20), (50, 50)])
def test_bounded_hits_have_the_interval_of_clopper_and_pearson(hits, trials):
    values = [1.0] * hits + [0.0] * (trials - hits)
    exact = stats.binomtest(hits, trials).proportion_ci(method="exact")
    found = mean_interval(values, bounds=(0, 1), samples=40_000)
    assert found == pytest.approx((hits / trials, exact.low, exact.high), abs=0.01)
    # Other bounds move and stretch all of it.
    stretched = mean_interval([4 * v - 2 for v in values], bounds=(-2, 2), samples=40_000)
    assert stretched == pytest.approx([4 * end - 2 for end in found], abs=1e-9)


def test_equal_values_within_bounds_are_not_known_to_the_last_digit():
    assert mean_interval([1.0] * 100, bounds=(0, 1))[1] == pytest.approx(0.025**0.01, abs=2e-3)
    mean, low, high = mean_interval([0.5] * 100, bounds=(0, 1))
    assert mean == 0.5
    assert 0.5 - low == pytest.approx(high - 0.5, rel=0.1)
    assert low == pytest.approx(0.5 * 0.025**0.01, abs=2e-3)


def test_within_wide_bounds_ordinary_values_have_about_the_bootstrap_interval():
    values = torch.rand(400, generator=torch.Generator().manual_seed(1))
    assert mean_interval(values, bounds=(0, 1)) == pytest.approx(mean_interval(values), abs=5e-3)


def test_the_bounded_interval_holds_the_mean_as_often_as_it_says():
    """Scores that are nearly always 1: the bootstrap of 20 of them is too narrow."""
    generator = torch.Generator().manual_seed(0)
    true, trials, hits = 0.9, 200, {"bounded": 0, "bootstrap": 0}
    for _ in range(trials):
        values = torch.where(torch.rand(20, generator=generator) < 0.1, 0.0, 1.0)
        for name, bounds in (("bounded", (0, 1)), ("bootstrap", None)):
            _, low, high = mean_interval(values, bounds=bounds, samples=500)
            hits[name] += low <= true <= high
    assert hits["bounded"] / trials >= 0.95
    assert hits["bootstrap"] / trials < 0.95


@pytest.mark.parametrize(
    ("values", "bounds", "words"),
    [
        ([0.5, 1.1], (0, 1), "values: got 1.1"),
        ([-0.2], (0, 1), "values: got -0.2"),
        ([0.5], (1, 0), r"bounds: got \(1, 0\)"),
        ([0.5], (0, float("inf")), "bounds: got"),
        ([0.5], (0,), "bounds: got"),
        ([0.5], 1, "bounds: got 1"),
    ],
)
def test_bounds_that_are_none_are_refused(values, bounds, words):
    with pytest.raises(ValueError, match=f"^{words}.*must be"):
        mean_interval(values, bounds=bounds)
    with pytest.raises(ValueError, match=f"^{words}.*must be"):
        seed_interval(values * 2, bounds=bounds)
    # A correlation may be beyond 1 by a rounding error.
    assert mean_interval([1 + 1e-9, 1.0], bounds=(-1, 1))[0] == 1


@given(st.integers(1, 400), st.data(), st.sampled_from([0.5, 0.95, 0.99]))
def test_wilsons_interval_solves_its_equation(trials, data, level):
    hits = data.draw(st.integers(0, trials))
    share, low, high = wilson_interval(hits, trials, level=level)
    z = stats.norm.ppf((1 + level) / 2)
    assert share == hits / trials
    for end in (low, high):  # the share lies z standard errors from each end
        assert (share - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / trials, abs=1e-9)
    assert 0 <= low < high <= 1


def test_wilsons_interval_by_hand():
    # z² / (n + z²) for no hits, with z = 1.96 and n = 10: 3.8415 / 13.8415
    assert wilson_interval(0, 10) == pytest.approx((0, 0, 0.27753), abs=1e-5)
    for hits, trials, name in ((-1, 5, "hits"), (6, 5, "hits"), (0, 0, "trials")):
        with pytest.raises(ValueError, match=f"^{name}: got .*; must be"):
            wilson_interval(hits, trials)
    with pytest.raises(ValueError, match=r"^level: got 1"):
        wilson_interval(1, 2, level=1)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_seed_interval_is_scipys(values):
    mean, low, high = seed_interval(values)
    spread = stats.sem(values)
    half = stats.t.ppf(0.975, len(values) - 1) * spread
    assert (mean, low, high) == pytest.approx(
        (sum(values) / len(values), mean - half, mean + half), abs=6e-4 * spread + 1e-12
    )


def test_the_seed_interval_by_hand():
    # The tables of Student's t: 12.706 for two values, 2.776 for five.
    assert seed_interval([1, 3]) == pytest.approx((2, 2 - 12.706, 2 + 12.706), abs=1e-9)
    half = 2.776 * 2.5**0.5 / 5**0.5
    assert seed_interval(range(5)) == pytest.approx((2, 2 - half, 2 + half), abs=1e-9)


def test_the_seed_interval_stays_within_what_is_possible():
    shares = [0.0, 0.3, 0.99]
    _, low, high = seed_interval(shares)
    assert low < 0
    assert high > 1
    mean = sum(shares) / 3
    assert seed_interval(shares, bounds=(0, 1)) == pytest.approx((mean, 0, 1))
    inside = [0.5, 0.52, 0.54]
    assert seed_interval(inside, bounds=(0, 1)) == seed_interval(inside)


def test_equal_shares_are_known_no_better_than_their_images_allow():
    assert seed_interval([0.996] * 3)[1:] == pytest.approx((0.996, 0.996))
    assert seed_interval([0.996] * 3, images=500) == pytest.approx(wilson_interval(498, 500))
    assert seed_interval([1.0] * 3, images=100)[1:] == pytest.approx((0.963, 1), abs=1e-4)
    spread = [0.5, 0.7, 0.9]  # wider than Wilson's
    assert seed_interval(spread, images=10_000) == seed_interval(spread, bounds=(0, 1))
    with pytest.raises(ValueError, match=r"^values: got 99.6; must be within the bounds 0 and 1"):
        seed_interval([99.6, 99.6], images=500)
    with pytest.raises(ValueError, match=r"^images: got 0"):
        seed_interval([1, 1], images=0)


@pytest.mark.parametrize(
    ("interval", "options", "text"),
    [
        ((0.75, 0.5, 1.0), {}, "0.75 (0.50 to 1.00)"),
        ((0.5, -0.004, 0.9), {}, "0.50 (0.00 to 0.90)"),
        ((0.5, -0.004, 0.9), {"signed": True}, "+0.50 (0.00 to +0.90)"),
        ((0.754, 0.5, 1.0), {"digits": 0, "percent": True}, "75% (50% to 100%)"),
        ((0.996, 0.99598, 0.99602), {"digits": 3}, "0.99600 (0.99598 to 0.99602)"),
        ((0.996, 0.996, 0.996), {"digits": 3}, "0.996 (all values equal)"),
        ((0.0, 0.0, 0.0), {}, "0.00 (all values equal)"),
        ((0.48, 0.44, 0.52), {"plus_minus": True}, "0.48 ± 0.04"),
        ((0.48, 0.478, 0.482), {"plus_minus": True}, "0.48 ± 0.002"),
        ((0.48, 0.478, 0.482), {"plus_minus": True, "percent": True, "digits": 0}, "48% ± 0.2%"),
        ((0.15, 0.1, 0.2), {"plus_minus": True, "signed": True}, "+0.15 ± 0.05"),
        ((1.0, 1.0, 1.0), {"plus_minus": True}, "1.00 (all values equal)"),
    ],
)
def test_an_interval_is_never_written_as_a_single_number(interval, options, text):
    assert interval_text(interval, **options) == text


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=3), st.integers(0, 3), st.booleans())
def test_the_ends_of_a_written_interval_differ(ends, digits, percent):
    low, mean, high = sorted(ends)
    text = interval_text((mean, low, high), digits, percent=percent)
    if high - low > 1e-9:
        first, last = text.split(" (")[1].rstrip(")").split(" to ")
        assert first != last
        scale = 100 if percent else 1
        written = [float(end.rstrip("%")) / scale for end in (text.split(" (")[0], first, last)]
        assert written == pytest.approx([mean, low, high], abs=0.51 * 10**-digits)


@pytest.mark.parametrize("wrong", [(0.5, 0.4), (0.5, 0.4, float("nan"))])
def test_what_is_no_interval_is_not_written(wrong):
    with pytest.raises(ValueError, match=r"^interval: got .*; must be a mean and two ends"):
        interval_text(wrong)
    with pytest.raises(ValueError, match=r"^digits: got -1"):
        interval_text((0.5, 0.4, 0.6), -1)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_an_interval_needs_two_seeds(values):
    with pytest.raises(ValueError, match=f"^values: got {len(values)}; must be at least two"):
        seed_interval(values)


# ------------------------------------------------------------------ tests of counts


def test_the_sign_test_by_hand():
    assert sign_test(0, 5) == 1
    assert sign_test(0, 0) == 1
    assert sign_test(5, 5) == pytest.approx(1 / 32, rel=1e-12)
    assert sign_test(4, 5) == pytest.approx(6 / 32, rel=1e-12)
    assert sign_test(11, 12) == pytest.approx(13 / 4096, rel=1e-12)
    for hits in (6, -1):
        with pytest.raises(ValueError, match=rf"^hits: got {hits}; must be .*from 0 to 5"):
            sign_test(hits, 5)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.001, 0.05, 0.5]))
def test_the_lower_bound_solves_the_equation_of_clopper_and_pearson(trials, data, alpha):
    hits = data.draw(st.integers(1, trials))
    bound = clopper_pearson_lower(hits, trials, alpha)
    # The probability of so many hits, or more, is alpha.
    assert stats.binom.sf(hits - 1, trials, bound) == pytest.approx(alpha, rel=1e-6)
    exact = stats.binomtest(hits, trials, alternative="greater")
    assert bound == pytest.approx(exact.proportion_ci(1 - alpha, "exact").low, abs=1e-9)


def test_the_lower_bound_by_hand():
    assert clopper_pearson_lower(1000, 1000, 0.001) == pytest.approx(0.001 ** (1 / 1000))
    assert clopper_pearson_lower(1000, 1000) == clopper_pearson_lower(1000, 1000, 0.001)
    assert clopper_pearson_lower(0, 10) == 0


@pytest.mark.parametrize(
    ("hits", "trials", "alpha", "name"),
    [(-1, 5, 0.1, "hits"), (6, 5, 0.1, "hits"), (0, 0, 0.1, "trials"), (1, 2, 0, "alpha"),
     (1, 2, 1, "alpha")],
)  # fmt: skip
def test_impossible_counts_are_refused(hits, trials, alpha, name):
    with pytest.raises(ValueError, match=f"^{name}: got .*; must be"):
        clopper_pearson_lower(hits, trials, alpha)
