"""The experiments of lesson 12: the shipped tables are whole, and one row of each is made again."""

import pytest
import torch

from xai_course.beetlebox import SPECIES
from xai_course.core.paths import data_folder
from xai_course.experiments import adversarial
from xai_course.robustness import random_resize

EXPERIMENTS = data_folder() / "experiments"
TABLES = {
    "robustness": (adversarial.adversarial_trials, "accuracy_under_attack"),
    "robust_explanations": (adversarial.explanation_trials, "explanation_quality"),
    "smoothing": (adversarial.smoothing_trials, "certified_accuracy"),
    "patches": (adversarial.patch_trials, "accuracy_under_patch"),
}


def rows(name):
    """Open a shipped table; a trial that it does not hold is not run here but skips the test."""
    experiment, run = TABLES[name]

    def refuse(**settings):
        pytest.skip(f"{name}.csv is not whole ({settings}): make experiments NAMES={name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adversarial, run, refuse)
        return experiment(EXPERIMENTS / f"{name}.csv")


def test_every_interval_holds_its_mean():
    for row in rows("robustness"):
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1, row


def test_every_skill_lies_in_its_interval():
    for row in rows("robust_explanations"):
        assert row["skill low"] <= row["skill"] <= row["skill high"] <= 1, row


def test_a_certified_accuracy_drops_with_the_radius():
    for row in rows("smoothing"):
        certified = [row[f"{radius:g}"] for radius in adversarial.RADII]
        assert certified == sorted(certified, reverse=True)
        assert certified[0] <= 1 - row["abstains"] + 1e-9
        # No radius can pass that of a unanimous vote.
        most = row["sigma"] * torch.special.ndtri(torch.tensor(0.001 ** (1 / 500))).item()
        assert all(c == 0 for c, r in zip(certified, adversarial.RADII, strict=True) if r > most)


def test_accuracies_are_shares_of_200_images():
    for row in rows("robustness"):
        assert row["accuracy"] * 200 == pytest.approx(round(row["accuracy"] * 200))


def test_a_learned_patch_does_more_than_noise_in_its_place():
    for row in rows("patches"):
        assert row["right, patch"] <= row["right, noise"], row
        assert row["taken, noise"] <= row["taken, patch"], row
        for name in ("right", "right, label", "taken, patch"):
            assert 0 <= row[f"{name} low"] <= row[name] <= row[f"{name} high"] <= 1, row


def test_patches_are_learned_on_other_scenes_and_lie_beside_the_beetle():
    for split in ("train", "test"):
        bare, worn, place, species = adversarial._patch_victims(split)
        assert bare.shape == worn.shape == (180, 3, 64, 64)
        counts = species.bincount(minlength=10).tolist()
        assert sorted(counts) == [0] + [20] * 9
        assert counts[list(SPECIES).index("Globaria_cincta")] == 0
        changed = (bare != worn).any(1, keepdim=True)
        assert torch.equal(changed & (place == 0), torch.zeros_like(changed))


def test_a_row_is_made_again():
    """Without an attack there is nothing that rounding could change but an image on the edge."""
    settings = ("beetle_net", "bit depth", "nothing", 0)
    row = next(r for r in rows("robustness") if tuple(r.values())[:4] == settings)
    assert adversarial.accuracy_under_attack(*settings)["accuracy"] == pytest.approx(
        row["accuracy"], abs=0.006
    )


def test_unknown_defences_and_attacks_are_refused():
    with pytest.raises(ValueError, match="defence: got 'shield'; must be one of none, blur"):
        adversarial.accuracy_under_attack("beetle_net", "shield", "PGD", 4)
    with pytest.raises(ValueError, match="attack: got 'FGSM'; must be one of nothing"):
        adversarial.accuracy_under_attack("beetle_net", "none", "FGSM", 4)


def test_the_same_draw_resizes_every_image_and_leaves_the_random_state_alone():
    pixels, state = torch.rand(3, 3, 16, 16), torch.get_rng_state()
    first = adversarial._resize_alike(pixels)
    assert torch.equal(first, adversarial._resize_alike(pixels))
    assert torch.equal(first[1:], adversarial._resize_alike(pixels[1:]))  # an image alone, too
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, random_resize(pixels))


def test_every_method_explains_a_network_behind_a_random_defence():
    found = adversarial.explanation_quality("beetle_net", "random resizing", 1)
    assert set(found) > {*adversarial.METHODS, "null: bright edges", "skill", "edges"}
    assert found["skill low"] <= found["skill"] <= found["skill high"] <= 1
