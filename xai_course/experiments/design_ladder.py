"""Lesson 10: from the article's network to a good one, one change at a time (an ablation study).

A *step* is the article's network and training with the first of the changes `RECIPE_CHANGES` made.
Each step's network sees equally many images. Up to the last step, the network halves its image
first, so that all of it trains in minutes.
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
from torch.utils.data import DataLoader, TensorDataset

from xai_course.beetlebox.dataset import write_beetlebox
from xai_course.beetlebox.scene import SPECIES, scenes
from xai_course.core.checks import check_choice
from xai_course.core.randomness import seeded_rng
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
    """A network and its training; the defaults are the article's, repaired.

    Args:
        halve: whether an average over 2 x 2 pixels comes first.
        pool: whether a max-pool follows every convolution, not the last one alone.
        relu: whether there are ReLUs.
        norm: whether there are batch normalisations.
        blocks: BeetleNet in place of three convolutions and two linear layers.
        skips: whether its blocks have skip connections.
        optimizer: the optimizer's class.
        batch_size: images in a batch.
        scheduled: whether the learning rate follows `one_cycle`.
        mirrored: whether half of the images are mirrored, at random.
        label_smoothing: share of the target that is spread over all classes.
        images: number of different training images.
    """

    halve: bool = True
    pool: bool = False
    relu: bool = False
    norm: bool = False
    blocks: bool = False
    skips: bool = True
    optimizer: type[torch.optim.Optimizer] = torch.optim.SGD
    batch_size: int = 4
    scheduled: bool = False
    mirrored: bool = False
    label_smoothing: float = 0.0
    images: int = 4000

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
FULL_RECIPE = "label smoothing"  # the last step with half the pixels; here, changes are removed
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


def recipe(step: str, without: str = NOTHING) -> Recipe:
    """Return the recipe of a step, with one thing removed.

    Args:
        step: one of STEPS.
        without: one of REMOVED, or NOTHING.

    Returns:
        The recipe.

    Raises:
        ValueError: for unknown names.

    Example:
        >>> from xai_course.experiments import recipe
        >>> recipe("ReLUs").relu, recipe("ReLUs", without="ReLUs").relu
        (True, False)
    """
    check_choice("step", step, STEPS)
    check_choice("without", without, (NOTHING, *REMOVED))
    result = Recipe()
    for name in STEPS[1 : STEPS.index(step) + 1]:
        result = replace(result, **RECIPE_CHANGES[name])
    return replace(result, **REMOVED.get(without, {}))


# ---- networks ------------------------------------------------------------------------------------


def build(recipe: Recipe) -> nn.Module:
    """Build a recipe's network for ten classes, with PyTorch's default initial weights.

    Without pooling, ReLUs, normalisation and blocks it is `ArticleNet`, number for number.

    Args:
        recipe: which layers the network has.

    Returns:
        The network, in training mode; it takes images (N, 3, 64, 64).
    """
    front = [nn.AvgPool2d(2)] if recipe.halve else []
    layers = [_beetle_net(recipe)] if recipe.blocks else _plain_layers(recipe)
    return nn.Sequential(*front, *layers)


def _beetle_net(recipe: Recipe) -> nn.Module:
    """Build BeetleNet, without the layers that a recipe does not have."""
    network = BeetleNet(classes=len(SPECIES), skips=recipe.skips)
    kept = {nn.ReLU: recipe.relu, nn.BatchNorm2d: recipe.norm}
    removed = tuple(kind for kind, is_kept in kept.items() if not is_kept)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, removed):
                setattr(parent, name, nn.Identity())
    return network


def _plain_layers(recipe: Recipe) -> list[nn.Module]:
    """Build the article's three convolutions and two linear layers, and what a recipe adds."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
        if recipe.norm:
            layers.append(nn.BatchNorm2d(outputs))
        if recipe.relu:
            layers.append(nn.ReLU())
        if recipe.pool or outputs == 128:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    layers += [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128 * 4 * 4, 512)]
    layers += [nn.ReLU()] if recipe.relu else []
    return [*layers, nn.Linear(512, len(SPECIES))]


# ---- trials --------------------------------------------------------------------------------------


def run_step(
    step: str,
    without: str = NOTHING,
    seed: int = 0,
    *,
    seen: int = SEEN,
    grade_on: int = 4,
) -> dict[str, float]:
    """Train a step's network and grade its explanations by its own ground truth.

    Repeatable to the bit on one machine with one thread of PyTorch.

    Args:
        step: one of STEPS.
        without: one of REMOVED, or NOTHING.
        seed: of the initial weights, the order of the images and the augmentation.
        seen: images to train on; fewer make a shorter trial.
        grade_on: scenes of each species on which explanations are graded.

    Returns:
        "weights", their number; "core seconds" of the training; the accuracy on 500 test images at
        ten moments (see `curve`); and the means of `ground_truth_agreement`.

    Raises:
        ValueError: for unknown names.
    """
    made = recipe(step, without)
    train, test = _world(made.images)
    with seeded_rng(seed):
        network = build(made)
    accuracy, seconds = _train(network, made, train, loader(test, 250), seed, seen)
    graded = [scene for name in SPECIES for scene in scenes("test", name, grade_on)]
    agreement = ground_truth_agreement(network, graded)
    return {
        "weights": count_weights(network),
        "core seconds": round(seconds, 1),
        **accuracy,
        **{name: round(value, 6) for name, value in agreement.items()},
    }


def _train(
    network: nn.Module,
    recipe: Recipe,
    train: TensorDataset,
    test: DataLoader[Any],
    seed: int,
    seen: int,
) -> tuple[dict[str, float], float]:
    """Train a network; return its accuracy at ten moments, and core seconds without measuring."""
    batches = loader(train, recipe.batch_size, shuffle=True, seed=seed)
    config = TrainingConfig(
        epochs=max(round(seen / recipe.images), 1),
        learning_rate=recipe.learning_rate,
        optimizer=recipe.optimizer,
        schedule=one_cycle if recipe.scheduled else None,
        label_smoothing=recipe.label_smoothing,
        augment=random_horizontal_flip if recipe.mirrored else None,
        seed=seed,
    )
    steps = config.epochs * len(batches)
    moments = {round(steps * (k + 1) / len(POINTS)): point for k, point in enumerate(POINTS)}
    accuracy, measuring = {}, 0.0

    def measure(step: int, network: nn.Module) -> None:
        nonlocal measuring
        if step in moments:
            start = time.process_time()
            accuracy[f"accuracy at {moments[step]}"] = evaluate(network, test)
            measuring += time.process_time() - start

    start = time.process_time()
    fit(network, config, batches, device="cpu", on_step=measure, progress=False)
    return accuracy, time.process_time() - start - measuring


@cache
def _world(images: int) -> tuple[TensorDataset, TensorDataset]:
    """Return the first `images` training images, and every other test image."""
    parts = load_folders(write_beetlebox(progress=False), modern_transform())
    train, test = (in_memory(part, progress=False).tensors for part in parts)
    each = images // len(SPECIES)
    kept = torch.cat([(train[1] == label).nonzero()[:each, 0] for label in range(len(SPECIES))])
    few = (part[kept] for part in train)
    return TensorDataset(*few), TensorDataset(*(part[::2] for part in test))


def ablation_trials(
    file: str | Path | None = None, *, workers: int = 1, progress: bool = True
) -> list[Row]:
    """Run every step, and the full recipe with one thing removed, from three seeds each.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.
        progress: show a bar, and a line at the end.

    Returns:
        A row for each step, thing removed and seed, with the results of `run_step`.

    Raises:
        ValueError: as `run_trials`.
    """
    each = [(step, NOTHING) for step in STEPS] + [(FULL_RECIPE, name) for name in REMOVED]
    trials = [
        {"step": step, "without": without, "seed": seed} for seed in SEEDS for step, without in each
    ]
    return run_trials(trials, run_step, file, workers=workers, progress=progress)


# ---- reading the table ---------------------------------------------------------------------------


def curve(row: Mapping[str, Any]) -> list[float]:
    """Return a trial's accuracy at each of `POINTS`.

    Args:
        row: a row of `ablation_trials`.

    Returns:
        Accuracies, from 0 to 1.
    """
    return [row[f"accuracy at {point}"] for point in POINTS]


def time_to(level: float, x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return where a curve first reaches a level, on straight lines from (0, 0), or None.

    Args:
        level: the level.
        x: the points of the curve, increasing.
        y: its heights there.

    Returns:
        The position, in the unit of x; None if the curve does not reach the level.

    Raises:
        ValueError: for lengths that differ.

    Example:
        >>> from xai_course.experiments import time_to
        >>> time_to(0.5, [10, 20], [0.4, 0.6])
        15.0
    """
    x_before, y_before = 0.0, 0.0
    for x_here, y_here in zip(x, y, strict=True):
        if y_here >= level:
            rise = y_here - y_before
            share = (level - y_before) / rise if rise > 0 else 1.0
            return x_before + share * (x_here - x_before)
        x_before, y_before = x_here, y_here
    return None
