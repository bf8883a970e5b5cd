"""What the explorer shows, computed without a widget: one choice in, all numbers and pictures out.

    found = explore(Choice(species="Ellipsa_longicornis", without=("horn",), method="LRP"))
    found.parts, found.score

One rule gives every number of a part, also of one that was taken away: *with it against without
it*, all else as chosen. So taking the horn away leaves the horn's own numbers as they were, and
shows what it meant for the others.
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
from xai_course.beetlebox.scene import PARTS, TRAITS, Scene
from xai_course.beetlebox.scores import part_relevance, spearman_with_truth
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.maps import relevance_maps
from xai_course.data.photographs import PHOTOGRAPHS, photograph, pixels
from xai_course.data.transforms import denormalise, normalise
from xai_course.explorer.catalogue import (
    PHOTO_NETWORK,
    check,
    explainer,
    network,
    one_at_a_time,
    passes,
)
from xai_course.methods import METHODS
from xai_course.metrics.null_maps import edge_map

__all__ = ["ExplorerResult", "Part", "Selection", "explain", "run_all", "run_model", "scene_of"]


@dataclass(frozen=True)
class Selection:
    """Everything that a reader can choose, as plain values.

    `network`: a name in NETWORKS. `species`, `seed`: the beetle as drawn. `without`: body parts
    that are taken away. `outline`, `pattern`, `horn`, `antennae`: a trait's value; None for the
    species' own. `ground`: the seed of another ground, or None. `label`: the museum label.
    `pixel_noise`: standard deviation of noise on the pixels, which are in [0, 1]. `photograph`: for
    the network that takes photographs; of the fields before, it uses the noise alone.

    `target`: the class explained: "before" and "after" for what the network says before and after
    the changes, or a class's name. `method`: a name in METHODS. The others are its options, by the
    names that they have there; `baseline` is "black", "mean" or "blur"; None: the method's default.
    """

    network: str = "BeetleNet"
    species: str = "Ellipsa_longicornis"
    seed: int = 24
    without: tuple[str, ...] = ()
    outline: str | None = None
    pattern: str | None = None
    horn: str | None = None
    antennae: str | None = None
    ground: int | None = None
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
    """One part: is it in the picture, its true effect in logits, and the map's sum under its mask.

    Both are for the picture with the part. `relevance` is NaN before the method has run, and for a
    part that others hide.
    """

    name: str
    present: bool
    effect: float
    relevance: float


@dataclass(frozen=True, eq=False)
class ExplorerResult:
    """What was found. Of two in a row, one is before the changes and one after them.

    `classes`: names of the logits. `target`: which is explained. `pictures` (2, 3, S, S) in [0, 1];
    `logits` (2, classes). `before`, `parts`: those of the beetle as drawn, and after the changes;
    empty for a photograph. `maps` (2, S, S): relevance summed over channels, None before the method
    has run. `score`: after the changes, rank agreement of the map with the effects, over the parts
    that are there; `null`: that of an edge filter; both NaN for a photograph.
    """

    choice: Selection
    classes: tuple[str, ...]
    target: int
    pictures: Tensor
    logits: Tensor
    before: tuple[Part, ...]
    parts: tuple[Part, ...]
    maps: Tensor | None = None
    score: float = math.nan
    null: float = math.nan

    @property
    def changed(self) -> bool:
        """Whether the picture differs from the one before the changes."""
        return not torch.equal(self.pictures[0], self.pictures[1])


def scene_of(choice: Selection) -> Scene:
    """Return the scene with all changes of a choice made. Raises ValueError for unknown values."""
    scene = Scene(choice.species, choice.seed)
    for trait in TRAITS:
        value = getattr(choice, trait)
        if value is not None and value != getattr(scene.traits, trait):
            scene = scene.with_trait(**{trait: value})
    for part in choice.without:
        check("without", part, BODY_PARTS)
        scene = scene.without(part)
    if choice.ground is not None:
        if not isinstance(choice.ground, int) or choice.ground < 0:
            raise ValueError(f"ground: got {choice.ground!r}; allowed is a whole number from 0.")
        scene = scene.with_background(choice.ground)
    return scene.with_label() if choice.label else scene


def run_all(choice: Selection, tick: Callable[[float], None] | None = None) -> ExplorerResult:
    """Look at a choice, and explain it: everything that the explorer shows.

    `tick` is called before every forward pass of the method with the share of the work done. What
    it raises ends the work, and comes out here: so a long method can be given up halfway. It runs
    inside the method, which may watch every call of PyTorch, so it should make none. What was
    computed is kept: networks, pictures, keys and maps.

    Raises ValueError for values that are not allowed, and where a method refuses a network.
    """
    return explain(run_model(choice), tick)


def run_model(choice: Selection) -> ExplorerResult:
    """Return what is known before the method has run: pictures, logits and the answer key."""
    check("method", choice.method, METHODS)
    noise, net = choice.pixel_noise, network(choice.network)
    if not isinstance(noise, int | float) or not 0 <= noise <= 1:
        raise ValueError(f"pixel_noise: got {noise!r}; allowed is a number from 0 to 1.")
    before, after = _subjects(choice)
    with one_at_a_time:
        seen = [_seen(choice.network, before, 0.0), _seen(choice.network, after, noise)]
        logits = torch.stack([one.logits for one in seen])
        target = _target(choice, logits, net.classes)
        was = _parts(choice.network, before, 0.0, target)
        parts = _parts(choice.network, after, noise, target)
    pictures = torch.stack([one.pixels for one in seen])
    return ExplorerResult(choice, net.classes, target, pictures, logits, was, parts)


def explain(found: ExplorerResult, tick: Callable[[float], None] | None = None) -> ExplorerResult:
    """Run the method on what `run_model` found, and hold its map against the answer key."""
    choice, model = found.choice, network(found.choice.network).model
    options = {name: getattr(choice, name) for name in METHODS[choice.method]}
    before, after = _subjects(choice)
    scenes = _with_each_part(after)
    every = [(before, 0.0), *((s, choice.pixel_noise) for s in (after, *scenes.values()))]
    wanted = list(dict.fromkeys(every))
    each = passes(choice.network, choice.method, options)
    done = 0

    def passing(_module: nn.Module, _inputs: Any) -> None:
        nonlocal done
        if tick is not None:
            tick(min(done / (each * len(wanted)), 1.0))
        done += 1

    maps, given = {}, tuple(options.items())
    with one_at_a_time, model.register_forward_pre_hook(passing):
        for number, (subject, noise) in enumerate(wanted):
            done = number * each
            maps[subject, noise] = _map(
                choice.network, subject, noise, found.target, choice.method, given
            )
    both = torch.stack([maps[before, 0.0], maps[after, choice.pixel_noise]])
    if isinstance(before, str) or isinstance(after, str):
        return replace(found, maps=both)

    def filled(parts: Sequence[Part], subject: Scene, noise: float) -> tuple[Part, ...]:
        scenes = _with_each_part(subject)
        sums = {scene: _sums(maps[scene, noise], scene) for scene in set(scenes.values())}
        return tuple(p._replace(relevance=sums[scenes[p.name]][p.name]) for p in parts)

    was, now = filled(found.before, before, 0.0), filled(found.parts, after, choice.pixel_noise)
    with one_at_a_time:
        image = _seen(choice.network, after, choice.pixel_noise).image
        edges = _sums(edge_map(model, image)[0, 0], after)
    null = _score([p._replace(relevance=edges[p.name]) for p in now])
    return replace(found, before=was, parts=now, maps=both, score=_score(now), null=null)


# ---- what is kept --------------------------------------------------------------------------------


class _Seen(NamedTuple):
    pixels: Tensor  # (3, S, S) in [0, 1]
    image: Tensor  # (1, 3, S, S), the network's input
    logits: Tensor  # (classes,)


class _Noisy(nn.Module):
    """A network that sees its images through given noise (3, S, S) on the pixels."""

    def __init__(self, model: nn.Module, noise: Tensor) -> None:
        super().__init__()
        self.model, self.noise = model, noise
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(normalise((denormalise(images) + self.noise).clamp(0, 1)))
        return logits


@lru_cache(maxsize=64)
def _seen(name: str, subject: Scene | str, noise: float) -> _Seen:
    """Draw a scene or open a photograph, and run the network on it."""
    net = network(name)
    if isinstance(subject, Scene):
        shown = stack_images([subject], net.size)
    else:
        shown = pixels(net.transform(photograph(subject))[None], net.transform)
    if noise:
        shown = (shown + _grain(subject, noise, net.size)).clamp(0, 1)
    image = net.to_input(shown)
    with torch.no_grad():
        return _Seen(shown[0], image, net.model(image)[0])


@lru_cache(maxsize=256)
def _effects(name: str, scene: Scene, noise: float, target: int) -> dict[str, float]:
    """Return the answer key of one scene."""
    net = network(name)
    model = _Noisy(net.model, _grain(scene, noise, net.size)) if noise else net.model
    return dict(zip(PARTS, ground_truth_effects(model, [scene], target)[0].tolist(), strict=True))


@lru_cache(maxsize=256)
def _map(
    name: str,
    subject: Scene | str,
    noise: float,
    target: int,
    method: str,
    options: tuple[tuple[str, Any], ...],
) -> Tensor:
    """Return a method's relevance, summed over channels: (S, S)."""
    explained = explainer(name, method, dict(options), subject if isinstance(subject, str) else "")
    image, targets = _seen(name, subject, noise).image, torch.tensor([target])
    return relevance_maps(network(name).model, explained, image, targets)[0].sum(0)


# ---- the pieces ----------------------------------------------------------------------------------


def _subjects(choice: Selection) -> tuple[Scene | str, Scene | str]:
    """Return what is looked at before and after the changes: scenes, or a photograph's name."""
    if choice.network == PHOTO_NETWORK:
        check("photograph", choice.photograph, PHOTOGRAPHS)
        return choice.photograph, choice.photograph
    return Scene(choice.species, choice.seed), scene_of(choice)


def _target(choice: Selection, logits: Tensor, classes: tuple[str, ...]) -> int:
    """Return the index of the class to explain."""
    if choice.target in ("before", "after"):
        return int(logits[int(choice.target == "after")].argmax())
    if choice.target not in classes:
        some = ", ".join(classes[:10]) + (" and so on" if len(classes) > 10 else "")
        raise ValueError(f"target: got {choice.target!r}; allowed are before, after, {some}.")
    return classes.index(choice.target)


def _parts(name: str, subject: Scene | str, noise: float, target: int) -> tuple[Part, ...]:
    """Return the answer key of a scene; no parts for a photograph."""
    return tuple(
        Part(part, scene == subject, _effects(name, scene, noise, target)[part], math.nan)
        for part, scene in _with_each_part(subject).items()
    )


def _with_each_part(subject: Scene | str) -> dict[str, Scene]:
    """Give for each part that the scene has, or could have back, the scene with it."""
    if not isinstance(subject, Scene):
        return {}
    rows = {part: replace(subject, removed=subject.removed - {part}) for part in PARTS}
    return {part: scene for part, scene in rows.items() if part in scene.parts}


def _sums(relevance: Tensor, scene: Scene) -> dict[str, float]:
    """Add a map (S, S) up under the mask of each part."""
    sums = part_relevance(relevance[None, None], [scene])[0]
    return dict(zip(PARTS, sums.tolist(), strict=True))


def _score(parts: Sequence[Part]) -> float:
    """Return the rank agreement of relevance and effect, over the parts that are there."""
    there = [part for part in parts if part.present]
    found, effects = (
        torch.tensor([[getattr(part, name) for part in there]]) for name in ("relevance", "effect")
    )
    return spearman_with_truth(found, effects).item() if there else math.nan


def _grain(subject: Scene | str, noise: float, size: int) -> Tensor:
    """Return noise (3, size, size) on pixels; a scene's seed decides it, not its changes."""
    seed = subject.seed if isinstance(subject, Scene) else 0
    return noise * torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))
