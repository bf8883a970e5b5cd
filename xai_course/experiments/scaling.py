"""Deeper, wider, more images, longer: what each does to accuracy and to the explanations.

Every trial trains one network from nothing, by one recipe, and asks how right it is and how well
explanations of it agree with its own answer key. A second experiment explains photographs with the
functions that explain beetles.
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
from xai_course.core.maps import Explainer, map_similarity, relevance_maps
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
    "explain_photographs",
    "photograph_methods",
    "rank_transfer",
    "scale",
    "slope_per_doubling",
    "train_and_explain",
]


SHOWN = 20_000  # training pictures that a network sees, the same one again counted again
KEPT = 4000  # more training images than this are not kept in memory
EXPLAINED_BY = ("gradient", "Grad-CAM", "expected gradients", "LRP")
BASE: Row = {"blocks": 3, "width": 8, "skips": True, "images": 4000, "epochs": 5}


# Widths are multiples of 8: with fewer channels, PyTorch 2.14's convolutions on images with their
# channels last write beyond their memory in the backward pass (seen on x86-64).
# What changes along each curve, everything else as in BASE. A network has 2 · blocks + 2 layers.
CURVES: dict[str, list[Row]] = {
    "depth": [{"blocks": blocks} for blocks in (3, 9, 27)],
    "depth, no skips": [{"blocks": blocks, "skips": False} for blocks in (3, 9, 27)],
    "data": [{"images": n, "epochs": SHOWN // n} for n in (100, 500, 4000, 20_000)],
    "epochs": [{"epochs": epochs} for epochs in (1, 2, 5, 10, 20)],
    "width": [{"width": width} for width in (8, 16, 32)],
}


# ---- one network a trial -------------------------------------------------------------------------


def train_and_explain(
    blocks: int, width: int, skips: bool, images: int, epochs: int, seed: int
) -> dict[str, float]:
    """Train one BeetleNet and measure it: a trial of `scale`.

    `images`: training images, a multiple of 10; more than 4000 are drawn anew as they come.
    `seed`: of the first weights and of the order. Measured are the accuracy on the last epoch of
    training and on 1000 test images; on those also the cross-entropy "loss", in nats, and the mean
    probability of the answers, "confidence". On 40 test scenes, the mean rank agreement with the
    network's own key: of each of EXPLAINED_BY, of the edge detector, and of the best map that knows
    nothing; and the "skill" of the best method, see `ground_truth_agreement`.
    Raises ValueError as BeetleNet and `fit` do.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BeetleNet(len(SPECIES), blocks, width, skips)
    data = _drawn("train", images, images <= KEPT)
    train = loader(data, 32, shuffle=True, seed=seed)
    config = TrainingConfig(
        epochs=epochs,
        learning_rate=0.01,
        label_smoothing=0.1,
        augment=random_horizontal_flip,
        seed=seed,
    )
    history = fit(model, config, train, device="cpu", progress=False)
    logits, labels = predict(model, loader(_drawn("test", 1000, True), 250))
    some = [scene for name in SPECIES for scene in scenes("test", name, 4)]
    agreement = ground_truth_agreement(model, some, EXPLAINED_BY)
    nulls = [value for name, value in agreement.items() if name.startswith("null")]
    found = {
        "weights": count_weights(model),
        "training accuracy": history[-1].train_accuracy,
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
        "confidence": logits.softmax(1).amax(1).mean().item(),
        **{name: agreement[name] for name in EXPLAINED_BY},
        "edges": agreement["null: edges"],
        "best null": max(nulls),
        "skill": agreement["skill"],
    }
    return {name: float(f"{value:.5g}") for name, value in found.items()}


@lru_cache(maxsize=8)
def _drawn(split: str, images: int, keep: bool) -> Any:
    """Return scenes that are drawn when they are asked for, or all drawn now and kept."""
    drawn = DrawnScenes(split, images // len(SPECIES))
    return in_memory(drawn) if keep else drawn


def scale(
    file: str | Path | None = None,
    *,
    workers: int = 1,
    curves: Sequence[str] = tuple(CURVES),
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, list[Row]]:
    """Train and explain all networks of some curves: rows by curve, seed by seed.

    A network that lies on several curves is trained once. `file`, `workers`: as in `run_trials`.
    Raises ValueError for an unknown curve, and as `run_trials`.
    """
    if unknown := [name for name in curves if name not in CURVES]:
        raise ValueError(f"curves: got {unknown}; allowed are {', '.join(CURVES)}.")
    wanted = {
        name: [{**BASE, **change, "seed": seed} for seed in seeds for change in CURVES[name]]
        for name in curves
    }
    every = sorted(  # a seed at a time, so that a run that is stopped has complete curves
        {tuple(trial.items()): trial for trials in wanted.values() for trial in trials}.values(),
        key=lambda trial: trial["seed"],
    )
    rows = run_trials(every, train_and_explain, file, workers=workers)
    found = {tuple(trial.items()): row for trial, row in zip(every, rows, strict=True)}
    return {name: [found[tuple(trial.items())] for trial in wanted[name]] for name in wanted}


# ---- what the trials say -------------------------------------------------------------------------


def slope_per_doubling(x: Sequence[float], y: Sequence[float]) -> float:
    """Return how much y rises, on the whole, each time x doubles: least squares on log2 x.

    slope = Σ (u - mean u) · (y - mean y) / Σ (u - mean u)²        u = log2 x

    Raises ValueError for lengths that differ, x of 0 or less, and x that are all the same.
    """
    if len(x) != len(y) or len(set(x)) < 2 or min(x) <= 0:
        raise ValueError(
            f"x: got {list(x)} beside {len(y)} values of y; allowed are as many numbers above 0, "
            "at least two of them different."
        )
    u = torch.tensor([math.log2(value) for value in x], dtype=torch.double)
    v = torch.tensor(list(y), dtype=torch.double)
    u, v = u - u.mean(), v - v.mean()
    return float((u * v).sum() / u.square().sum())


# ---- photographs ---------------------------------------------------------------------------------


def photograph_methods(name: str) -> dict[str, Explainer]:
    """Return the course's methods and nulls, by name, with options for a photograph of 224 pixels.

    As for beetles, with three options fitted: lengths grow with the picture (occlusion's window,
    the blots of the smooth noise); black is this network's; and the expected gradients compare
    with the other photographs. Raises ValueError for an unknown name.
    """
    _, _, transform = _networks()
    black = (-torch.tensor(transform.mean) / torch.tensor(transform.std)).view(1, 3, 1, 1)
    _input(name)
    others = torch.stack([_input(other) for other in PHOTOGRAPHS if other != name])
    fitted: dict[str, Explainer] = {
        "occlusion": partial(occlusion, window=28, stride=28, batch_size=16),
        "IG, black": partial(integrated_gradients, baseline=black, steps=8, batch_size=8),
        "expected gradients": partial(expected_gradients, baselines=others, steps=2, batch_size=8),
        "null: smooth noise": partial(noise_map, smooth=14),
    }
    return {**course_methods(), **NULL_MAPS, **fitted}


def explain_photograph(photo: str, method: str) -> dict[str, float]:
    """Grade one method on one photograph by measures that need no key: a trial.

    For the class that EfficientNet-Lite0 predicts: its "probability"; deletion and insertion with
    two fillings, as in lesson 06; "randomisation", how alike the map of a network with random
    weights is; and "like edges", how alike the edge detector's map is.
    Raises ValueError for an unknown photograph or method.
    """
    known = photograph_methods(photo)
    if method not in known:
        raise ValueError(f"method: got {method!r}; allowed are {', '.join(known)}.")
    (network, blank, _), explainer, image = _networks(), known[method], _input(photo)[None]
    with torch.no_grad():
        probability, target = network(image).softmax(1).max(1)
    maps = relevance_maps(network, explainer, image, target)
    forgotten = relevance_maps(blank, explainer, image, target)
    found = {"probability": probability.item()}
    for fill in ("mean", "blur"):
        for score in (deletion, insertion):
            area = score(network, maps, image, target, fill=fill, steps=8, batch_size=16)
            found[f"{score.__name__}, {fill}"] = area.item()
    found["randomisation"] = map_similarity(maps, forgotten).item()
    found["like edges"] = map_similarity(maps, edge_map(network, image)).item()
    return {name: float(f"{value:.5g}") for name, value in found.items()}


@lru_cache(maxsize=1)
def _networks() -> tuple[Any, Any, Any]:
    """Return the photo network, the same with random weights in every layer, and the transform."""
    network, transform, _ = photo_network()
    blank = network
    for _, step in cascading_randomisation(network):
        blank = step
    return network, blank, transform


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _input(name: str) -> Tensor:
    """Return a photograph as the network's input (3, 224, 224)."""
    image: Tensor = _networks()[2](photograph(name))
    return image


def explain_photographs(
    file: str | Path | None = None,
    *,
    workers: int = 1,
    names: Sequence[str] = PHOTOGRAPHS,
) -> list[Row]:
    """Grade every method and null on photographs: a row for each photograph and method.

    `file`, `workers`: as in `run_trials`. Raises ValueError as `explain_photograph`.
    """
    methods = [*course_methods(), *NULL_MAPS]
    trials = [{"photo": name, "method": method} for name in names for method in methods]
    return run_trials(trials, explain_photograph, file, workers=workers)


def rank_transfer(
    photographs: Tensor, beetles: Tensor, *, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return whether methods come in the same order on photographs as on beetles: (ρ, low, high).

    `photographs` (P, methods): a score of each method on each photograph; `beetles` (methods,):
    their mean scores on beetles; higher is better in both.

        ρ = Spearman's correlation of (mean over photographs, beetles)

    The 95 % interval is the bootstrap's, over photographs. It says what other photographs of this
    kind would give, and not what other methods would.
    Raises ValueError for other shapes.
    """
    if photographs.ndim != 2 or beetles.shape != photographs.shape[1:]:
        raise ValueError(
            f"photographs: got {tuple(photographs.shape)} beside beetles {tuple(beetles.shape)}; "
            "allowed are (P, methods) and (methods,)."
        )
    chance, count = torch.Generator().manual_seed(seed), len(photographs)
    drawn = torch.randint(count, (samples, count), generator=chance)
    means = torch.cat([photographs.mean(0)[None], photographs[drawn].mean(1)])
    orders = spearman_with_truth(means, beetles.expand_as(means))
    low, high = orders[1:].quantile(torch.tensor([0.025, 0.975], dtype=orders.dtype)).tolist()
    return orders[0].item(), low, high
