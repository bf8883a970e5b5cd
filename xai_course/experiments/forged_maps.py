"""Lesson 13: images are changed so that one method's map is forged; what do all methods show?

Two forgeries. *Misdirect*: the map of an honest network is moved to a corner where nothing is.
*Hide the shortcut*: the map of a network that reads a label no longer shows the label. Which other
methods are deceived, beside the one that was targeted, and what is the ground truth?
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xai_course.beetlebox.scene import PARTS, SPECIES, Scene, scenes
from xai_course.beetlebox.scores import part_relevance, spearman_with_truth
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.maps import Explainer, map_similarity, relevance_maps
from xai_course.core.paths import data_folder
from xai_course.core.statistics import detected_at_fpr, mean_interval
from xai_course.data.transforms import normalise
from xai_course.experiments.grading import EvaluationSet, grade
from xai_course.experiments.shortcut_repair import LABEL, LABELLED_CLASS
from xai_course.methods import course_methods
from xai_course.metrics.localisation import relevance_mass
from xai_course.models.wrappers import NormalisingModel
from xai_course.relu.gradients import gradient
from xai_course.robustness.attacks import random_perturbation
from xai_course.robustness.map_manipulation import MANIPULABLE, manipulate_map, softplus_relus
from xai_course.storage.checkpoints import load_checkpoint
from xai_course.storage.results_table import Row, run_trials

__all__ = [
    "EPSILON",
    "TARGET_METHODS",
    "changed_image_effects",
    "corner_disc",
    "forge_images",
    "hide_shortcut_trials",
    "misdirect_trials",
]


EPSILON = 8 / 255
BETAS = {"β = 3": 3.0, "β = 1": 1.0, "β = 0.3": 0.3}  # defenders who show a smoothed gradient
TARGET_METHODS = ("noise", *MANIPULABLE, *BETAS)  # noise: of the same size, aimed at nothing


# ---- trials --------------------------------------------------------------------------------------


def misdirect_trials(
    file: str | Path | None = None,
    *,
    targets: Sequence[str] = TARGET_METHODS,
    methods: Sequence[str] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Move the maps of BeetleNet to a corner, by forged images of 20 beetles.

    Args:
        file: the table that keeps the rows; None keeps none.
        targets: the methods whose map is forged, of TARGET_METHODS.
        methods: the methods that explain the forged images, by name; None for all.
        workers: processes.
        progress: show a bar, and a line at the end.

    Returns:
        A row for each `target_method` and `method`. Its results are means, each with the ends
        `_low` and `_high` of its 95 % interval:
        "similarity" of the map to that of the honest image (rank correlation);
        "on_target", the share of positive relevance on the disc (`corner_disc`);
        "agreement" with the ground truth of the forged image;
        "on_target_before", "agreement_before": the same of the honest image.

    Raises:
        ValueError: as `run_trials`.
    """
    names = list(_methods()) if methods is None else methods
    trials = [{"target_method": target, "method": method} for target in targets for method in names]
    return run_trials(trials, _measure_misdirected, file, workers=workers, progress=progress)


def hide_shortcut_trials(
    file: str | Path | None = None,
    *,
    targets: Sequence[str] = ("noise", *MANIPULABLE),
    methods: Sequence[str] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Hide the label from the maps of the shortcut network, by forged images of 20 beetles.

    The map that is wanted is the clean network's gradient for the same image, without the label.

    Args:
        file: the table that keeps the rows; None keeps none.
        targets: the methods whose map is forged.
        methods: the methods that explain the forged images, by name; None for all.
        workers: processes.
        progress: show a bar, and a line at the end.

    Returns:
        Rows as from `misdirect_trials`. "on_target" is the share of positive relevance on the
        label, "alarm" the share of images in which that is above 95 % of the clean network's
        (lesson 09), "effect" what the label adds to the logit; each also with `_before`.

    Raises:
        ValueError: as `run_trials`.
    """
    names = list(course_methods()) if methods is None else methods
    trials = [{"target_method": target, "method": method} for target in targets for method in names]
    return run_trials(trials, _measure_hidden, file, workers=workers, progress=progress)


def _methods() -> dict[str, Explainer]:
    """Return the course's methods, and the gradients of smoothed networks."""

    def smoothed_gradient(beta: float) -> Explainer:
        def explain(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
            with softplus_relus(beta):
                return gradient(model, images, targets)

        return explain

    return course_methods() | {name: smoothed_gradient(beta) for name, beta in BETAS.items()}


def _measure_misdirected(target_method: str, method: str) -> dict[str, float]:
    """Explain honest and forged images: a trial of `misdirect_trials`."""
    case = _misdirect(target_method)
    before, after = case.explain(_methods()[method])
    masks = stack_masks(case.scenes)

    def agreement(relevance: Tensor, pixels: Tensor) -> Tensor:
        return spearman_with_truth(part_relevance(relevance, masks), case.effects(pixels))

    return _with_intervals(
        similarity=map_similarity(before, after),
        on_target_before=case.on_target(before),
        agreement_before=agreement(before, case.honest),
        on_target=case.on_target(after),
        agreement=agreement(after, case.forged),
    )


def _measure_hidden(target_method: str, method: str) -> dict[str, float]:
    """Explain honest and forged images: a trial of `hide_shortcut_trials`."""
    case = _hide_shortcut(target_method)
    before, after = case.explain(course_methods()[method])
    on_label_before, on_label = case.on_target(before), case.on_target(after)
    clean = _clean_label_mass(method)
    return _with_intervals(
        on_target_before=on_label_before,
        on_target=on_label,
        alarm_before=detected_at_fpr(on_label_before, clean),
        alarm=detected_at_fpr(on_label, clean),
        effect_before=case.effects(case.honest)[:, LABEL],
        effect=case.effects(case.forged)[:, LABEL],
    )


def _clean_label_mass(method: str) -> Tensor:
    """Return the relevance on the label in the clean network's maps, as lesson 09 grades it."""
    labelled = [scene.with_label() for scene in scenes("test", LABELLED_CLASS, 100)]
    table = grade(
        _network("beetle_net"),
        course_methods(),
        labelled,
        measures={"label": _label_mass},
        file=data_folder() / "grades" / "label_clean.csv",
        progress=False,
    )
    return table[method]["label"]


def _label_mass(data: EvaluationSet, _explainer: object, maps: Tensor) -> Tensor:
    """Return the share of positive relevance on the label, (N,): a measure for `grade`."""
    return relevance_mass(data.model, maps, data.images, data.masks[:, LABEL, None])


def _with_intervals(**values: Tensor) -> dict[str, float]:
    """Return the mean of each row of values, and the ends of its 95 % interval, by name."""
    return {
        f"{name}{end}": round(number, 4)
        for name, row in values.items()
        for end, number in zip(("", "_low", "_high"), mean_interval(row), strict=True)
    }


# ---- forged images -------------------------------------------------------------------------------


class _Case(NamedTuple):
    """Honest and forged images of some scenes, for one network."""

    model: nn.Module
    scenes: list[Scene]
    classes: Tensor  # (N,), that are explained
    honest: Tensor  # (N, 3, H, W), pixels
    forged: Tensor  # (N, 3, H, W), pixels
    target: Tensor  # (N, 1, H, W), from 0 to 1: a region

    def explain(self, method: Explainer) -> tuple[Tensor, Tensor]:
        """Return the maps of the honest and of the forged images."""
        honest, forged = (
            relevance_maps(self.model, method, normalise(pixels), self.classes)
            for pixels in (self.honest, self.forged)
        )
        return honest, forged

    def on_target(self, relevance: Tensor) -> Tensor:
        """Return the share of positive relevance on the target region, (N,)."""
        return relevance_mass(self.model, relevance, self.honest, self.target)

    def effects(self, pixels: Tensor) -> Tensor:
        """Return the ground truth of the honest or the forged images, (N, parts)."""
        return changed_image_effects(self.model, self.scenes, self.classes, pixels - self.honest)


@cache
def _network(name: str) -> nn.Module:
    """Load a network once."""
    return load_checkpoint(data_folder() / "checkpoints" / name)[0]


@cache
def _misdirect(target_method: str) -> _Case:
    """Forge images of two beetles of each species; kept, because every method explains them."""
    model = _network("beetle_net")
    drawn = [scene for name in SPECIES for scene in scenes("test", name, 2)]
    honest, disc = stack_images(drawn), corner_disc().expand(len(drawn), -1, -1, -1)
    with torch.no_grad():
        classes = model(normalise(honest)).argmax(1)
    forged = forge_images(model, honest, disc, classes, target_method)
    return _Case(model, drawn, classes, honest, forged, disc)


@cache
def _hide_shortcut(target_method: str) -> _Case:
    """Forge images of twenty beetles that wear the label, for the network that reads it."""
    drawn = [scene.with_label() for scene in scenes("test", LABELLED_CLASS, 20)]
    honest, label = stack_images(drawn), stack_masks(drawn)[:, LABEL, None]
    classes = torch.full((len(drawn),), list(SPECIES).index(LABELLED_CLASS))
    clean = gradient(_network("beetle_net"), normalise(honest), classes)
    wanted = clean.sum(1, keepdim=True).abs() * (1 - label)
    model = _network("beetle_net_shortcut")
    forged = forge_images(model, honest, wanted, classes, target_method)
    return _Case(model, drawn, classes, honest, forged, label)


def forge_images(
    model: nn.Module,
    pixels: Tensor,
    wanted: Tensor,
    classes: Tensor,
    target_method: str,
    *,
    steps: int = 40,
) -> Tensor:
    """Change images so that one method's map is as wanted; or add noise of that size.

    Args:
        model: a classifier of normalised images.
        pixels: (N, 3, H, W), from 0 to 1.
        wanted: the map that is wanted, (N, 1, H, W) or (1, 1, H, W).
        classes: class indices (N,) that are explained.
        target_method: one of TARGET_METHODS.
        steps: of the search.

    Returns:
        The changed images (N, 3, H, W), at most EPSILON from the honest ones in each value.

    Raises:
        ValueError: as `manipulate_map`.
    """
    if target_method == "noise":
        return random_perturbation(pixels, epsilon=EPSILON)
    is_smoothed = target_method in BETAS
    return manipulate_map(
        NormalisingModel(model),
        pixels,
        wanted,
        classes,
        explainer="gradient" if is_smoothed else target_method,
        shown_beta=BETAS[target_method] if is_smoothed else None,
        epsilon=EPSILON,
        steps=steps,
    )


def corner_disc(size: int = 64) -> Tensor:
    """Return the map that is wanted: a disc in the upper left corner.

    Args:
        size: height and width, in pixels.

    Returns:
        (1, 1, size, size), 1 on the disc and 0 elsewhere.
    """
    from_centre = (torch.arange(size) + 0.5) / size - 0.17
    return (from_centre[:, None].square() + from_centre.square() < 0.14**2).float()[None, None]


@torch.no_grad()
def changed_image_effects(
    model: nn.Module, scenes: Sequence[Scene], classes: Tensor, change: Tensor
) -> Tensor:
    """Return the ground truth of images that were changed: what each part adds to the logit.

        effect[n, p] = f(scene n + change) - f(scene n without p + change)

    The change stays when the part is removed. Without a change this is `ground_truth_effects`.

    Args:
        model: a classifier of normalised images.
        scenes: the N scenes.
        classes: class indices (N,).
        change: (N, 3, H, W), added to the pixels.

    Returns:
        (N, parts), in logits.

    Raises:
        ValueError: as `stack_images` does.

    Cost:
        A forward pass, and one for each part.
    """

    def chosen_logits(drawn: Sequence[Scene]) -> Tensor:
        pixels = (stack_images(drawn, change.shape[-1]) + change).clamp(0, 1)
        logits: Tensor = model(normalise(pixels))
        return logits.gather(1, classes[:, None])[:, 0]  # (N,)

    whole = chosen_logits(scenes)
    effects = [
        whole - chosen_logits([s.without(part) if part in s.parts else s for s in scenes])
        for part in PARTS
    ]
    return torch.stack(effects, 1)
