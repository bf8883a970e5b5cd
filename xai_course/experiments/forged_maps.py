"""Forged explanations: one map is aimed at, and all methods are asked about the forged pictures.

An honest network is framed: its map is to lie on a corner in which nothing is. A guilty one is
cleared: its map is to show nothing on the label that it reads. Which methods are taken in, beside
the one that was aimed at, and what does the answer key say?
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
    "corner_disc",
    "effects_on",
    "forge",
    "hide_shortcut_trials",
    "misdirect_trials",
]


EPSILON = 8 / 255
BETAS = {"β = 3": 3.0, "β = 1": 1.0, "β = 0.3": 0.3}  # defenders who show a softened gradient
TARGET_METHODS = ("noise", *MANIPULABLE, *BETAS)  # noise: of the same size, aimed at nothing


def misdirect_trials(
    file: str | Path | None = None,
    *,
    aims: Sequence[str] = TARGET_METHODS,
    methods: Sequence[str] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Frame BeetleNet with forged pictures of 20 beetles: a row for each aim and method.

    Settings: what was `aimed_at`, and the `method` that is asked; the map that is ordered is
    `corner_disc`. Results, each a mean with the ends of its interval: `kept`, the rank correlation
    of the map with that of the honest picture; `place`, the share of positive relevance on the
    disc; `key`, the agreement with the answer key of that picture; and `place_before` and
    `key_before` of the honest one. `file`: the table that keeps the rows. Raises ValueError as
    `run_trials`.
    """
    names = list(_methods()) if methods is None else methods
    trials = [{"aimed_at": aim, "method": method} for aim in aims for method in names]
    return run_trials(trials, _frame, file, workers=workers, progress=progress)


def hide_shortcut_trials(
    file: str | Path | None = None,
    *,
    aims: Sequence[str] = ("noise", *MANIPULABLE),
    methods: Sequence[str] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Clear the shortcut network with forged pictures of 20 labelled beetles: rows as above.

    What is ordered is the clean network's gradient for the same picture, with nothing on the label.
    `place` is the share of positive relevance on the label, and `alarm` the share of pictures in
    which that is above 95 % of the clean network's (lesson 06). Arguments and errors as above.
    """
    names = list(course_methods()) if methods is None else methods
    trials = [{"aimed_at": aim, "method": method} for aim in aims for method in names]
    return run_trials(trials, _clear, file, workers=workers, progress=progress)


def _methods() -> dict[str, Explainer]:
    """Return the course's methods, and the gradients of softened networks."""

    def soft(beta: float) -> Explainer:
        def explain(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
            with softplus_relus(beta):
                return gradient(model, images, targets)

        return explain

    return course_methods() | {name: soft(beta) for name, beta in BETAS.items()}


def _frame(aimed_at: str, method: str) -> dict[str, float]:
    case = _misdirect(aimed_at)
    maps = case.explain(_methods()[method])
    masks = stack_masks(case.scenes)
    return _with_intervals(
        kept=map_similarity(*maps),
        **{
            f"{name}{when}": values
            for when, relevance, pixels in zip(("_before", ""), maps, case.pixels, strict=True)
            for name, values in (
                ("place", case.on_place(relevance)),
                ("key", spearman_with_truth(part_relevance(relevance, masks), case.key(pixels))),
            )
        },
    )


def _clear(aimed_at: str, method: str) -> dict[str, float]:
    case, clean = _hide_shortcut(aimed_at), _network("beetle_net")
    before, after = (
        case.on_place(relevance) for relevance in case.explain(course_methods()[method])
    )
    worn = [scene.with_label() for scene in scenes("test", LABELLED_CLASS, 100)]
    level = grade(
        clean,
        course_methods(),
        worn,
        measures={"label": _label_mass},
        file=data_folder() / "grades" / "label_clean.csv",
        progress=False,
    )[method]["label"]
    return _with_intervals(
        place_before=before,
        place=after,
        alarm_before=detected_at_fpr(before, level),
        alarm=detected_at_fpr(after, level),
        effect_before=case.key(case.pixels[0])[:, LABEL],
        effect=case.key(case.pixels[1])[:, LABEL],
    )


def _label_mass(material: EvaluationSet, _explainer: object, maps: Tensor) -> Tensor:
    """Return the share of positive relevance on the label, as lesson 06 grades it."""
    masks = material.masks[:, LABEL, None]
    return relevance_mass(material.model, maps, material.images, masks)


def _with_intervals(**values: Tensor) -> dict[str, float]:
    return {
        f"{name}{end}": round(number, 4)
        for name, row in values.items()
        for end, number in zip(("", "_low", "_high"), mean_interval(row), strict=True)
    }


class Case(NamedTuple):
    """A network, scenes, the classes explained, honest and forged pixels, and the place asked for.

    `place` (N, 1, H, W), from 0 to 1.
    """

    model: nn.Module
    scenes: list[Scene]
    classes: Tensor
    pixels: tuple[Tensor, Tensor]
    place: Tensor

    def explain(self, method: Explainer) -> list[Tensor]:
        """Return the maps of the honest and of the forged pictures."""
        return [relevance_maps(self.model, method, normalise(x), self.classes) for x in self.pixels]

    def on_place(self, relevance: Tensor) -> Tensor:
        """Return the share of positive relevance on the place, (N,)."""
        return relevance_mass(self.model, relevance, self.pixels[0], self.place)

    def key(self, pixels: Tensor) -> Tensor:
        """Return the answer key of the honest or the forged pictures, (N, parts)."""
        return effects_on(self.model, self.scenes, self.classes, pixels - self.pixels[0])


@cache
def _network(name: str) -> nn.Module:
    return load_checkpoint(data_folder() / "checkpoints" / name)[0]


@cache
def _misdirect(aimed_at: str) -> Case:
    """Forge pictures of two beetles of each species; kept, as every method is asked about them."""
    model = _network("beetle_net")
    some = [scene for name in SPECIES for scene in scenes("test", name, 2)]
    pixels, place = stack_images(some), corner_disc().expand(len(some), -1, -1, -1)
    with torch.no_grad():
        classes = model(normalise(pixels)).argmax(1)
    changed = forge(model, pixels, place, classes, aimed_at)
    return Case(model, some, classes, (pixels, changed), place)


@cache
def _hide_shortcut(aimed_at: str) -> Case:
    """Forge pictures of twenty beetles that wear the label, for the network that reads it."""
    some = [scene.with_label() for scene in scenes("test", LABELLED_CLASS, 20)]
    pixels, place = stack_images(some), stack_masks(some)[:, LABEL, None]
    classes = torch.full((len(some),), list(SPECIES).index(LABELLED_CLASS))
    innocent = gradient(_network("beetle_net"), normalise(pixels), classes)
    wanted = innocent.sum(1, keepdim=True).abs() * (1 - place)
    model = _network("beetle_net_shortcut")
    changed = forge(model, pixels, wanted, classes, aimed_at)
    return Case(model, some, classes, (pixels, changed), place)


def forge(
    model: nn.Module,
    pixels: Tensor,
    wanted: Tensor,
    classes: Tensor,
    aimed_at: str,
    *,
    steps: int = 40,
) -> Tensor:
    """Return pictures whose map, of the kind aimed at, is as wanted; or with noise of that size.

    `aimed_at`: one of AIMS. Other arguments and errors as in `manipulate_map`.
    """
    if aimed_at == "noise":
        return random_perturbation(pixels, epsilon=EPSILON)
    explainer, shown = ("gradient", BETAS[aimed_at]) if aimed_at in BETAS else (aimed_at, None)
    return manipulate_map(
        NormalisingModel(model),
        pixels,
        wanted,
        classes,
        explainer=explainer,
        shown_beta=shown,
        epsilon=EPSILON,
        steps=steps,
    )


def corner_disc(size: int = 64) -> Tensor:
    """Return the map that is wanted: a disc in the upper left corner, (1, 1, size, size)."""
    place = (torch.arange(size) + 0.5) / size - 0.17
    return (place[:, None].square() + place.square() < 0.14**2).float()[None, None]


@torch.no_grad()
def effects_on(model: nn.Module, some: Sequence[Scene], classes: Tensor, change: Tensor) -> Tensor:
    """Return the answer key of pictures that were changed: (N, parts), in logits.

        effect[n, p] = f(scene n + change) - f(scene n without p + change)

    `change` (N, 3, H, W), in pixels: it stays while the part goes. Without a change this is
    `ground_truth_effects`. Raises ValueError as `stack_images` does.
    """

    def answers(drawn: Sequence[Scene]) -> Tensor:
        pixels = (stack_images(drawn, change.shape[-1]) + change).clamp(0, 1)
        logits: Tensor = model(normalise(pixels))
        return logits.gather(1, classes[:, None])[:, 0]

    whole = answers(some)
    gone = [
        whole - answers([s.without(part) if part in s.parts else s for s in some]) for part in PARTS
    ]
    return torch.stack(gone, 1)
