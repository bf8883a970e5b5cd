"""Lesson 13: repairs of a network that has learnt a shortcut, and what each of them achieves.

In the shortcut's training images one species alone wears a museum label, so the network of the
course that was trained on them, `beetle_net_shortcut`, reads the label.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from xai_course.beetlebox.scene import PARTS, SPECIES, Scene, scenes
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.checks import check_choice, check_number
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
CLASSES = list(SPECIES)
LABELLED_INDEX = CLASSES.index(LABELLED_CLASS)
LABEL = PARTS.index("label")
CORNER = (slice(48, 64), slice(41, 64))  # rows and columns that hold every label, at 64 pixels
IMAGES_EACH = 64  # training images of each species
BATCHES = 100  # of finetuning, whatever the repair


REPAIRS = {
    "none": "the network as it is shipped",
    "trained anew": "another network, which never saw a label (shipped, too)",
    "label taken off": "finetuned on images without a label",
    "label on half": "finetuned with the label on half of all images, at random",
    "label painted over": "finetuned; where the label was, the image's mean colour",
    "corner painted over": "finetuned; the corner of every image painted over, in use too",
    "gradient penalty": "finetuned with the label; the gradient on it is penalised",
    "2 counterexamples": "finetuned on 2 scenes of each species, with and without the label",
    "8 counterexamples": "the same with 8",
    "32 counterexamples": "the same with 32",
}
SHIPPED = {  # what is not trained here: seed to checkpoint
    "none": {0: "beetle_net_shortcut"},
    "trained anew": {0: "beetle_net", 1: "beetle_net_seeds/seed_1", 2: "beetle_net_seeds/seed_2"},
}


# ---- trials --------------------------------------------------------------------------------------


def repair_trials(
    file: str | Path | None = None,
    *,
    names: tuple[str, ...] = tuple(REPAIRS),
    seeds: tuple[int, ...] = (0, 1, 2),
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Try every repair from every seed.

    Args:
        file: the table that keeps the rows; None keeps none.
        names: of the repairs.
        seeds: of each repair.
        workers: processes.
        progress: show a bar, and a line at the end.

    Returns:
        A row for each repair and seed, with the results of `shortcut_report`.

    Raises:
        ValueError: for unknown names, and as `run_trials`.
    """
    for name in names:
        check_choice("names", name, REPAIRS)
    trials = [
        {"repair": name, "seed": seed}
        for seed in seeds
        for name in names
        if name not in SHIPPED or seed in SHIPPED[name]
    ]
    return run_trials(trials, _run, file, workers=workers, progress=progress)


def _run(repair: str, seed: int) -> dict[str, float]:
    """Repair and measure the network: a trial of `repair_trials`."""
    report = shortcut_report(finetuned(repair, seed), painted=repair == "corner painted over")
    return {name: round(value, 4) for name, value in report.items()}


def shortcut_report(
    model: nn.Module, *, count: int = 100, painted: bool = False
) -> dict[str, float]:
    """Measure what the label does to a network.

    Args:
        model: a classifier of beetles.
        count: test scenes of each species.
        painted: whether the network is used with the corner painted over.

    Returns:
        "accuracy" on all ten species, without a label;
        "labelled_species_without_label", "labelled_species_with_label": recall of the species that
        wore the label in training;
        "other_species_with_label": recall of the other nine when they wear it;
        "other_species_with_label_taken_for_it": share of these that are predicted as the species
        that wore it;
        "effect": what the label adds to that species' logit, f(with) - f(without), mean over all.
    """
    plain = _logits(model, False, count, painted)
    labelled = _logits(model, True, count, painted)
    labels = torch.arange(len(CLASSES)).repeat_interleave(count)
    wore_it = labels == LABELLED_INDEX
    plain_correct = (plain.argmax(1) == labels).double()
    labelled_correct = (labelled.argmax(1) == labels).double()
    taken_for_it = (labelled.argmax(1) == LABELLED_INDEX).double()
    return {
        "accuracy": plain_correct.mean().item(),
        "labelled_species_without_label": plain_correct[wore_it].mean().item(),
        "labelled_species_with_label": labelled_correct[wore_it].mean().item(),
        "other_species_with_label": labelled_correct[~wore_it].mean().item(),
        "other_species_with_label_taken_for_it": taken_for_it[~wore_it].mean().item(),
        "effect": (labelled - plain)[:, LABELLED_INDEX].mean().item(),
    }


def _logits(model: nn.Module, labelled: bool, count: int, painted: bool) -> Tensor:
    """Return the logits (N, classes) of test scenes, with or without the label."""
    images = _test_images(labelled, count)
    images = paint_corner(images) if painted else images
    unused = torch.zeros(len(images), dtype=torch.long)
    return predict(model, DataLoader(TensorDataset(images, unused), 250))[0]


@cache
def _test_images(labelled: bool, count: int) -> Tensor:
    """Draw test scenes, all with the label or all without; kept for the next network."""
    drawn = [scene for species in CLASSES for scene in scenes("test", species, count)]
    return normalise(stack_images([scene.with_label() for scene in drawn] if labelled else drawn))


# ---- repairs -------------------------------------------------------------------------------------


def finetuned(
    name: str, seed: int = 0, *, steps: int = BATCHES, progress: bool = False
) -> nn.Module:
    """Return the shortcut network after a repair. The caller's random state is restored.

    Args:
        name: one of REPAIRS, which describes it.
        seed: decides the order, and which images wear a label or are counterexamples.
        steps: about how many batches it is finetuned on.
        progress: show a bar, and a line at the end.

    Returns:
        The network, in evaluation mode.

    Raises:
        ValueError: for an unknown name, and for a seed of which none is shipped.
    """
    check_choice("name", name, REPAIRS)
    checkpoints = SHIPPED.get(name, {seed: "beetle_net_shortcut"})
    check_choice("seed", seed, checkpoints)
    model, _ = load_checkpoint(data_folder() / "checkpoints" / checkpoints[seed])
    if name in SHIPPED:
        return model
    images, labels, label_masks = _training_images(name, seed)
    batch_size = min(32, len(images) // 2)
    epochs = max(steps * batch_size // len(images), 1)
    if name == "gradient penalty":
        return fit_right_reasons(
            model, images, labels, label_masks, epochs=epochs, batch_size=batch_size, seed=seed
        )
    config = TrainingConfig(
        epochs=epochs,
        learning_rate=0.002,
        label_smoothing=0.1,
        augment=random_horizontal_flip,
        seed=seed,
    )
    batches = loader(TensorDataset(images, labels), batch_size, shuffle=True, seed=seed)
    fit(model, config, batches, device="cpu", progress=progress)
    return model


def _training_images(name: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the images that a repair is trained on, their classes, and the masks of their labels."""
    if name.endswith("counterexamples"):
        drawn, labels = _counterexamples(int(name.split()[0]), seed)
    else:
        drawn = [scene for species in CLASSES for scene in scenes("train", species, IMAGES_EACH)]
        labels = torch.arange(len(CLASSES)).repeat_interleave(IMAGES_EACH)
        wears_label = _wears_label(name, labels, seed).tolist()
        drawn = [s.with_label() if w else s for s, w in zip(drawn, wears_label, strict=True)]
    images, masks = normalise(stack_images(drawn)), stack_masks(drawn)[:, LABEL, None]
    if name == "label painted over":
        images = torch.where(masks > 0, images.mean((2, 3), keepdim=True), images)
    if name == "corner painted over":
        images = paint_corner(images)
    return images, labels, masks  # (N, 3, 64, 64), (N,), (N, 1, 64, 64)


def _counterexamples(count: int, seed: int) -> tuple[list[Scene], Tensor]:
    """Draw scenes of each species without and then with the label, and their classes."""
    drawn = [
        scene
        for species in CLASSES
        for scene in scenes("extra", species, count * (seed + 1))[count * seed :]
    ]
    labels = torch.arange(len(CLASSES)).repeat_interleave(count).repeat(2)
    return drawn + [scene.with_label() for scene in drawn], labels


def _wears_label(name: str, labels: Tensor, seed: int) -> Tensor:
    """Tell which training scenes wear the label, (N,), for a repair without counterexamples."""
    if name == "label taken off":
        return torch.zeros(len(labels), dtype=torch.bool)
    if name == "label on half":
        return torch.rand(len(labels), generator=torch.Generator().manual_seed(seed)) < 0.5
    return labels == LABELLED_INDEX


def paint_corner(images: Tensor) -> Tensor:
    """Return images with the corner that may hold a label set to 0.

    Args:
        images: (N, C, 64, 64).

    Returns:
        A copy (N, C, 64, 64).
    """
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
    """Train a classifier whose output must not depend on a part of the image.

        loss = cross-entropy + λ · mean over n of Σ (forbidden · ∂ Σ_k log p_k / ∂ image)²

    Half of each batch is mirrored. AdamW, with the schedule `one_cycle`. The same seed gives the
    same network on one machine; the caller's random state is not used.

    Args:
        model: a classifier that returns logits (N, classes); it is trained in place.
        images: (N, C, H, W).
        labels: class indices (N,).
        forbidden: (N, 1, H, W), from 0 to 1: where the output must not depend on the image.
        penalty: λ, at least 0.
        epochs: passes over the images.
        batch_size: images in a batch.
        learning_rate: the largest one.
        seed: of the order and of the mirroring.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: for shapes that do not fit, and for a negative penalty.

    References:
        Ross, Hughes, Doshi-Velez: Right for the Right Reasons: Training Differentiable Models by
        Constraining their Explanations. IJCAI 2017, arXiv:1703.03717.
    """
    if forbidden.shape != images[:, :1].shape or len(labels) != len(images):
        raise ValueError(
            f"forbidden: got shape {tuple(forbidden.shape)}; must be "
            f"{tuple(images[:, :1].shape)}, one for each image."
        )
    check_number("penalty", penalty, least=0)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    steps, step = -(-len(images) // batch_size) * epochs, 0
    model.train()
    for _ in range(epochs):
        for index in torch.split(torch.randperm(len(images), generator=generator), batch_size):
            mirrored = (torch.rand(len(index), generator=generator) < 0.5)[:, None, None, None]
            x = torch.where(mirrored, images[index].flip(3), images[index])
            mask = torch.where(mirrored, forbidden[index].flip(3), forbidden[index])
            loss = _right_reasons_loss(model, x, labels[index], mask, penalty)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * one_cycle(step / steps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
    return model.eval()


def _right_reasons_loss(
    model: nn.Module, x: Tensor, labels: Tensor, forbidden: Tensor, penalty: float
) -> Tensor:
    """Return the loss of `fit_right_reasons` on one batch."""
    x.requires_grad_()
    logits = model(x)
    loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
    # The graph is kept, because the penalty is differentiated once more, by the weights.
    (grad,) = torch.autograd.grad(logits.log_softmax(1).sum(), x, create_graph=True)
    return loss + penalty * (forbidden * grad).square().sum() / len(x)
