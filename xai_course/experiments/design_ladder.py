"""The ladder of lesson 07: from the article's network to a good one, one change at a time.

A *rung* is the article's network and training with the first changes of `RECIPE_CHANGES` made. Each rung
sees as many images as every other. Up to the last one, the network halves its picture first, so
that all of it trains in minutes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from xai_course.beetlebox.dataset import write_beetlebox
from xai_course.beetlebox.scene import SPECIES, scenes
from xai_course.data.folders import load_folders
from xai_course.data.loaders import in_memory, loader
from xai_course.data.transforms import modern_transform, random_horizontal_flip
from xai_course.experiments.grading import ground_truth_agreement
from xai_course.models.beetle_net import BeetleNet, count_weights
from xai_course.storage.results_table import Row, run_trials
from xai_course.training.config import TrainingConfig, one_cycle
from xai_course.training.evaluation import evaluate
from xai_course.training.fit import fit

__all__ = [
    "FULL_RECIPE",
    "NOTHING",
    "POINTS",
    "RECIPE_CHANGES",
    "REMOVED",
    "STEPS",
    "Recipe",
    "ablation_trials",
    "build",
    "curve",
    "recipe",
    "run_step",
    "time_to",
]


SEEN = 20_000  # images that each training sees, the same ones again and again
POINTS = tuple(range(SEEN // 10, SEEN + 1, SEEN // 10))  # images seen when accuracy is measured
SEEDS = (0, 1, 2)
NOTHING = "nothing"


@dataclass(frozen=True)
class Recipe:
    """A network and its training; the defaults are the article's, repaired."""

    halve: bool = True  # an average of 2 x 2 pixels in front
    pool: bool = False  # a max-pool after every convolution, not the last one alone
    relu: bool = False
    norm: bool = False
    blocks: bool = False  # BeetleNet in place of three convolutions and two linear layers
    skips: bool = True
    optimizer: type[torch.optim.Optimizer] = torch.optim.SGD
    batch_size: int = 4
    scheduled: bool = False
    mirrored: bool = False
    label_smoothing: float = 0.0
    images: int = 4000  # different ones

    @property
    def learning_rate(self) -> float:
        """The rate at this batch size: it grows with the batch under SGD, with its root under Adam.

        Goyal et al., arXiv:1706.02677; Malladi et al., NeurIPS 2022, arXiv:2205.10287.
        """
        if self.optimizer is torch.optim.SGD:
            return 0.01 * self.batch_size / 4
        return 0.01 * math.sqrt(self.batch_size / 32)


RECIPE_CHANGES: dict[str, dict[str, Any]] = {
    "pooling": {"pool": True},
    "ReLUs": {"relu": True},
    "normalisation": {"norm": True},
    "residual blocks": {"blocks": True},
    "optimiser": {"optimizer": torch.optim.AdamW},
    "schedule": {"scheduled": True},
    "batch size": {"batch_size": 32},
    "augmentation": {"mirrored": True},
    "label smoothing": {"label_smoothing": 0.1},
    "more pixels": {"halve": False},
}
STEPS = ("the article", *RECIPE_CHANGES)
FULL_RECIPE = "label smoothing"  # the last rung of half the pixels; from here, one change is undone
REMOVED: dict[str, dict[str, Any]] = {
    "ReLUs": {"relu": False},
    "normalisation": {"norm": False},
    "residual blocks": {"blocks": False},
    "skip connections": {"skips": False},
    "optimiser": {"optimizer": torch.optim.SGD},
    "schedule": {"scheduled": False},
    "batch size": {"batch_size": 4},
    "augmentation": {"mirrored": False},
    "three quarters of the images": {"images": 1000},
}


def recipe(rung: str, without: str = NOTHING) -> Recipe:
    """Return the recipe of a rung, with one thing undone; ValueError for unknown names."""
    if rung not in STEPS:
        raise ValueError(f"rung: got {rung!r}; allowed are {', '.join(STEPS)}.")
    if without not in (NOTHING, *REMOVED):
        raise ValueError(f"without: got {without!r}; allowed are {NOTHING}, {', '.join(REMOVED)}.")
    found = Recipe()
    for name in STEPS[1 : STEPS.index(rung) + 1]:
        found = replace(found, **RECIPE_CHANGES[name])
    return replace(found, **REMOVED.get(without, {}))


def build(made: Recipe) -> nn.Module:
    """Build a recipe's network for ten classes with PyTorch's default initial weights.

    Without pooling, ReLUs, normalisation and blocks it is `ArticleNet`, number for number.
    """
    front = [nn.AvgPool2d(2)] if made.halve else []
    if not made.blocks:
        return nn.Sequential(*front, *_stack(made))
    network = BeetleNet(classes=len(SPECIES), skips=made.skips)
    gone = [kind for kind, kept in ((nn.ReLU, made.relu), (nn.BatchNorm2d, made.norm)) if not kept]
    for parent in [*network.modules()]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, tuple(gone)):
                setattr(parent, name, nn.Identity())
    return nn.Sequential(*front, network)


def _stack(made: Recipe) -> list[nn.Module]:
    """Return the article's three convolutions and two linear layers, and what a recipe adds."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
        if made.norm:
            layers.append(nn.BatchNorm2d(outputs))
        if made.relu:
            layers.append(nn.ReLU())
        if made.pool or outputs == 128:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128 * 4 * 4, 512)]
    layers += [nn.ReLU()] if made.relu else []
    return [*layers, nn.Linear(512, len(SPECIES))]


@cache
def _world(images: int) -> tuple[TensorDataset, TensorDataset]:
    """Return the first `images` training images, and every other test image."""
    parts = load_folders(write_beetlebox(progress=False), modern_transform())
    train, test = (in_memory(part).tensors for part in parts)
    each = images // len(SPECIES)
    kept = torch.cat([(train[1] == label).nonzero()[:each, 0] for label in range(len(SPECIES))])
    few = (part[kept] for part in train)
    return TensorDataset(*few), TensorDataset(*(part[::2] for part in test))


def run_step(
    rung: str,
    without: str = NOTHING,
    seed: int = 0,
    *,
    seen: int = SEEN,
    grade_on: int = 4,
) -> dict[str, float]:
    """Train a rung's network and grade its explanations against its own answer key.

    Returns its number of weights, the core seconds that the training took, the accuracy on 500 test
    images at ten moments, and the means of `ground_truth_agreement` on `grade_on` scenes a species. `seen`:
    images to train on, for a shorter trial. Repeatable to the bit on one machine with one thread of
    PyTorch. Raises ValueError for unknown names.
    """
    made = recipe(rung, without)
    train, test = _world(made.images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(made)
    batches = loader(train, made.batch_size, shuffle=True, seed=seed)
    epochs = max(round(seen / made.images), 1)
    steps = epochs * len(batches)
    when = {round(steps * (k + 1) / len(POINTS)): point for k, point in enumerate(POINTS)}
    accuracy, watched = {}, 0.0

    def measure(step: int, network: nn.Module) -> None:
        nonlocal watched
        if step in when:
            start = time.process_time()
            accuracy[f"accuracy at {when[step]}"] = evaluate(network, loader(test, 250))
            watched += time.process_time() - start

    start = time.process_time()
    config = TrainingConfig(
        epochs=epochs,
        learning_rate=made.learning_rate,
        optimizer=made.optimizer,
        schedule=one_cycle if made.scheduled else None,
        label_smoothing=made.label_smoothing,
        augment=random_horizontal_flip if made.mirrored else None,
        seed=seed,
    )
    fit(network, config, batches, device="cpu", on_step=measure, progress=False)
    seconds = time.process_time() - start - watched
    some = [scene for name in SPECIES for scene in scenes("test", name, grade_on)]
    agreement = ground_truth_agreement(network, some)
    return {
        "weights": count_weights(network),
        "core seconds": round(seconds, 1),
        **accuracy,
        **{name: round(value, 6) for name, value in agreement.items()},
    }


def ablation_trials(
    file: str | Path | None = None, *, workers: int = 1, progress: bool = True
) -> list[Row]:
    """Run every rung, and the top with one thing undone, from three seeds each (`run_trials`)."""
    each = [(rung, NOTHING) for rung in STEPS] + [(FULL_RECIPE, name) for name in REMOVED]
    trials = [
        {"rung": rung, "without": without, "seed": seed} for seed in SEEDS for rung, without in each
    ]
    return run_trials(trials, run_step, file, workers=workers, progress=progress)


# ---- reading the table ---------------------------------------------------------------------------


def curve(row: Mapping[str, Any]) -> list[float]:
    """Return a trial's accuracy at each of `POINTS`."""
    return [row[f"accuracy at {point}"] for point in POINTS]


def time_to(level: float, x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return where a curve first reaches a level, on straight lines from (0, 0), or None.

    `x`, `y`: the curve's points, x rising. Raises ValueError for lengths that differ.
    """
    before = (0.0, 0.0)
    for point in zip(x, y, strict=True):
        if point[1] >= level:
            share = (level - before[1]) / (point[1] - before[1]) if point[1] > before[1] else 1.0
            return before[0] + share * (point[0] - before[0])
        before = point
    return None
