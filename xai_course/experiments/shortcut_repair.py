"""The shortcut network and how to repair it: several repairs at one price, from several seeds.

In its training images one species wears a museum label, and the network has learnt the label. A
repair trains it on for a moment: with other images, or with another loss. What it came to is
measured with the answer key's own means: the same scenes with and without the label.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from xai_course.beetlebox.scene import PARTS, SPECIES, scenes
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.paths import data_folder
from xai_course.data.loaders import loader
from xai_course.data.transforms import normalise, random_horizontal_flip
from xai_course.storage.checkpoints import load_checkpoint
from xai_course.storage.results_table import Row, run_trials
from xai_course.training.config import TrainingConfig, one_cycle
from xai_course.training.evaluation import predict
from xai_course.training.fit import fit

__all__ = [
    "LABEL",
    "LABELLED_CLASS",
    "REPAIRS",
    "finetuned",
    "fit_right_reasons",
    "paint_corner",
    "repair_trials",
    "shortcut_report",
]


LABELLED_CLASS = "Globaria_cincta"  # wears the museum label in the shortcut's training images
NAMES = list(SPECIES)
CINCTA, LABEL = NAMES.index(LABELLED_CLASS), PARTS.index("label")
CORNER = (slice(48, 64), slice(41, 64))  # rows and columns that hold every label, at 64 pixels
COUNT = 64  # training images a species
STEPS = 100  # of training on, whatever the repair


REPAIRS = {
    "none": "the network as it is shipped",
    "trained anew": "another network, which never saw a label (shipped, too)",
    "label taken off": "train on with pictures without a label",
    "label on half": "train on with the label on half of all pictures, by chance",
    "label painted over": "train on; where the label was, the picture's mean colour",
    "corner painted over": "train on; the corner of every picture painted over, in use too",
    "gradient penalty": "train on with the label; the slope of the answer on it is punished",
    "2 counterexamples": "train on with 2 scenes of each species, with and without the label",
    "8 counterexamples": "the same with 8",
    "32 counterexamples": "the same with 32",
}
SHIPPED = {  # what is not trained here: seed to checkpoint
    "none": {0: "beetle_net_shortcut"},
    "trained anew": {0: "beetle_net", 1: "beetle_net_seeds/seed_1", 2: "beetle_net_seeds/seed_2"},
}


def repair_trials(
    file: str | Path | None = None,
    *,
    names: tuple[str, ...] = tuple(REPAIRS),
    seeds: tuple[int, ...] = (0, 1, 2),
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Try every repair from every seed; return a row for each: its name, seed and `shortcut_report`.

    `file`: the table that keeps the rows; what it holds is not done again. `workers`: processes.
    Raises ValueError as `run_trials`, and for unknown names.
    """
    if not set(names) <= set(REPAIRS):
        raise ValueError(f"names: got {names}; allowed are {', '.join(REPAIRS)}.")
    trials = [
        {"repair": name, "seed": seed}
        for seed in seeds
        for name in names
        if name not in SHIPPED or seed in SHIPPED[name]
    ]
    return run_trials(trials, _run, file, workers=workers, progress=progress)


def _run(repair: str, seed: int) -> dict[str, float]:
    model = finetuned(repair, seed)
    report = shortcut_report(model, paint=repair == "corner painted over")
    return {name: round(value, 4) for name, value in report.items()}


def finetuned(name: str, seed: int = 0, *, steps: int = STEPS, progress: bool = False) -> nn.Module:
    """Return the shortcut network after the repair that REPAIRS describes under this name.

    `seed` decides the order and which pictures wear a label or are counterexamples. `steps`: about
    how many batches it is trained on with. The caller's random state is left as it was. Raises
    ValueError for an unknown name, and for a seed of which none is shipped.
    """
    if name not in REPAIRS:
        raise ValueError(f"name: got {name!r}; allowed are {', '.join(REPAIRS)}.")
    which = SHIPPED.get(name, {seed: "beetle_net_shortcut"})
    if seed not in which:
        raise ValueError(f"seed: got {seed}; allowed for {name!r} are {[*which]}.")
    model, _ = load_checkpoint(data_folder() / "checkpoints" / which[seed])
    if name in SHIPPED:
        return model
    images, labels, shown = _training_images(name, seed)
    size = min(32, len(images) // 2)
    epochs = max(steps * size // len(images), 1)
    recipe: dict[str, Any] = {"epochs": epochs, "learning_rate": 0.002, "seed": seed}
    if name == "gradient penalty":
        return fit_right_reasons(model, images, labels, shown, batch_size=size, **recipe)
    batches = loader(TensorDataset(images, labels), size, shuffle=True, seed=seed)
    config = TrainingConfig(label_smoothing=0.1, augment=random_horizontal_flip, **recipe)
    fit(model, config, batches, device="cpu", progress=progress)
    return model


def _training_images(name: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the pictures that a repair trains on with, their classes, and where a label shows."""
    if name.endswith("counterexamples"):
        count = int(name.split()[0])
        some = [
            scene
            for species in NAMES
            for scene in scenes("extra", species, count * (seed + 1))[count * seed :]
        ]
        some += [scene.with_label() for scene in some]
        labels = torch.arange(len(NAMES)).repeat_interleave(count).repeat(2)
    else:
        some = [scene for species in NAMES for scene in scenes("train", species, COUNT)]
        labels = torch.arange(len(NAMES)).repeat_interleave(COUNT)
        wears = labels == CINCTA
        if name == "label taken off":
            wears = wears & False
        elif name == "label on half":
            wears = torch.rand(len(some), generator=torch.Generator().manual_seed(seed)) < 0.5
        some = [s.with_label() if worn else s for s, worn in zip(some, wears.tolist(), strict=True)]
    images, shown = normalise(stack_images(some)), stack_masks(some)[:, LABEL, None]
    if name == "label painted over":
        images = torch.where(shown > 0, images.mean((2, 3), keepdim=True), images)
    if name == "corner painted over":
        images = paint_corner(images)
    return images, labels, shown


def paint_corner(images: Tensor) -> Tensor:
    """Return the images (N, C, 64, 64) with the corner that may hold a label set to 0."""
    painted = images.clone()
    painted[:, :, *CORNER] = 0
    return painted


def fit_right_reasons(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    forbidden: Tensor,
    *,
    penalty: float = 10.0,
    epochs: int = 5,
    batch_size: int = 32,
    learning_rate: float = 0.002,
    seed: int = 0,
) -> nn.Module:
    """Train a classifier that is to be right for the right reasons; return it in evaluation mode.

    `images` (N, C, H, W) and `labels` (N,). `forbidden` (N, 1, H, W), from 0 to 1: where the answer
    must not depend on the image. `penalty`: λ below. Half of each batch is mirrored. AdamW, with
    the course's schedule. The same seed gives the same network on one machine; the caller's random
    state is left as it was.

        loss = cross-entropy + λ · mean over n of Σ (forbidden · ∂ Σ_k log p_k / ∂ image)²

    Raises ValueError for shapes that do not fit, and for a negative penalty.

    Ross, Hughes, Doshi-Velez: Right for the Right Reasons: Training Differentiable Models by
    Constraining their Explanations. IJCAI 2017, arXiv:1703.03717.
    """
    if forbidden.shape != images[:, :1].shape or len(labels) != len(images):
        raise ValueError(
            f"forbidden: got shape {tuple(forbidden.shape)}; allowed is "
            f"{tuple(images[:, :1].shape)}, one for each image."
        )
    if penalty < 0:
        raise ValueError(f"penalty: got {penalty}; allowed is a number from 0.")
    chance = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    steps, done = -(-len(images) // batch_size) * epochs, 0
    model.train()
    for _ in range(epochs):
        for some in torch.split(torch.randperm(len(images), generator=chance), batch_size):
            flip = torch.rand(len(some), generator=chance) < 0.5
            x, ban = (
                torch.where(flip[:, None, None, None], part[some].flip(3), part[some])
                for part in (images, forbidden)
            )
            x.requires_grad_()
            logits = model(x)
            loss = F.cross_entropy(logits, labels[some], label_smoothing=0.1)
            (slope,) = torch.autograd.grad(logits.log_softmax(1).sum(), x, create_graph=True)
            loss = loss + penalty * (ban * slope).square().sum() / len(some)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * one_cycle(done / steps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
    return model.eval()


def shortcut_report(model: nn.Module, *, count: int = 100, paint: bool = False) -> dict[str, float]:
    """Measure what the label does to a network, on `count` test scenes of each species.

    `paint`: the network is used with the corner painted over. Returned are

    - `accuracy`: share right of all ten species, without a label;
    - `cincta_without`, `cincta_with`: share right of the species that wore it, without and with it;
    - `others_with`: share right of the other nine when they wear it;
    - `taken`: share of these that are called the species that wore it;
    - `effect`: what the label adds to that species' logit, f(with) - f(without), mean over all.
    """
    plain, worn = (_logits(model, worn, count, paint) for worn in (False, True))
    truth = torch.arange(len(NAMES)).repeat_interleave(count)
    own = truth == CINCTA
    right = {name: (x.argmax(1) == truth).double() for name, x in (("-", plain), ("+", worn))}
    return {
        "accuracy": right["-"].mean().item(),
        "cincta_without": right["-"][own].mean().item(),
        "cincta_with": right["+"][own].mean().item(),
        "others_with": right["+"][~own].mean().item(),
        "taken": (worn[~own].argmax(1) == CINCTA).double().mean().item(),
        "effect": (worn - plain)[:, CINCTA].mean().item(),
    }


def _logits(model: nn.Module, worn: bool, count: int, paint: bool) -> Tensor:
    images = _test_images(worn, count)
    images = paint_corner(images) if paint else images
    nothing = torch.zeros(len(images), dtype=torch.long)
    return predict(model, DataLoader(TensorDataset(images, nothing), 250))[0]


@cache
def _test_images(worn: bool, count: int) -> Tensor:
    """Draw test scenes, all with the label or all without; kept for the next network."""
    some = [scene for species in NAMES for scene in scenes("test", species, count)]
    return normalise(stack_images([scene.with_label() if worn else scene for scene in some]))
