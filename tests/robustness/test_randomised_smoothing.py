"""Randomised smoothing: the votes, the radius where it is known, and what it promises."""

import math

import pytest
import torch
from scipy.stats import binomtest, norm
from torch import nn

from xai_course.robustness import ABSTAIN, certify, noisy_votes, smooth_prediction


class Half(nn.Module):
    """Class 1 where the mean of a picture is above 1/2, else class 0: a linear model."""

    def forward(self, x):
        lead = x.flatten(1).mean(1) - 0.5
        return torch.stack([-lead, lead], 1)


HALF = Half().eval()


def flat(*values):
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()


def test_votes_are_counted_and_follow_the_known_probability():
    """The mean of 16 values with noise sigma is off by sigma / 4, so the share is Φ(lead 4 / σ)."""
    images = flat(0.52, 0.40)
    votes = noisy_votes(HALF, images, sigma=0.25, samples=20_000)
    assert votes.shape == (2, 2)
    assert votes.sum(1).tolist() == [20_000, 20_000]
    for count, lead in zip(votes[:, 1], (0.02, -0.10), strict=True):
        assert count / 20_000 == pytest.approx(norm.cdf(4 * lead / 0.25), abs=0.015)


def test_the_radius_of_a_linear_model_is_nearly_its_distance_to_the_boundary():
    """Distance by length: lead · √16. The certificate comes near from below, never above."""
    images = flat(0.55, 0.60, 0.48)
    classes, radius = certify(HALF, images, sigma=0.25, samples=20_000)
    assert classes.tolist() == [1, 1, 0]
    distance = torch.tensor([0.05, 0.10, 0.02]) * 4
    assert (radius < distance).all()
    assert (radius > 0.85 * distance - 0.01).all()


def test_the_radius_is_the_papers_formula():
    images = flat(0.55)
    votes = noisy_votes(HALF, images, sigma=0.5, samples=300, seed=1)
    _, radius = certify(HALF, images, sigma=0.5, first=10, samples=300, alpha=0.01)
    low = binomtest(int(votes[0, 1]), 300).proportion_ci(0.98, method="exact").low  # one side 1 %
    assert radius.item() == pytest.approx(0.5 * norm.ppf(low), rel=1e-5)


def test_a_unanimous_vote_has_the_largest_radius():
    _, radius = certify(HALF, flat(0.9), sigma=0.1, samples=500, alpha=0.001)
    assert radius.item() == pytest.approx(0.1 * norm.ppf(0.001 ** (1 / 500)), rel=1e-5)


def test_within_the_radius_the_vote_stays():
    """Move towards the boundary by just less than the radius: the true share stays above 1/2."""
    _, radius = certify(HALF, flat(0.55), sigma=0.25, samples=2000)
    moved = flat(0.55) - radius.item() / 4 * 0.999  # all 16 pixels alike: length = radius
    share = norm.cdf(4 * (moved.mean().item() - 0.5) / 0.25)
    assert share > 0.5


def test_where_the_vote_is_close_it_abstains():
    images = flat(0.5, 0.7)
    assert smooth_prediction(HALF, images, samples=200).tolist() == [ABSTAIN, 1]
    classes, radius = certify(HALF, images, samples=200)
    assert classes.tolist() == [ABSTAIN, 1]
    assert radius[0] == 0


def test_abstention_is_the_two_sided_binomial_test():
    for lead in (0.005, 0.01, 0.02):
        votes = noisy_votes(HALF, flat(0.5 + lead), sigma=0.25, samples=100, seed=3)[0]
        p = binomtest(int(votes.max()), 100).pvalue
        for alpha in (0.9 * p, min(1.1 * p, 0.999)):
            said = smooth_prediction(
                HALF, flat(0.5 + lead), sigma=0.25, samples=100, alpha=alpha, seed=3
            )
            assert (said.item() == ABSTAIN) == (p > alpha)


def test_the_seed_decides_and_the_random_state_stays():
    images, state = flat(0.51, 0.49), torch.get_rng_state()
    first = noisy_votes(HALF, images, samples=300, seed=5)
    assert torch.equal(first, noisy_votes(HALF, images, samples=300, seed=5))
    assert not torch.equal(first, noisy_votes(HALF, images, samples=300, seed=6))
    certify(HALF, images, samples=50)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_two_votes_do_not_share_their_noise(monkeypatch):
    """If they did, the class would be chosen by the noise that then confirms it."""
    from xai_course.robustness import randomised_smoothing

    seeds = []
    real = randomised_smoothing.noisy_votes

    def spy(*arguments, **options):
        seeds.append(options["seed"])
        return real(*arguments, **options)

    monkeypatch.setattr(randomised_smoothing, "noisy_votes", spy)
    for seed in range(3):
        randomised_smoothing.certify(HALF, flat(0.6), first=5, samples=5, seed=seed)
    assert len(set(seeds)) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sigma": 0}, "sigma: got 0"),
        ({"sigma": math.inf}, "sigma: got inf"),
        ({"samples": 0}, "samples: got 0"),
        ({"alpha": 0}, "alpha: got 0"),
        ({"alpha": 1}, "alpha: got 1"),
        ({"first": 0}, "first: got 0"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        certify(HALF, flat(0.6), **options)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"call model\.eval\(\)"):
        certify(Half().train(), flat(0.6))
