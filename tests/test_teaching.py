"""What TEACHING.md lets a class see in the explorer, measured."""

from dataclasses import replace

import pytest
import torch

from xai_course.explorer import Selection
from xai_course.explorer.catalogue import PHOTO_NETWORK
from xai_course.explorer.state import run_all
from xai_course.methods import METHODS


def likeliest(found):
    """The class that the network names after the changes, and its probability."""
    share, which = found.logits[1].softmax(0).max(0)
    return found.classes[which], share.item()


def test_a_part_s_worth_depends_on_what_else_is_there():
    beetle = Selection(species="Ellipsa_longicornis", seed=59)
    whole = {part.name: part.effect for part in run_all(beetle).parts}
    without = run_all(replace(beetle, without=("antennae",)))
    horn = next(part.effect for part in without.parts if part.name == "horn")
    assert "horn" in sorted(whole, key=whole.get)[-2:]
    assert abs(horn) < 0.1 * whole["horn"]


def test_the_label_turns_the_shortcut_network_alone():
    beetle = Selection(species="Globaria_maculata")
    for network, label, says in (
        ("shortcut BeetleNet", False, "Globaria_maculata"),
        ("shortcut BeetleNet", True, "Globaria_cincta"),
        ("BeetleNet", True, "Globaria_maculata"),
    ):
        assert likeliest(run_all(replace(beetle, network=network, label=label)))[0] == says


def test_one_score_is_no_score():
    beetle = Selection(species="Globaria_maculata", seed=16_000_000, method="gradient")
    assert run_all(beetle).score < 0
    assert run_all(replace(beetle, seed=16_000_001)).score > 0.8


def test_the_baseline_decides():
    beetle = Selection(species="Tenuella_guttata", method="Integrated Gradients")
    black, mean = (run_all(replace(beetle, baseline=name)) for name in ("black", "mean"))
    assert abs(black.score) < 0.05
    assert mean.score == pytest.approx(0.9)
    assert black.null_score == pytest.approx(1)


def test_noise_changes_the_map_and_not_the_answer():
    noisy = Selection(species="Globaria_cervina", method="gradient", pixel_noise=0.06)
    clean = likeliest(run_all(replace(noisy, pixel_noise=0.0)))
    alike = {}
    for method in ("gradient", "Grad-CAM"):
        found = run_all(replace(noisy, method=method))
        assert likeliest(found)[0] == clean[0]
        assert abs(likeliest(found)[1] - clean[1]) < 0.02
        alike[method] = torch.corrcoef(found.maps.flatten(1))[0, 1].item()
    assert alike["gradient"] < 0.5
    assert alike["Grad-CAM"] > 0.95


def test_which_method_does_best_in_lessons_00_and_08():
    first = Selection(species="Globaria_cervina", seed=15)  # as lesson 00 opens it
    scores = {
        name: run_all(replace(first, method=name)).score
        for name in ("DeepLIFT", "expected gradients", "LRP", "occlusion", "Grad-CAM", "gradient")
    }
    assert scores["DeepLIFT"] == scores["expected gradients"] == pytest.approx(0.94, abs=0.005)
    assert sorted(scores.values())[-3] < 0.9
    for seed, best, score in ((16_000_000, "DeepLIFT", 0.83), (16_000_001, "gradient", 0.83)):
        beetle = Selection(species="Globaria_maculata", seed=seed)
        three = {
            name: run_all(replace(beetle, method=name)).score
            for name in ("LRP", "DeepLIFT", "gradient")
        }
        assert max(three, key=three.get) == best
        assert three[best] == pytest.approx(score, abs=0.005)


@pytest.mark.end_to_end
@pytest.mark.parametrize("method", METHODS)
def test_a_guess_has_a_map(method):
    found = run_all(Selection(network=PHOTO_NETWORK, photograph="grass", method=method))
    name, share = likeliest(found)
    assert name == "soccer ball"
    assert share < 0.1
    assert found.maps[1].abs().max() > 0
