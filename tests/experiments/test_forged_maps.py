"""Forged pictures for every method: the key beside them, what is kept, and the shipped tables."""

import pytest
import torch
from torch import nn

from tools.lessons.outputs import ROOT
from xai_course.beetlebox import (
    PARTS,
    SPECIES,
    ground_truth_effects,
    scenes,
    stack_images,
    stack_masks,
)
from xai_course.data import normalise
from xai_course.experiments import (
    EPSILON,
    TARGET_METHODS,
    corner_disc,
    effects_on,
    forge,
    hide_shortcut_trials,
    misdirect_trials,
)
from xai_course.methods import course_methods
from xai_course.metrics import relevance_mass
from xai_course.relu import gradient
from xai_course.robustness import softplus_relus
from xai_course.storage import load_checkpoint

EXPERIMENTS = ROOT / "data" / "experiments"
NETWORK, _ = load_checkpoint(ROOT / "data" / "checkpoints" / "beetle_net")
BOTH = [scene for name in list(SPECIES)[5:7] for scene in scenes("test", name, 1)]


def test_without_a_change_the_key_is_that_of_part_effects():
    some = [scene.with_label() for scene in scenes("test", "Globaria_maculata", 2)]
    some += scenes("test", "Ellipsa_polita", 2)
    images = normalise(stack_images(some))
    with torch.no_grad():
        classes = NETWORK(images).argmax(1)
    found = effects_on(NETWORK, some, classes, torch.zeros_like(images))
    assert torch.allclose(found, ground_truth_effects(NETWORK, some), atol=1e-4)
    assert found.shape == (4, len(PARTS))


def test_a_change_stays_while_a_part_goes():
    """A linear network: what is added to every picture cancels out of every difference."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)).double().eval()

    class Widened(nn.Module):
        def forward(self, x):
            return model(x.double())

    some, classes = scenes("test", "Tenuella_guttata", 3), torch.tensor([0, 1, 3])
    zero = torch.zeros(3, 3, 64, 64)
    plain = effects_on(Widened().eval(), some, classes, zero)
    moved = effects_on(Widened().eval(), some, classes, zero + 1e-4)
    assert (moved - plain).abs().max() < 0.02 * plain.abs().max()


@pytest.mark.parametrize("aim", ["noise", "gradient", "β = 1"])
def test_forged_pictures_stay_near_and_keep_the_answer(aim):
    pixels = stack_images(BOTH)
    with torch.no_grad():
        classes = NETWORK(normalise(pixels)).argmax(1)
    changed = forge(NETWORK, pixels, corner_disc(), classes, aim, steps=10)
    assert 0 < (changed - pixels).abs().max() <= EPSILON + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(changed, forge(NETWORK, pixels, corner_disc(), classes, aim, steps=10))
    if aim == "noise":
        return
    assert torch.equal(NETWORK(normalise(changed)).argmax(1), classes)

    def on_disc(x):
        with softplus_relus(1.0 if aim == "β = 1" else 1e6):
            relevance = gradient(NETWORK, normalise(x), classes)
        return relevance_mass(NETWORK, relevance, x, corner_disc().expand(2, -1, -1, -1)).mean()

    assert on_disc(changed) > on_disc(pixels)


def test_no_beetle_lies_in_the_corner():
    every = [scene for name in SPECIES for scene in scenes("test", name, 2)]
    disc = corner_disc()
    covered = (stack_masks(every) * disc).sum((1, 2, 3)) / disc.sum()
    assert covered.mean() < 0.1
    assert disc.mean().item() == pytest.approx(torch.pi * 0.14**2, rel=0.05)
    assert disc[..., 32:, :].sum() == disc[..., :, 32:].sum() == 0


def test_the_shipped_tables_hold_every_aim_and_method():
    framed = misdirect_trials(EXPERIMENTS / "forgeries.csv", progress=False)
    cleared = hide_shortcut_trials(EXPERIMENTS / "clearances.csv", progress=False)
    assert {row["aimed_at"] for row in framed} == set(TARGET_METHODS)
    assert {row["method"] for row in cleared} == set(course_methods())
    assert {row["method"] for row in framed} > set(course_methods())
    for row in framed:
        assert row["kept_low"] <= row["kept"] <= row["kept_high"]
    honest = {}
    for row in cleared:  # what was before does not depend on what was aimed at
        before = honest.setdefault(row["method"], row["place_before"])
        assert row["place_before"] == pytest.approx(before, abs=1e-3)
