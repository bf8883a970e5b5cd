"""Lesson 12: how far networks and defences withstand attacks, and how well they are explained.

Each experiment is a table of trials (see storage/results_table.py).
`python -m tools.assets.run_experiments` makes the tables; the lesson reads them by the same calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.beetlebox.scene import PARTS, SPECIES, Scene, scenes
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.checks import check_choice
from xai_course.core.maps import map_similarity
from xai_course.core.paths import data_folder
from xai_course.core.randomness import seeded_rng
from xai_course.core.statistics import mean_interval, skill_score, wilson_interval
from xai_course.data.transforms import normalise
from xai_course.experiments.grading import MEASURES, grade
from xai_course.methods import HARD_NULL_MAPS, course_methods, with_null_maps
from xai_course.metrics.null_maps import edge_map
from xai_course.models.wrappers import Defence, DefendedModel, NormalisingModel
from xai_course.relu.gradients import gradient
from xai_course.robustness import defences
from xai_course.robustness.attacks import (
    apply_patch,
    is_correct,
    learn_patch,
    pgd,
    random_perturbation,
)
from xai_course.robustness.defences import straight_through
from xai_course.robustness.randomised_smoothing import ABSTAIN, certify
from xai_course.storage.checkpoints import load_checkpoint
from xai_course.storage.results_table import Row, run_trials

__all__ = [
    "DEFENCES",
    "EPSILONS",
    "METHODS",
    "NETWORKS",
    "RADII",
    "accuracy_under_attack",
    "accuracy_under_patch",
    "adversarial_trials",
    "certified_accuracy",
    "explanation_quality",
    "explanation_trials",
    "load_network",
    "patch_trials",
    "smoothing_trials",
    "test_images",
]


NETWORKS = {
    "plain": ("beetle_net", "beetle_net_seeds/seed_1", "beetle_net_seeds/seed_2"),
    "noise": ("beetle_net_noise", "beetle_net_noise_seeds/seed_1", "beetle_net_noise_seeds/seed_2"),
    "robust": (
        "beetle_net_robust",
        "beetle_net_robust_seeds/seed_1",
        "beetle_net_robust_seeds/seed_2",
    ),
}
"""Three networks of each training, under data/checkpoints/."""


DEFENCES: dict[str, Defence] = {
    "blur": defences.blur,
    "bit depth": defences.bit_depth,
    "JPEG": defences.jpeg,
    "random resizing": defences.random_resize,
}
ATTACKS = ("nothing", "noise", "PGD", "PGD, length", "unaware", "through", "past", "adaptive")
METHODS = (
    "gradient",
    "gradient × input",
    "SmoothGrad",
    "Grad-CAM",
    "IG, mean",
    "expected gradients",
    "LRP",
)
EPSILONS = (1, 2, 4, 8)  # of the attacks, in 255ths
RADII = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


# ---- accuracy under attack -----------------------------------------------------------------------


def adversarial_trials(file: str | Path | None = None, workers: int = 1) -> list[Row]:
    """Measure the accuracy of networks and of defences under attacks.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.

    Returns:
        A row for each measurement: network, defence, attack and epsilon, and the results of
        `accuracy_under_attack`.

    Raises:
        ValueError: as `run_trials`.
    """
    networks = [name for names in NETWORKS.values() for name in names]
    trials = []
    for network in networks:
        trials.append(_trial(network, "none", "nothing", 0))
        trials += [_trial(network, "none", how, e) for how in ("noise", "PGD") for e in EPSILONS]
        trials += [_trial(network, "none", "PGD, length", e) for e in (0.25, 0.5, 1.0)]
    for defence in DEFENCES:
        trials.append(_trial("beetle_net", defence, "nothing", 0))
        for how in ("noise", "unaware", "through", "past"):
            trials += [_trial("beetle_net", defence, how, e) for e in (2, 4)]
    for defence in ("none", *DEFENCES):
        trials += [_trial("beetle_net", defence, "adaptive", e) for e in (2, 4)]
    others = [name for name in networks if name != "beetle_net"]
    trials += [_trial(network, "none", "adaptive", 4) for network in others]
    return run_trials(trials, accuracy_under_attack, file, workers=workers)


def _trial(network: str, defence: str, attack: str, epsilon: float) -> Row:
    """Return the settings of one trial."""
    return {"network": network, "defence": defence, "attack": attack, "epsilon": epsilon}


def accuracy_under_attack(
    network: str, defence: str, attack: str, epsilon: float
) -> dict[str, float]:
    """Measure one accuracy under attack, over 200 test images.

    Args:
        network: its path under data/checkpoints/.
        defence: one of DEFENCES, or "none".
        attack: one of
            "nothing";
            "noise", of the size of an attack;
            "PGD", 10 steps on the network and its defence, with the defence's own derivative;
            "PGD, length", the same with ε as a limit on the ℓ2 length;
            "unaware", PGD on the network without its defence;
            "through", the same as "PGD";
            "past", PGD past the defence (`straight_through`), over 4 draws if it is random;
            "adaptive", the same with 40 small steps and, for JPEG, the derivative of `smooth_jpeg`.
        epsilon: in 255ths; for "PGD, length" in pixel units from 0 to 1.

    Returns:
        "accuracy", and the ends "low" and "high" of its 95 % interval.

    Raises:
        ValueError: for an unknown defence or attack.
    """
    check_choice("defence", defence, ("none", *DEFENCES))
    check_choice("attack", attack, ATTACKS)
    images, labels = test_images(20)
    victims = _victims(load_network(network), defence)
    if attack == "noise":
        images = random_perturbation(images, epsilon=epsilon / 255)
    elif attack != "nothing":
        victim, options = _attack(attack, epsilon, victims, defence)
        images = pgd(NormalisingModel(victim), images, labels, **options)
    correct = is_correct(NormalisingModel(victims.defended), images, labels, seed=1)
    return _with_interval("accuracy", correct, ends=("low", "high"))


class _Victims(NamedTuple):
    """One network in the forms that are attacked."""

    undefended: nn.Module
    defended: nn.Module  # with the defence's own derivative
    past: nn.Module  # with a derivative as if there were no defence
    informed: nn.Module  # with the best derivative that we know


def _victims(network: nn.Module, defence: str) -> _Victims:
    """Put a defence in front of a network, with the derivatives that attackers may use."""
    if defence == "none":
        return _Victims(network, network, network, network)
    function: Callable[[Tensor], Tensor] = DEFENCES[defence]
    defended = DefendedModel(network, function)
    if defence in ("blur", "random resizing"):  # these have a useful derivative of their own
        return _Victims(network, defended, defended, defended)
    past = DefendedModel(network, straight_through(function))
    informed = past
    if defence == "JPEG":
        informed = DefendedModel(network, straight_through(function, defences.smooth_jpeg))
    return _Victims(network, defended, past, informed)


def _attack(
    attack: str, epsilon: float, victims: _Victims, defence: str
) -> tuple[nn.Module, dict[str, Any]]:
    """Return what PGD attacks, and its options."""
    options: dict[str, Any] = {"epsilon": epsilon / 255, "steps": 10}
    draws = 4 if defence == "random resizing" else 1
    if attack == "PGD, length":
        return victims.defended, {"norm": "2", "epsilon": epsilon, "steps": 10}
    if attack == "unaware":
        return victims.undefended, options
    if attack == "past":
        return victims.past, {**options, "samples": draws}
    if attack == "adaptive":
        small_steps = {"steps": 40, "step_size": 1 / 255}
        return victims.informed, {**options, **small_steps, "samples": draws}
    return victims.defended, options


# ---- explanations --------------------------------------------------------------------------------


def explanation_trials(file: str | Path | None = None, workers: int = 1) -> list[Row]:
    """Measure how well networks, and networks behind defences, are explained.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.

    Returns:
        A row for each network and defence, with the results of `explanation_quality`.

    Raises:
        ValueError: as `run_trials`.
    """
    trials = [{"network": name, "defence": "none"} for names in NETWORKS.values() for name in names]
    trials += [{"network": "beetle_net", "defence": defence} for defence in DEFENCES]
    return run_trials(trials, explanation_quality, file, workers=workers)


def explanation_quality(network: str, defence: str, scenes_each: int = 5) -> dict[str, float]:
    """Grade explanations of one network by its own ground truth, on test scenes.

    A random defence draws the same numbers for every image in every pass, since most methods need
    more than one pass, and each image must be treated alone.

    Args:
        network: its path under data/checkpoints/.
        defence: one of DEFENCES, or "none".
        scenes_each: test scenes of each species.

    Returns:
        The rank agreement of each method and null map (means over the scenes); "skill" of the best
        method and "edges", how much |gradient| resembles an edge detector, each with the ends of
        its 95 % interval.
    """
    tests = _scenes(scenes_each)
    model = load_network(network)
    if defence == "random resizing":
        model = DefendedModel(model, _resize_alike)
    else:
        model = _victims(model, defence).past
    methods = {**{name: course_methods()[name] for name in METHODS}, **HARD_NULL_MAPS}
    measures = {"rank": MEASURES["rank"]}
    table = grade(
        model, with_null_maps(model, tests, methods), tests, measures=measures, progress=False
    )
    rank = {name: row["rank"] for name, row in table.items()}
    best = rank.pop("the key itself")
    means = {name: values.mean().item() for name, values in rank.items()}
    first = max(METHODS, key=lambda name: means[name])
    null_maps = {name: values for name, values in rank.items() if name.startswith("null")}
    images = normalise(stack_images(tests))
    edges = map_similarity(gradient(model, images).abs(), edge_map(model, images), absolute=True)
    return {
        **means,
        **_with_interval("skill", skill_score(rank[first], null_maps, best)),
        **_with_interval("edges", edges),
    }


def _resize_alike(pixels: Tensor) -> Tensor:
    """Resize all images, of every call, by the same draw."""
    with seeded_rng(0):
        return defences.random_resize(pixels, one_draw=True)


# ---- a patch ------------------------------------------------------------------------------------


def patch_trials(file: str | Path | None = None, workers: int = 1) -> list[Row]:
    """Measure how often learned patches fool plain, noise-trained and robust networks.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.

    Returns:
        A row for each network, with the results of `accuracy_under_patch`.

    Raises:
        ValueError: as `run_trials`.
    """
    trials = [{"network": name} for names in NETWORKS.values() for name in names]
    return run_trials(trials, accuracy_under_patch, file, workers=workers)


def accuracy_under_patch(network: str) -> dict[str, float]:
    """Lay patches where the museum label would be, on test images of nine species.

    Two patches are learned against the network itself, on 180 training scenes: one that turns any
    beetle into "Globaria cincta", one that turns it into anything but what it is.

    Args:
        network: its path under data/checkpoints/.

    Returns:
        Shares of the 180 test images of the other nine species, each with the ends of its 95 %
        interval: "right" of the images as they are, "right, noise" with a patch of random pixels,
        "right, label" with the label, "right, patch" with the worse of the two learned patches, and
        "taken, noise" and "taken, patch" for "Globaria cincta".
    """
    model = NormalisingModel(load_network(network))
    seen, _, place, seen_species = _patch_victims("train")
    bare, worn, cover, species = _patch_victims("test")
    wanted = list(SPECIES).index("Globaria_cincta")
    aimed = learn_patch(model, seen, wanted, mask=place, targeted=True)
    away = learn_patch(model, seen, seen_species, mask=place)
    noise = torch.rand(aimed.shape, generator=torch.Generator().manual_seed(0))
    laid = {"aimed": aimed, "away": away, "noise": noise}
    patched = {name: apply_patch(bare, patch, cover) for name, patch in laid.items()}
    right = {name: is_correct(model, images, species) for name, images in patched.items()}
    aim = torch.full((len(bare),), wanted)
    taken = {name: is_correct(model, images, aim) for name, images in patched.items()}
    shares = {
        "right": is_correct(model, bare, species),
        "right, noise": right["noise"],
        "right, label": is_correct(model, worn, species),
        "right, patch": min(right["aimed"], right["away"], key=lambda each: each.sum().item()),
        "taken, noise": taken["noise"],
        "taken, patch": taken["aimed"],
    }
    result = dict[str, float]()
    for name, share in shares.items():
        ends = wilson_interval(int(share.sum()), len(share))
        result |= dict(zip((name, f"{name} low", f"{name} high"), ends, strict=True))
    return result


def _patch_victims(split: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw 20 scenes of each other species: bare, with the label, its place, and the species."""
    others = [name for name in SPECIES if name != "Globaria_cincta"]
    bare = [scene for name in others for scene in scenes(split, name, 20)]
    worn = [scene.with_label() for scene in bare]
    place = stack_masks(worn)[:, [PARTS.index("label")]]
    species = torch.tensor([list(SPECIES).index(scene.species) for scene in bare])
    return stack_images(bare), stack_images(worn), place, species


# ---- randomised smoothing ------------------------------------------------------------------------


def smoothing_trials(file: str | Path | None = None, workers: int = 1) -> list[Row]:
    """Measure the certified accuracy of smoothed networks.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.

    Returns:
        A row for each network and noise, with the results of `certified_accuracy`.

    Raises:
        ValueError: as `run_trials`.
    """
    trials = [
        {"network": names[0], "sigma": sigma}
        for names in NETWORKS.values()
        for sigma in (0.06, 0.12)
    ]
    return run_trials(trials, certified_accuracy, file, workers=workers)


def certified_accuracy(network: str, sigma: float) -> dict[str, float]:
    """Certify the predictions of a network on 100 test images, by 500 noisy copies of each.

    Args:
        network: its path under data/checkpoints/.
        sigma: standard deviation of the noise, in pixel units from 0 to 1.

    Returns:
        "abstains", the share of images without a prediction; and for each radius of RADII, with the
        ends of its 95 % interval, the share that is predicted correctly and certified to stay so.
    """
    images, labels = test_images(10)
    model = NormalisingModel(load_network(network))
    classes, radius = certify(model, images, sigma=sigma, samples=500)
    result = {"abstains": (classes == ABSTAIN).double().mean().item()}
    for r in RADII:
        certified = (classes == labels) & (radius > r)
        result |= _with_interval(f"{r:g}", certified.double())
    return result


# ---- shared --------------------------------------------------------------------------------------


def load_network(network: str) -> nn.Module:
    """Load a network of the course.

    Args:
        network: its path under data/checkpoints/.

    Returns:
        The network, in evaluation mode.
    """
    return load_checkpoint(data_folder() / "checkpoints" / network, classes=list(SPECIES))[0]


def test_images(each: int) -> tuple[Tensor, Tensor]:
    """Draw the first test scenes of each species.

    Args:
        each: scenes of each species.

    Returns:
        Pixels (N, 3, 64, 64), from 0 to 1, and species (N,).
    """
    pixels = stack_images(_scenes(each))
    return pixels, torch.arange(len(SPECIES)).repeat_interleave(each)


@cache
def _scenes(each: int) -> list[Scene]:
    """Return the first test scenes of each species."""
    return [scene for name in SPECIES for scene in scenes("test", name, each)]


def _with_interval(name: str, values: Tensor, ends: Sequence[str] = ()) -> dict[str, float]:
    """Return the mean of values and the ends of its 95 % interval, by name."""
    low, high = ends or (f"{name} low", f"{name} high")
    return dict(zip((name, low, high), mean_interval(values), strict=True))
