"""Forged images for every method, their ground truth, and the shipped tables."""

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
    changed_image_effects,
    corner_disc,
    forge_images,
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


def test_without_a_change_the_effects_are_the_ground_truth():
    drawn = [scene.with_label() for scene in scenes("test", "Globaria_maculata", 2)]
    drawn += scenes("test", "Ellipsa_polita", 2)
    images = normalise(stack_images(drawn))
    with torch.no_grad():
        classes = NETWORK(images).argmax(1)
    effects = changed_image_effects(NETWORK, drawn, classes, torch.zeros_like(images))
    assert torch.allclose(effects, ground_truth_effects(NETWORK, drawn), atol=1e-4)
    assert effects.shape == (4, len(PARTS))


def test_a_change_stays_when_a_part_is_removed():
    """A linear network: what is added to every image cancels out of every difference."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)).double().eval()

    class Widened(nn.Module):
        def forward(self, x):
            return model(x.double())

    drawn, classes = scenes("test", "Tenuella_guttata", 3), torch.tensor([0, 1, 3])
    zero = torch.zeros(3, 3, 64, 64)
    plain = changed_image_effects(Widened().eval(), drawn, classes, zero)
    moved = changed_image_effects(Widened().eval(), drawn, classes, zero + 1e-4)
    assert (moved - plain).abs().max() < 0.02 * plain.abs().max()


@pytest.mark.parametrize("target_method", ["noise", "gradient", "β = 1"])
def test_forged_images_stay_near_and_keep_the_prediction(target_method):
    pixels = stack_images(BOTH)
    with torch.no_grad():
        classes = NETWORK(normalise(pixels)).argmax(1)
    changed, again = (
        forge_images(NETWORK, pixels, corner_disc(), classes, target_method, steps=10)
        for _ in range(2)
    )
    assert 0 < (changed - pixels).abs().max() <= EPSILON + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(changed, again)
    if target_method == "noise":
        return
    assert torch.equal(NETWORK(normalise(changed)).argmax(1), classes)

    def on_disc(x):
        with softplus_relus(1.0 if target_method == "β = 1" else 1e6):
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


def test_the_shipped_tables_hold_every_target_and_method():
    misdirected = misdirect_trials(EXPERIMENTS / "forgeries.csv", progress=False)
    hidden = hide_shortcut_trials(EXPERIMENTS / "clearances.csv", progress=False)
    assert {row["target_method"] for row in misdirected} == set(TARGET_METHODS)
    assert {row["method"] for row in hidden} == set(course_methods())
    assert {row["method"] for row in misdirected} > set(course_methods())
    for row in misdirected:
        assert row["similarity_low"] <= row["similarity"] <= row["similarity_high"]
    honest = {}
    for row in hidden:  # the honest image's map does not depend on the target method
        before = honest.setdefault(row["method"], row["on_target_before"])
        assert row["on_target_before"] == pytest.approx(before, abs=1e-3)
