"""The long experiments of lesson 09: how far networks and defences hold, and how well they explain.

Each is a table of trials (see `trials`); `tools/assets/run_experiments.py` makes them, the lesson reads
them with the same calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xai_course import methods as methods_module
from xai_course.beetlebox.scene import SPECIES, Scene, scenes
from xai_course.beetlebox.tensors import stack_images
from xai_course.core import statistics
from xai_course.core.maps import map_similarity
from xai_course.core.paths import data_folder
from xai_course.core.statistics import mean_interval
from xai_course.data.transforms import normalise
from xai_course.experiments import grading
from xai_course.metrics import null_maps
from xai_course.models.wrappers import Defence, DefendedModel, NormalisingModel
from xai_course.relu.gradients import gradient
from xai_course.robustness import defences
from xai_course.robustness.attacks import is_correct, pgd, random_perturbation
from xai_course.robustness.defences import straight_through
from xai_course.robustness.randomised_smoothing import ABSTAIN, certify
from xai_course.storage.checkpoints import load_checkpoint
from xai_course.storage.results_table import Row, run_trials

__all__ = [
    "CHANGES",
    "DEFENCES",
    "METHODS",
    "NETWORKS",
    "RADII",
    "adversarial_trials",
    "attacked",
    "explained",
    "explanations",
    "smoothed",
    "smoothing_trials",
    "test_images",
    "trained",
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
METHODS = (
    "gradient",
    "gradient × input",
    "SmoothGrad",
    "Grad-CAM",
    "IG, mean",
    "expected gradients",
    "LRP",
)
CHANGES = (1, 2, 4, 8)  # ε of the attacks, in 255ths
RADII = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


def adversarial_trials(file: str | Path | None = None, workers: int = 1) -> list[Row]:
    """Return the accuracy of networks and of defences under attacks: one row a measurement."""
    trials = []
    for network in [name for names in NETWORKS.values() for name in names]:
        trials.append(_trial(network, "none", "nothing", 0))
        trials += [_trial(network, "none", how, e) for how in ("noise", "PGD") for e in CHANGES]
        trials += [_trial(network, "none", "PGD, length", e) for e in (0.25, 0.5, 1.0)]
    for defence in DEFENCES:
        trials.append(_trial("beetle_net", defence, "nothing", 0))
        for how in ("noise", "unaware", "through", "past"):
            trials += [_trial("beetle_net", defence, how, e) for e in (2, 4)]
    for defence in ("none", *DEFENCES):
        trials += [_trial("beetle_net", defence, "adaptive", e) for e in (2, 4)]
    for network in [name for names in NETWORKS.values() for name in names if name != "beetle_net"]:
        trials.append(_trial(network, "none", "adaptive", 4))
    return run_trials(trials, attacked, file, workers=workers)


def _trial(network: str, defence: str, attack: str, epsilon: float) -> Row:
    return {"network": network, "defence": defence, "attack": attack, "epsilon": epsilon}


def attacked(network: str, defence: str, attack: str, epsilon: float) -> dict[str, float]:
    """Measure one accuracy under attack, with the ends of its interval over 200 test images.

    `attack`: "nothing"; "noise", as large as an attack; "PGD" of 10 steps on what is attacked;
    "PGD, length" (ℓ2); and, of a defence: "unaware", PGD on the bare network; "through", PGD with
    the defence's own derivative; "past", PGD past it (`straight_through`), over 4 draws if it is
    random; "adaptive": the same with 40 small steps and, of JPEG, the derivative of `smooth_jpeg`.
    `epsilon`: in 255ths, but for "PGD, length" in pixel units.
    """
    images, labels = test_images(20)
    bare = trained(network)
    whole, past, informed = _behind(bare, defence)
    size: dict[str, Any] = {"epsilon": epsilon / 255, "steps": 10}
    samples = 4 if defence == "random resizing" else 1
    if attack == "noise":
        images = random_perturbation(images, epsilon=epsilon / 255)
    elif attack == "PGD, length":
        images = pgd(
            NormalisingModel(whole), images, labels, norm="2", **size | {"epsilon": epsilon}
        )
    elif attack == "past":
        images = pgd(NormalisingModel(past), images, labels, samples=samples, **size)
    elif attack == "adaptive":
        size |= {"steps": 40, "step_size": 1 / 255}
        images = pgd(NormalisingModel(informed), images, labels, samples=samples, **size)
    elif attack != "nothing":
        victim = bare if attack == "unaware" else whole
        images = pgd(NormalisingModel(victim), images, labels, **size)
    found = mean_interval(is_correct(NormalisingModel(whole), images, labels, seed=1))
    return dict(zip(("accuracy", "low", "high"), found, strict=True))


def explanations(file: str | Path | None = None, workers: int = 1) -> list[Row]:
    """Return how well networks, and networks behind defences, can be explained: one row each."""
    trials = [{"network": name, "defence": "none"} for names in NETWORKS.values() for name in names]
    trials += [{"network": "beetle_net", "defence": defence} for defence in DEFENCES]
    return run_trials(trials, explained, file, workers=workers)


def explained(network: str, defence: str, scenes_each: int = 5) -> dict[str, float]:
    """Grade explanations of one network against its own key, on 50 test scenes.

    The agreement of each method and null (means over scenes); "skill" of the best method with the
    ends of its interval; and how much |gradient| looks like an edge detector. A random defence
    draws the same numbers in every pass, since most methods need more than one.
    """
    tests = _scenes(scenes_each)
    _, model, _ = _behind(trained(network), defence)
    if isinstance(model, DefendedModel):
        model = DefendedModel(model.network, _same_draws(model.defence))
    methods = {name: methods_module.course_methods()[name] for name in METHODS}
    table = grading.grade(
        model,
        methods_module.with_nulls(model, tests, methods),
        tests,
        measures={"rank": grading.MEASURES["rank"]},
        progress=False,
    )
    images = normalise(stack_images(tests))
    looks = map_similarity(
        gradient(model, images).abs(), null_maps.edge_map(model, images), absolute=True
    )
    rank = {name: row["rank"] for name, row in table.items()}
    best = rank.pop("the key itself")
    nulls = {name: values for name, values in rank.items() if name.startswith("null")}
    means = {name: values.mean().item() for name, values in rank.items()}
    first = max(METHODS, key=lambda name: means[name])
    skill, low, high = mean_interval(statistics.skill_score(rank[first], nulls, best))
    edges = dict(zip(("edges", "edges low", "edges high"), mean_interval(looks), strict=True))
    return {**means, "skill": skill, "skill low": low, "skill high": high, **edges}


def smoothing_trials(file: str | Path | None = None, workers: int = 1) -> list[Row]:
    """Return the certified accuracy of smoothed networks: one row a network and a noise."""
    trials = [
        {"network": names[0], "sigma": sigma}
        for names in NETWORKS.values()
        for sigma in (0.06, 0.12)
    ]
    return run_trials(trials, smoothed, file, workers=workers)


def smoothed(network: str, sigma: float) -> dict[str, float]:
    """Certify a network on 100 test images, 500 noisy copies each.

    The share that abstains; and for each radius of RADII, with the ends of its interval, the share
    that is named right and certified to stay so.
    """
    images, labels = test_images(10)
    classes, radius = certify(NormalisingModel(trained(network)), images, sigma=sigma, samples=500)
    found = {"abstains": (classes == ABSTAIN).double().mean().item()}
    for r in RADII:
        held = mean_interval(((classes == labels) & (radius > r)).double())
        found |= dict(zip((f"{r:g}", f"{r:g} low", f"{r:g} high"), held, strict=True))
    return found


def trained(network: str) -> nn.Module:
    """Load a network by its place under data/checkpoints/."""
    return load_checkpoint(data_folder() / "checkpoints" / network, classes=list(SPECIES))[0]


def test_images(each: int) -> tuple[Tensor, Tensor]:
    """Draw the first test scenes of each species: pixels (N, 3, 64, 64), and species (N,)."""
    tests = _scenes(each)
    return stack_images(tests), torch.arange(len(SPECIES)).repeat_interleave(each)


@cache
def _scenes(each: int) -> list[Scene]:
    return [scene for name in SPECIES for scene in scenes("test", name, each)]


def _same_draws(defence: Defence) -> Defence:
    """Let a defence draw the same random numbers at every call."""

    def drawn(pixels: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return defence(pixels)

    return drawn


def _behind(network: nn.Module, defence: str) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Put a defence in front of a network: with its own derivative, one that passes it, the best.

    Blur and resizing have a derivative of their own, which serves in all three places.
    """
    if defence == "none":
        return network, network, network
    how: Callable[[Tensor], Tensor] = DEFENCES[defence]
    whole = DefendedModel(network, how)
    if defence in ("blur", "random resizing"):
        return whole, whole, whole
    past = DefendedModel(network, straight_through(how))
    if defence == "JPEG":
        return whole, past, DefendedModel(network, straight_through(how, defences.smooth_jpeg))
    return whole, past, past
