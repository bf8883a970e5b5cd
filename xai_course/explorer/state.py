"""What the explorer shows, computed without a widget: one selection in, numbers and images out.

    result = run_all(Selection(species="Ellipsa_longicornis", without=("horn",), method="LRP"))
    result.parts, result.score

One rule gives every number of a part, also of one that was removed: *with it against without it*,
all else as selected. So removing the horn leaves the horn's own numbers as they were, and shows
what it meant for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.beetlebox.ground_truth import BODY_PARTS, ground_truth_effects
from xai_course.beetlebox.scene import PARTS, SPECIES, TRAITS, Scene
from xai_course.beetlebox.scores import part_relevance, spearman_with_truth
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.checks import check_choice, check_count, check_number
from xai_course.core.maps import relevance_maps
from xai_course.core.translation import translate
from xai_course.data.photographs import PHOTOGRAPHS, photograph, to_pixels
from xai_course.data.transforms import denormalise, normalise
from xai_course.explorer.catalogue import (
    PHOTO_NETWORK,
    build_explainer,
    count_forward_passes,
    network_lock,
    open_network,
)
from xai_course.methods import METHODS
from xai_course.metrics.null_maps import edge_map

__all__ = [
    "Change",
    "ExplorerResult",
    "Part",
    "Selection",
    "run_all",
    "run_method",
    "run_model",
    "scene_of",
]


@dataclass(frozen=True)
class Selection:
    """Everything that a reader can choose, as plain values.

    Attributes:
        network: a name in `NETWORKS`.
        species: of the beetle as drawn.
        seed: of the beetle as drawn.
        without: body parts that are removed.
        outline: a trait's value; None for the species' own. So are `pattern`, `horn`, `antennae`.
        background: the seed of another background, or None.
        label: whether the beetle has the museum label.
        pixel_noise: standard deviation of noise on the pixels, which are in [0, 1].
        photograph: for the network that takes photographs. Of the fields from `species` on, only
            `pixel_noise` changes a photograph.
        target: the class to explain: "before" and "after" for the predicted class before and after
            the changes, or a class's name.
        method: a name in `METHODS`.
        layer: an option of the method, by the name that the method gives it; None for its default.
            So are the fields below it.
        baseline: "black", "mean" or "blur".
    """

    network: str = "BeetleNet"
    species: str = "Ellipsa_longicornis"
    seed: int = 24
    without: tuple[str, ...] = ()
    outline: str | None = None
    pattern: str | None = None
    horn: str | None = None
    antennae: str | None = None
    background: int | None = None
    label: bool = False
    pixel_noise: float = 0.0
    photograph: str = "camera"
    target: str = "before"
    method: str = "Grad-CAM"
    layer: str | None = None
    window: int | None = None
    stride: int | None = None
    steps: int = 16
    samples: int = 16
    noise: float = 0.15
    rule: str = "gamma"
    baseline: str = "mean"


class Part(NamedTuple):
    """One part of a beetle, with two numbers that are for the image with the part.

    Attributes:
        name: of the part.
        present: whether it is in the image after the changes.
        effect: the ground truth, in logits.
        relevance: the sum of the map under the part's mask. NaN before the method has run, and for
            a part that others hide.
    """

    name: str
    present: bool
    effect: float
    relevance: float


class Change(NamedTuple):
    """One change that the reader made.

    Attributes:
        name: in a few words, such as "no horn" or "museum label".
        effect: the logit with all changes, minus the logit with all but this one.
    """

    name: str
    effect: float


@dataclass(frozen=True, eq=False)
class ExplorerResult:
    """What was computed for a selection. Where there are two rows, the second has the changes.

    Attributes:
        selection: what was asked for.
        classes: names of the logits.
        target: index of the class that is explained.
        images: (2, 3, S, S) in [0, 1].
        logits: (2, classes).
        before: the parts of the beetle as drawn; empty for a photograph.
        parts: the parts after the changes; empty for a photograph.
        changes: what the reader changed, one by one.
        maps: relevance summed over channels (2, S, S); None before the method has run.
        score: after the changes, the rank correlation of relevance and effect over the parts that
            are present; NaN for a photograph, and before the method has run.
        null_score: that of an edge detector.
    """

    selection: Selection
    classes: tuple[str, ...]
    target: int
    images: Tensor
    logits: Tensor
    before: tuple[Part, ...]
    parts: tuple[Part, ...]
    changes: tuple[Change, ...]
    maps: Tensor | None = None
    score: float = math.nan
    null_score: float = math.nan

    @property
    def changed(self) -> bool:
        """Whether the image differs from the one before the changes."""
        return not torch.equal(self.images[0], self.images[1])


def scene_of(selection: Selection) -> Scene:
    """Return the scene of a selection, with all changes made.

    Args:
        selection: what the reader chose.

    Returns:
        The scene.

    Raises:
        ValueError: for unknown values.
    """
    scene = Scene(selection.species, selection.seed)
    for trait in TRAITS:
        value = getattr(selection, trait)
        if value is not None and value != getattr(scene.traits, trait):
            scene = scene.with_trait(**{trait: value})
    for part in selection.without:
        check_choice("without", part, BODY_PARTS)
        scene = scene.without(part)
    if selection.background is not None:
        check_count("background", selection.background, least=0)
        scene = scene.with_background(selection.background)
    return scene.with_label() if selection.label else scene


def run_all(
    selection: Selection, on_progress: Callable[[float], None] | None = None
) -> ExplorerResult:
    """Run the network and the method of a selection: everything that the explorer shows.

    Results are kept: networks, images, ground truths and maps.

    Args:
        selection: what the reader chose.
        on_progress: called before every forward pass of the method with the share of the work that
            is done. An exception that it raises ends the work and is passed on, so that a long
            method can be stopped. It runs inside the method, which may intercept every PyTorch
            function, so it should call none.

    Returns:
        The result.

    Raises:
        ValueError: for wrong values, and where a method refuses a network.
    """
    return run_method(run_model(selection), on_progress)


def run_model(selection: Selection) -> ExplorerResult:
    """Run the network of a selection, before the method: images, logits and the ground truth.

    Args:
        selection: what the reader chose.

    Returns:
        A result without maps.

    Raises:
        ValueError: for wrong values.
    """
    check_choice("method", selection.method, METHODS)
    noise, net = selection.pixel_noise, open_network(selection.network)
    check_number("pixel_noise", noise, least=0, most=1)
    before, after = _subjects(selection)
    with network_lock:
        first = _predict(selection.network, before, 0.0)
        second = _predict(selection.network, after, noise)
        logits = torch.stack([first.logits, second.logits])
        target = _target_index(selection, logits, net.classes)
        parts_before = _parts(selection.network, before, 0.0, target)
        parts_after = _parts(selection.network, after, noise, target)
        changes = _changes(selection, float(second.logits[target]), target)
    images = torch.stack([first.pixels, second.pixels])
    return ExplorerResult(
        selection, net.classes, target, images, logits, parts_before, parts_after, changes
    )


def run_method(
    result: ExplorerResult, on_progress: Callable[[float], None] | None = None
) -> ExplorerResult:
    """Run the method on what `run_model` returned, and compare its map with the ground truth.

    Args:
        result: from `run_model`.
        on_progress: as in `run_all`.

    Returns:
        The result with maps and, for a beetle, with the relevance of its parts and the scores.

    Raises:
        ValueError: where the method refuses the network.
    """
    selection = result.selection
    noise = selection.pixel_noise
    before, after = _subjects(selection)
    maps = _all_maps(result, on_progress)
    both = torch.stack([maps[before, 0.0], maps[after, noise]])
    if isinstance(before, str) or isinstance(after, str):  # a photograph has no parts
        return replace(result, maps=both)

    def with_relevance(parts: Sequence[Part], scene: Scene, noise: float) -> tuple[Part, ...]:
        with_part = _with_each_part(scene)
        sums = {s: _relevance_of_parts(maps[s, noise], s) for s in set(with_part.values())}
        return tuple(p._replace(relevance=sums[with_part[p.name]][p.name]) for p in parts)

    parts = with_relevance(result.parts, after, noise)
    model = open_network(selection.network).model
    with network_lock:
        image = _predict(selection.network, after, noise).image
        edges = _relevance_of_parts(edge_map(model, image)[0, 0], after)
    return replace(
        result,
        before=with_relevance(result.before, before, 0.0),
        parts=parts,
        maps=both,
        score=_score(parts),
        null_score=_score([p._replace(relevance=edges[p.name]) for p in parts]),
    )


def _all_maps(
    result: ExplorerResult, on_progress: Callable[[float], None] | None
) -> dict[tuple[Scene | str, float], Tensor]:
    """Make all maps that a result needs: (scene or photograph, noise) to a map (S, S)."""
    selection = result.selection
    model = open_network(selection.network).model
    options = {name: getattr(selection, name) for name in METHODS[selection.method].options}
    before, after = _subjects(selection)
    changed = [(subject, selection.pixel_noise) for subject in _with_each_part(after).values()]
    wanted = list(dict.fromkeys([(before, 0.0), (after, selection.pixel_noise), *changed]))
    each = count_forward_passes(selection.network, selection.method, options)
    done = 0

    def before_pass(_module: nn.Module, _inputs: Any) -> None:
        nonlocal done
        if on_progress is not None:
            on_progress(min(done / (each * len(wanted)), 1.0))
        done += 1

    maps = {}
    with network_lock, model.register_forward_pre_hook(before_pass):
        for number, (subject, noise) in enumerate(wanted):
            done = number * each  # a map that was kept needs no pass
            maps[subject, noise] = _map(
                selection.network,
                subject,
                noise,
                result.target,
                selection.method,
                tuple(options.items()),
            )
    return maps


# ---- results that are kept -----------------------------------------------------------------------


class _Prediction(NamedTuple):
    """An image, and the network's logits."""

    pixels: Tensor  # (3, S, S) in [0, 1]
    image: Tensor  # (1, 3, S, S), the network's input
    logits: Tensor  # (classes,)


class _WithPixelNoise(nn.Module):
    """A network behind noise (3, S, S) that is added to the pixels of its images."""

    def __init__(self, model: nn.Module, noise: Tensor) -> None:
        super().__init__()
        self.model, self.noise = model, noise
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(normalise((denormalise(images) + self.noise).clamp(0, 1)))
        return logits


@lru_cache(maxsize=64)
def _predict(network: str, subject: Scene | str, noise: float) -> _Prediction:
    """Draw a scene or open a photograph, and run the network on it."""
    net = open_network(network)
    if isinstance(subject, Scene):
        pixels = stack_images([subject], net.size)
    else:
        pixels = to_pixels(net.transform(photograph(subject))[None], net.transform)
    if noise:
        pixels = (pixels + _pixel_noise(subject, noise, net.size)).clamp(0, 1)
    image = net.to_input(pixels)
    with torch.no_grad():
        return _Prediction(pixels[0], image, net.model(image)[0])


@lru_cache(maxsize=256)
def _effects(network: str, scene: Scene, noise: float, target: int) -> dict[str, float]:
    """Return the ground truth of one scene, in logits by part."""
    net = open_network(network)
    model = net.model
    if noise:
        model = _WithPixelNoise(model, _pixel_noise(scene, noise, net.size))
    return dict(zip(PARTS, ground_truth_effects(model, [scene], target)[0].tolist(), strict=True))


@lru_cache(maxsize=256)
def _map(
    network: str,
    subject: Scene | str,
    noise: float,
    target: int,
    method: str,
    options: tuple[tuple[str, Any], ...],
) -> Tensor:
    """Return a method's relevance, summed over channels: (S, S)."""
    photo = subject if isinstance(subject, str) else ""
    explainer = build_explainer(network, method, dict(options), photo)
    image = _predict(network, subject, noise).image
    targets = torch.tensor([target])
    return relevance_maps(open_network(network).model, explainer, image, targets)[0].sum(0)


# ---- the pieces ----------------------------------------------------------------------------------


def _subjects(selection: Selection) -> tuple[Scene | str, Scene | str]:
    """Return the scene before and after the changes; for a photograph, twice its name."""
    if selection.network == PHOTO_NETWORK:
        check_choice("photograph", selection.photograph, PHOTOGRAPHS)
        return selection.photograph, selection.photograph
    return Scene(selection.species, selection.seed), scene_of(selection)


def _target_index(selection: Selection, logits: Tensor, classes: tuple[str, ...]) -> int:
    """Return the index of the class to explain."""
    if selection.target == "before":
        return int(logits[0].argmax())
    if selection.target == "after":
        return int(logits[1].argmax())
    if selection.target not in classes:
        names = ", ".join(classes[:10]) + (" and so on" if len(classes) > 10 else "")
        raise ValueError(
            f"target: got {selection.target!r}; must be one of before, after, {names}."
        )
    return classes.index(selection.target)


def _parts(network: str, subject: Scene | str, noise: float, target: int) -> tuple[Part, ...]:
    """Return the parts of a scene with the ground truth; no parts for a photograph."""
    return tuple(
        Part(part, scene == subject, _effects(network, scene, noise, target)[part], math.nan)
        for part, scene in _with_each_part(subject).items()
    )


def _changes(selection: Selection, logit: float, target: int) -> tuple[Change, ...]:
    """Undo each change by itself, and compare the logit with the one with all changes."""
    changes = []
    for name, without_it in _undone(selection).items():
        _, subject = _subjects(without_it)
        undone = _predict(selection.network, subject, without_it.pixel_noise)
        changes.append(Change(name, logit - float(undone.logits[target])))
    return tuple(changes)


def _undone(selection: Selection) -> dict[str, Selection]:
    """Return, by the name of each change, the selection without it."""
    undone = {}
    if selection.network != PHOTO_NETWORK:
        scene = scene_of(selection)
        for part in _with_each_part(scene):
            if part in selection.without and part not in scene.parts:
                others = tuple(other for other in selection.without if other != part)
                undone[translate("no {part}", part=translate(part))] = replace(
                    selection, without=others
                )
        for trait in TRAITS:
            value, own = getattr(selection, trait), getattr(SPECIES[selection.species], trait)
            if value not in (None, own):
                name = translate("{trait} {value}", trait=translate(trait), value=translate(value))
                if value == "none":
                    name = translate("no {part}", part=translate(trait))
                own_trait: dict[str, Any] = {trait: None}
                undone[name] = replace(selection, **own_trait)
        if selection.background is not None:
            undone[translate("other ground")] = replace(selection, background=None)
        if selection.label:
            undone[translate("museum label")] = replace(selection, label=False)
    if selection.pixel_noise:
        name = translate("noise {noise:.2f}", noise=selection.pixel_noise)
        undone[name] = replace(selection, pixel_noise=0.0)
    return undone


def _with_each_part(subject: Scene | str) -> dict[str, Scene]:
    """Return, for each part that a scene has or could have again, the scene with it."""
    if not isinstance(subject, Scene):
        return {}
    rows = {part: replace(subject, removed=subject.removed - {part}) for part in PARTS}
    return {part: scene for part, scene in rows.items() if part in scene.parts}


def _relevance_of_parts(relevance: Tensor, scene: Scene) -> dict[str, float]:
    """Sum a map (S, S) under the mask of each part."""
    sums = part_relevance(relevance[None, None], [scene])[0]
    return dict(zip(PARTS, sums.tolist(), strict=True))


def _score(parts: Sequence[Part]) -> float:
    """Return the rank correlation of relevance and effect, over the parts that are present."""
    present = [part for part in parts if part.present]
    if not present:
        return math.nan
    relevance = torch.tensor([[part.relevance for part in present]])
    effects = torch.tensor([[part.effect for part in present]])
    return spearman_with_truth(relevance, effects).item()


def _pixel_noise(subject: Scene | str, noise: float, size: int) -> Tensor:
    """Return noise (3, size, size) on pixels; it depends on a scene's seed, not on its changes."""
    seed = subject.seed if isinstance(subject, Scene) else 0
    return noise * torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))
