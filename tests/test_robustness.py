"""The experiments of lesson 09: the shipped tables are whole, and one row of each is made again."""

import pytest
import torch

from xai_course import robustness as room
from xai_course.data import data_folder
from xai_course.defences import random_resize

EXPERIMENTS = data_folder() / "experiments"
TABLES = {
    "robustness": (room.robustness, "attacked"),
    "robust_explanations": (room.explanations, "explained"),
    "smoothing": (room.smoothing, "smoothed"),
}


@pytest.fixture(scope="module")
def tables():
    """Open the shipped tables; a trial that they do not hold may not be run."""

    def refuse(**settings):
        raise AssertionError(f"not on file: {settings}")

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, (experiment, run) in TABLES.items():
            patch.setattr(room, run, refuse)
            found[name] = experiment(EXPERIMENTS / f"{name}.csv")
    return found


def test_every_interval_holds_its_mean(tables):
    for row in tables["robustness"]:
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1, row
    for row in tables["robust_explanations"]:
        assert row["skill low"] <= row["skill"] <= row["skill high"] <= 1, row


def test_a_certified_accuracy_falls_with_the_radius(tables):
    for row in tables["smoothing"]:
        held = [row[f"{radius:g}"] for radius in room.RADII]
        assert held == sorted(held, reverse=True)
        assert held[0] <= 1 - row["abstains"] + 1e-9
        # No radius can pass that of a unanimous vote.
        most = row["sigma"] * torch.special.ndtri(torch.tensor(0.001 ** (1 / 500))).item()
        assert all(h == 0 for h, r in zip(held, room.RADII, strict=True) if r > most)


def test_accuracies_are_shares_of_200_images(tables):
    for row in tables["robustness"]:
        assert row["accuracy"] * 200 == pytest.approx(round(row["accuracy"] * 200))


def test_a_row_is_made_again(tables):
    """Without an attack there is nothing that rounding could change but an image on the edge."""
    settings = ("beetle_net", "bit depth", "nothing", 0)
    row = next(r for r in tables["robustness"] if tuple(r.values())[:4] == settings)
    assert room.attacked(*settings)["accuracy"] == pytest.approx(row["accuracy"], abs=0.006)


def test_the_same_draws_are_the_same_and_leave_the_random_state_alone():
    pixels, state = torch.rand(3, 3, 16, 16), torch.get_rng_state()
    drawn = room._same_draws(random_resize)
    first = drawn(pixels)
    assert torch.equal(first, drawn(pixels))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, random_resize(pixels))
