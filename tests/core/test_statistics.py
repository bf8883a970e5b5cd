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
    mean_interval,
    seed_interval,
    sign_test,
    skill_score,
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
