"""Lesson 11: deeper, wider, more images, longer: the effect on accuracy and on explanations.

Every trial trains one network from random weights, by one recipe, and measures its accuracy and how
well explanations of it agree with its own ground truth. A second experiment explains photographs
with the functions that explain beetles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xai_course.beetlebox.scene import SPECIES, scenes
from xai_course.beetlebox.scores import spearman_with_truth
from xai_course.beetlebox.tensors import DrawnScenes
from xai_course.core.checks import check_choice
from xai_course.core.maps import Explainer, map_similarity, relevance_maps
from xai_course.core.randomness import seeded_rng
from xai_course.data.loaders import in_memory, loader
from xai_course.data.photographs import PHOTOGRAPHS, photograph
from xai_course.data.transforms import random_horizontal_flip
from xai_course.experiments.grading import ground_truth_agreement
from xai_course.methods import NULL_MAPS, course_methods
from xai_course.metrics.faithfulness import deletion, insertion
from xai_course.metrics.null_maps import edge_map, noise_map
from xai_course.metrics.randomisation import cascading_randomisation
from xai_course.models.beetle_net import BeetleNet, count_weights
from xai_course.models.pretrained import photo_network
from xai_course.residual.integrated_gradients import expected_gradients, integrated_gradients
from xai_course.residual.occlusion import occlusion
from xai_course.storage.results_table import Row, run_trials
from xai_course.training.config import TrainingConfig
from xai_course.training.evaluation import predict
from xai_course.training.fit import fit

__all__ = [
    "CURVES",
    "EXPLAINED_BY",
    "explain_photograph",
    "photograph_methods",
    "photograph_trials",
    "rank_transfer",
    "scaling_trials",
    "slope_per_doubling",
    "train_and_explain",
]


IMAGES_SEEN = 20_000  # by each network of the curve "data", the same image counted each time
MOST_IN_MEMORY = 4000  # more training images than this are drawn again in each epoch
EXPLAINED_BY = ("gradient", "Grad-CAM", "expected gradients", "LRP")
BASE: Row = {"blocks": 3, "width": 8, "skips": True, "images": 4000, "epochs": 5}


# Widths are multiples of 8: with fewer channels, PyTorch 2.14's convolutions on images with their
# channels last write beyond their memory in the backward pass (seen on x86-64).
# What changes along each curve, everything else as in BASE. A network has 2 · blocks + 2 layers.
CURVES: dict[str, list[Row]] = {
    "depth": [{"blocks": blocks} for blocks in (3, 9, 27)],
    "depth, no skips": [{"blocks": blocks, "skips": False} for blocks in (3, 9, 27)],
    "data": [{"images": n, "epochs": IMAGES_SEEN // n} for n in (100, 500, 4000, 20_000)],
    "epochs": [{"epochs": epochs} for epochs in (1, 2, 5, 10, 20)],
    "width": [{"width": width} for width in (8, 16, 32)],
}


# ---- one network a trial -------------------------------------------------------------------------


def train_and_explain(
    blocks: int, width: int, skips: bool, images: int, epochs: int, seed: int
) -> dict[str, float]:
    """Train one BeetleNet and measure it: a trial of `scaling_trials`.

    Args:
        blocks: residual blocks.
        width: channels of the first block.
        skips: whether there are skip connections.
        images: training images, a multiple of 10. More than 4000 are drawn again in each epoch.
        epochs: passes over them.
        seed: of the initial weights and of the order.

    Returns:
        "weights", their number; "training accuracy" in the last epoch; and on 1000 test images
        "accuracy", "loss" (cross-entropy, in nats) and "confidence" (mean probability of the
        predicted class). On 40 test scenes, the mean rank agreement with the network's own ground
        truth: of each of EXPLAINED_BY, of the edge detector ("edges"), of "bright edges" and of the
        best null map ("best null"); and the "skill" of the best method, see
        `ground_truth_agreement`.

    Raises:
        ValueError: as BeetleNet and `fit` do.
    """
    with seeded_rng(seed):
        model = BeetleNet(len(SPECIES), blocks, width, skips)
    train = loader(_drawn("train", images, images <= MOST_IN_MEMORY), 32, shuffle=True, seed=seed)
    config = TrainingConfig(
        epochs=epochs,
        learning_rate=0.01,
        label_smoothing=0.1,
        augment=random_horizontal_flip,
        seed=seed,
    )
    history = fit(model, config, train, device="cpu", progress=False)
    logits, labels = predict(model, loader(_drawn("test", 1000, True), 250))
    explained = [scene for name in SPECIES for scene in scenes("test", name, 4)]
    agreement = ground_truth_agreement(model, explained, EXPLAINED_BY)
    null_maps = [value for name, value in agreement.items() if name.startswith("null")]
    results = {
        "weights": count_weights(model),
        "training accuracy": history[-1].train_accuracy,
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
        "confidence": logits.softmax(1).amax(1).mean().item(),
        **{name: agreement[name] for name in EXPLAINED_BY},
        "edges": agreement["null: edges"],
        "bright edges": agreement["null: bright edges"],
        "best null": max(null_maps),
        "skill": agreement["skill"],
    }
    return _five_digits(results)


@lru_cache(maxsize=8)
def _drawn(split: str, images: int, in_advance: bool) -> Any:
    """Return scenes that are all drawn in advance and kept, or drawn when they are asked for."""
    drawn = DrawnScenes(split, images // len(SPECIES))
    return in_memory(drawn, progress=False) if in_advance else drawn


def _five_digits(results: dict[str, float]) -> dict[str, float]:
    """Round to five significant digits, as the tables hold them."""
    return {name: float(f"{value:.5g}") for name, value in results.items()}


def scaling_trials(
    file: str | Path | None = None,
    *,
    workers: int = 1,
    curves: Sequence[str] = tuple(CURVES),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, list[Row]]:
    """Train and explain all networks of some curves.

    A network that lies on several curves is trained once.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.
        curves: names from CURVES.
        seeds: of each network.

    Returns:
        The rows of each curve, seed by seed: settings and results of `train_and_explain`.

    Raises:
        ValueError: for an unknown curve, and as `run_trials`.
    """
    for name in curves:
        check_choice("curves", name, CURVES)
    wanted = {
        name: [{**BASE, **change, "seed": seed} for seed in seeds for change in CURVES[name]]
        for name in curves
    }
    distinct = {_key(trial): trial for trials in wanted.values() for trial in trials}
    # One seed after the other, so that a run that is stopped has complete curves.
    trials = sorted(distinct.values(), key=lambda trial: trial["seed"])
    rows = run_trials(trials, train_and_explain, file, workers=workers)
    row_of = {_key(trial): row for trial, row in zip(trials, rows, strict=True)}
    return {name: [row_of[_key(trial)] for trial in wanted[name]] for name in wanted}


def _key(trial: Row) -> tuple[tuple[str, Any], ...]:
    """Return a trial's settings as something that can be compared and looked up."""
    return tuple(trial.items())


# ---- what the trials show ------------------------------------------------------------------------


def slope_per_doubling(x: Sequence[float], y: Sequence[float]) -> float:
    """Return how much y rises, on average, each time x doubles: least squares on log2 x.

        slope = Σ (u - mean u) · (y - mean y) / Σ (u - mean u)²        u = log2 x

    Args:
        x: numbers above 0, at least two of them different.
        y: as many numbers.

    Returns:
        The slope, in the unit of y.

    Raises:
        ValueError: for lengths that differ, x of 0 or less, and x that are all the same.

    Example:
        >>> from xai_course.experiments import slope_per_doubling
        >>> slope_per_doubling([1, 2, 4], [5.0, 6.0, 7.0])
        1.0
    """
    if len(x) != len(y) or len(set(x)) < 2 or min(x) <= 0:
        raise ValueError(
            f"x: got {list(x)} beside {len(y)} values of y; must be as many numbers above 0, "
            "at least two of them different."
        )
    u = torch.tensor([math.log2(value) for value in x], dtype=torch.double)
    v = torch.tensor(list(y), dtype=torch.double)
    u, v = u - u.mean(), v - v.mean()
    return float((u * v).sum() / u.square().sum())


# ---- photographs ---------------------------------------------------------------------------------


def photograph_methods(name: str) -> dict[str, Explainer]:
    """Return the course's methods and null maps with options for a photograph of 224 pixels.

    As for beetles, with three options fitted. Lengths grow with the image (occlusion's window, the
    spots of the smooth noise); black is this network's; and the expected gradients compare with the
    other photographs.

    Args:
        name: one of PHOTOGRAPHS.

    Returns:
        Explainers by name.

    Raises:
        ValueError: for an unknown name.
    """
    _, _, transform = _networks()
    black = (-torch.tensor(transform.mean) / torch.tensor(transform.std)).view(1, 3, 1, 1)
    _input(name)  # raises ValueError for an unknown name
    others = torch.stack([_input(other) for other in PHOTOGRAPHS if other != name])
    fitted: dict[str, Explainer] = {
        "occlusion": partial(occlusion, window=28, stride=28, batch_size=16),
        "IG, black": partial(integrated_gradients, baseline=black, steps=8, batch_size=8),
        "expected gradients": partial(expected_gradients, baselines=others, steps=2, batch_size=8),
        "null: smooth noise": partial(noise_map, smooth=14),
    }
    return {**course_methods(), **NULL_MAPS, **fitted}


def explain_photograph(photo: str, method: str) -> dict[str, float]:
    """Grade one method on one photograph by measures that need no ground truth: a trial.

    The class explained is the one that EfficientNet-Lite0 predicts.

    Args:
        photo: one of PHOTOGRAPHS.
        method: a name from `photograph_methods`.

    Returns:
        "probability" of the class; deletion and insertion with two fillings, as in lesson 09;
        "randomisation", the similarity of the map to that of a network with random weights; and
        "like edges", its similarity to the edge detector's map.

    Raises:
        ValueError: for an unknown photograph or method.
    """
    methods = photograph_methods(photo)
    check_choice("method", method, methods)
    network, random_network, _ = _networks()
    explainer, image = methods[method], _input(photo)[None]  # (1, 3, 224, 224)
    with torch.no_grad():
        probability, target = network(image).softmax(1).max(1)
    maps = relevance_maps(network, explainer, image, target)
    random_maps = relevance_maps(random_network, explainer, image, target)
    results = {"probability": probability.item()}
    for fill in ("mean", "blur"):
        for score in (deletion, insertion):
            area = score(network, maps, image, target, fill=fill, steps=8, batch_size=16)
            results[f"{score.__name__}, {fill}"] = area.item()
    results["randomisation"] = map_similarity(maps, random_maps).item()
    results["like edges"] = map_similarity(maps, edge_map(network, image)).item()
    return _five_digits(results)


@lru_cache(maxsize=1)
def _networks() -> tuple[Any, Any, Any]:
    """Return the photo network, the same with random weights in every layer, and the transform."""
    network, transform, _ = photo_network()
    random_network = network
    for _, randomised in cascading_randomisation(network):
        random_network = randomised  # the last one has no trained layer left
    return network, random_network, transform


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _input(name: str) -> Tensor:
    """Return a photograph as the network's input (3, 224, 224)."""
    image: Tensor = _networks()[2](photograph(name))
    return image


def photograph_trials(
    file: str | Path | None = None,
    *,
    workers: int = 1,
    names: Sequence[str] = PHOTOGRAPHS,
) -> list[Row]:
    """Grade every method and null map on photographs.

    Args:
        file: the table that keeps the rows; None keeps none.
        workers: processes.
        names: of the photographs.

    Returns:
        A row for each photograph and method, with the results of `explain_photograph`.

    Raises:
        ValueError: as `explain_photograph` and `run_trials`.
    """
    methods = [*course_methods(), *NULL_MAPS]
    trials = [{"photo": name, "method": method} for name in names for method in methods]
    return run_trials(trials, explain_photograph, file, workers=workers)


def rank_transfer(
    photographs: Tensor, beetles: Tensor, *, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return whether methods have the same order on photographs as on beetles.

        ρ = Spearman's correlation of (mean over photographs, beetles)

    The interval is the bootstrap's, over photographs. It tells what other photographs of this kind
    would give, and not what other methods would.

    Args:
        photographs: (P, methods), a score of each method on each photograph; higher is better.
        beetles: (methods,), their mean scores on beetles; higher is better.
        samples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        ρ and the ends of its 95 % interval.

    Raises:
        ValueError: for other shapes.

    Example:
        >>> import torch
        >>> from xai_course.experiments import rank_transfer
        >>> scores = torch.arange(5.0)
        >>> rank_transfer(scores.repeat(3, 1), scores)
        (1.0, 1.0, 1.0)
    """
    if photographs.ndim != 2 or beetles.shape != photographs.shape[1:]:
        raise ValueError(
            f"photographs: got {tuple(photographs.shape)} beside beetles {tuple(beetles.shape)}; "
            "must be (P, methods) and (methods,)."
        )
    generator, count = torch.Generator().manual_seed(seed), len(photographs)
    drawn = torch.randint(count, (samples, count), generator=generator)
    # (1 + samples, methods): the mean over all photographs, then over each bootstrap sample
    means = torch.cat([photographs.mean(0)[None], photographs[drawn].mean(1)])
    correlations = spearman_with_truth(means, beetles.expand_as(means))
    low, high = (
        correlations[1:].quantile(torch.tensor([0.025, 0.975], dtype=correlations.dtype)).tolist()
    )
    return correlations[0].item(), low, high
