"""The protocols of FunnyBirds, by Hesse, Schaub-Meyer and Roth, on beetles.

Their measures ask whether an explanation finds the parts that matter, in three senses:

    completeness    ((controlled check + preservation + deletion) / 3 + distractibility) / 2
    correctness     single deletion
    contrastivity   target sensitivity

The definitions are those of the authors' code. What differs here, and why:

- a part's relevance is summed over its own soft mask, which is not dilated by two pixels;
- a beetle may have no horn or no pattern; a part that is not there is left out;
- the controlled check counts the lack of a horn as seen, and that of a pattern where there are wing
  cases;
- target sensitivity takes two species that share other parts with the beetle, however many; with
  birds it is two parts of five each;
- all clutter of a scene is one object in distractibility. Background independence counts pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from xai_course.beetlebox.ground_truth import BODY_PARTS, clutter_effects
from xai_course.beetlebox.scene import SPECIES, Scene
from xai_course.beetlebox.scores import spearman_with_truth
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.data.transforms import normalise
from xai_course.experiments.absent_parts import SHOWS, possible_species
from xai_course.experiments.region_sums import (
    REGIONS,
    RegionSums,
    load_sums,
    network_of,
    specification_scenes,
    sum_regions,
)
from xai_course.methods import course_methods
from xai_course.storage.results_table import Row, run_trials

__all__ = [
    "THRESHOLDS",
    "background_independence",
    "completeness",
    "minimal_part_sets",
    "network_answers",
    "protocol_trials",
    "single_deletion",
    "target_sensitivity",
]


THRESHOLDS = tuple(torch.linspace(0.01, 0.5, 80, dtype=torch.double).tolist())
"""Shares of all relevance above which a part counts as important."""

TOLERANCE = 0.05  # the share of the logit below which an effect counts as none

Answers: TypeAlias = Callable[[int, frozenset[str]], int]
"""The class that a network names for scene n without some parts."""


def minimal_part_sets(scene: Scene) -> list[frozenset[str]]:
    """Return the smallest sets of a beetle's parts from which its species is known.

    Args:
        scene: the beetle.

    Returns:
        Sets of which no part can be left out. The lack of a horn counts as seen, the lack of a
        pattern where there are wing cases.

    Example:
        >>> from xai_course.beetlebox import Scene
        >>> from xai_course.experiments import minimal_part_sets
        >>> sorted(map(sorted, minimal_part_sets(Scene("Ellipsa_furcata", 0))))
        [['antennae', 'elytra'], ['antennae', 'horn']]
    """
    telling = tuple(part for part in SHOWS if part in scene.parts)
    return list(_minimal_sets(scene.species, telling))


@lru_cache
def _minimal_sets(species: str, telling: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    """Return the smallest sets of these parts from which a species is known."""
    found: list[frozenset[str]] = []
    for size in range(len(telling) + 1):
        for kept in map(frozenset, combinations(telling, size)):
            removed = [part for part in telling if part not in kept]
            is_known = possible_species(species, removed) == [species]
            if is_known and not any(smaller <= kept for smaller in found):
                found.append(kept)
    return tuple(found)


def network_answers(model: nn.Module, scenes: Sequence[Scene]) -> Answers:
    """Return a function that asks a network, and remembers what it answered.

    Args:
        model: a classifier in evaluation mode for images of 64 pixels.
        scenes: the scenes.

    Returns:
        A function of a scene's number and the parts that are removed from it.
    """
    known: dict[Scene, int] = {}

    def answer(number: int, removed: frozenset[str]) -> int:
        scene = scenes[number]
        for part in removed:
            scene = scene.with_clutter(0) if part == "clutter" else scene.without(part)
        if scene not in known:
            with torch.no_grad():
                known[scene] = int(model(normalise(stack_images([scene]))).argmax())
        return known[scene]

    return answer


def completeness(
    sums: RegionSums, method: str, scenes: Sequence[Scene], answers: Answers
) -> dict[str, float]:
    """Return the four measures of completeness of a method, at the threshold that suits it best.

    A region is important if its relevance is above a share t of the whole image's.

        controlled check   of the smallest sets of parts that tell the species, the share of parts
                           that are important, for the set where it is highest
        preservation       is the answer the same without all parts that are not important?
        deletion           is it another one without those that are?
        distractibility    1 − the share of the regions without effect that are important

    A region has no effect if to remove it costs less than 5 % of the logit.

    Args:
        sums: of the network's maps on these scenes.
        method: a name that the sums hold.
        scenes: the N scenes.
        answers: from `network_answers`.

    Returns:
        The four measures, "completeness", and "threshold", each from 0 to 1.
    """
    own = sums.sums["own", method][..., 0]
    relevance, whole = own[:, : len(REGIONS)], own[:, len(REGIONS)]
    effects = sums.keys["removal, logit"]
    best: dict[str, float] = {}
    before: list[frozenset[str]] = []
    for threshold in THRESHOLDS:
        important = [
            frozenset(
                region
                for region, value, shown in zip(REGIONS, *row, strict=True)
                if shown and value > threshold * total
            )
            for *row, total in zip(
                relevance.tolist(), sums.shown.tolist(), whole.tolist(), strict=True
            )
        ]
        if important == before:
            continue  # the next threshold often finds the same regions
        before = important
        found = _at_threshold(sums, scenes, important, answers, effects)
        checks = ("controlled check", "preservation", "deletion")
        found["completeness"] = (
            sum(found[name] for name in checks) / 3 + found["distractibility"]
        ) / 2
        if not best or found["completeness"] > best["completeness"]:
            best = {**found, "threshold": threshold}
    return best


def _at_threshold(
    sums: RegionSums,
    scenes: Sequence[Scene],
    important: Sequence[frozenset[str]],
    answers: Answers,
    effects: Tensor,
) -> dict[str, float]:
    """Return the four measures for the regions that are important in each scene."""
    names = list(SPECIES)
    controlled, preserved, deleted, distracted = [], [], [], []
    for n, (scene, chosen) in enumerate(zip(scenes, important, strict=True)):
        answer = answers(n, frozenset())
        parts = frozenset(scene.parts)
        sets = [kept for kept in minimal_part_sets(scene) if kept]
        if sets and names[answer] == scene.species:
            controlled.append(max(len(kept & chosen) / len(kept) for kept in sets))
        preserved.append(answers(n, parts - chosen) == answer)
        deleted.append(answers(n, parts & chosen) != answer)
        limit = TOLERANCE * abs(sums.logits[n].item())
        idle = {
            region
            for region, effect, shown in zip(
                REGIONS, effects[n].tolist(), sums.shown[n].tolist(), strict=True
            )
            if shown and effect < limit
        }
        if idle:
            distracted.append(len(chosen & idle) / len(idle))

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else torch.nan

    return {
        "controlled check": mean(controlled),
        "preservation": mean(preserved),
        "deletion": mean(deleted),
        "distractibility": 1 - mean(distracted),
    }


def single_deletion(sums: RegionSums, method: str) -> float:
    """Return how well the relevance of parts ranks their effects: (1 + Spearman's ρ) / 2.

    Args:
        sums: of the network's maps.
        method: a name that the sums hold.

    Returns:
        The mean over the scenes, from 0 to 1; 0.5 is no relation.
    """
    parts = slice(len(BODY_PARTS))
    relevance = sums.sums["own", method][:, parts, 0].masked_fill(~sums.shown[:, parts], torch.nan)
    effects = sums.keys["removal, logit"][:, parts]
    return (0.5 + 0.5 * spearman_with_truth(relevance, effects).mean()).item()


def target_sensitivity(
    model: nn.Module, explainer: Explainer, scenes: Sequence[Scene]
) -> dict[str, float]:
    """Return whether a method gives parts to the class that they speak for.

    For each beetle, two other species are taken that share parts with it, the first some parts A,
    the second some other parts B. Scenes count where the network agrees: without A the first
    species loses more than without B, and without B the second loses more. A hit: A has more
    relevance for the first species than for the second. Another: B has more for the second.

    Args:
        model: a classifier in evaluation mode for images of 64 pixels.
        explainer: a function `(model, images, targets) -> relevance`.
        scenes: the scenes.

    Returns:
        "target sensitivity", from 0 to 1, where 0.5 is chance; and "scenes", how many count.
    """
    asked = _contrasts(model, scenes)
    if not asked:
        return {"target sensitivity": torch.nan, "scenes": 0}
    some = [scenes[n] for n, *_ in asked]
    images, masks = normalise(stack_images(some)), stack_masks(some)[:, : len(BODY_PARTS)]
    found = []
    for k in (0, 1):
        targets = torch.tensor([pair[k] for _, pair, _ in asked])
        found.append(sum_regions(relevance_maps(model, explainer, images, targets), masks)[..., 0])
    hits = []
    for row, (_, _, shared) in enumerate(asked):
        for k in (0, 1):
            columns = [BODY_PARTS.index(part) for part in shared[k]]
            own, other = (found[j][row, columns].sum().item() for j in (k, 1 - k))
            hits.append(own > other)
    return {"target sensitivity": sum(hits) / len(hits), "scenes": len(asked)}


@torch.no_grad()
def _contrasts(
    model: nn.Module, scenes: Sequence[Scene]
) -> list[tuple[int, tuple[int, int], tuple[frozenset[str], frozenset[str]]]]:
    """List the scenes that count, each with two classes and the parts that they share with it."""
    found = []
    for n, scene in enumerate(scenes):
        pair = _two_species(scene)
        if pair is None:
            continue
        (first, shared), (second, others) = pair
        changed = [scene]
        for parts in (shared, others):
            without = scene
            for part in parts:
                without = without.without(part)
            changed.append(without)
        whole, without_first, without_second = model(normalise(stack_images(changed)))
        drops = [
            [(whole - left)[k].item() for k in (first, second)]
            for left in (without_first, without_second)
        ]
        if drops[0][0] > drops[1][0] and drops[1][1] > drops[0][1]:
            found.append((n, (first, second), (shared, others)))
    return found


def _two_species(
    scene: Scene,
) -> tuple[tuple[int, frozenset[str]], tuple[int, frozenset[str]]] | None:
    """Return the first two other species that share different parts with a beetle, or None."""
    shown = {"elytra": "outline", "pattern": "pattern", "horn": "horn", "antennae": "antennae"}
    own = SPECIES[scene.species]
    shared = []
    for number, (name, traits) in enumerate(SPECIES.items()):
        parts = frozenset(
            part
            for part, trait in shown.items()
            if part in scene.parts and getattr(traits, trait) == getattr(own, trait)
        )
        if name != scene.species and parts:
            shared.append((number, parts))
    for first, second in combinations(shared, 2):
        if not first[1] & second[1]:
            return first, second
    return None


def background_independence(model: nn.Module, scenes: Sequence[Scene]) -> float:
    """Return the share of the pieces of clutter that have no effect on the network's logit.

    A piece has an effect if to remove it costs 5 % of the logit or more.

    Args:
        model: a classifier in evaluation mode for images of 64 pixels.
        scenes: scenes with clutter.

    Returns:
        The share; NaN for scenes without clutter.
    """
    with torch.no_grad():
        logits = model(normalise(stack_images(scenes))).amax(1)
    effects = clutter_effects(model, scenes)
    there = torch.zeros_like(effects, dtype=torch.bool)
    for n, scene in enumerate(scenes):
        there[n, list(scene.clutter)] = True
    idle = effects < TOLERANCE * logits.abs()[:, None]
    return (idle & there).sum().item() / there.sum().item() if there.any() else torch.nan


# ---- the table -----------------------------------------------------------------------------------


def protocol_trials(
    networks: Sequence[str] = ("beetle_net", "beetle_net_absent", "beetle_net_clutter"),
    *,
    file: str | Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> list[Row]:
    """Run all protocols on the methods of networks whose sums are on file.

    Args:
        networks: names of checkpoints in `FAMILIES`. Those without sums are left out.
        file: a CSV that keeps the rows; what it holds is not computed again.
        workers: processes.
        progress: True shows a bar.

    Returns:
        A row for each network and method: "network", "method", the measures of `completeness`,
        "single deletion", "target sensitivity" with its "scenes", "background independence" (0
        without clutter), and "score", the mean of completeness, single deletion and target
        sensitivity.

    Raises:
        ValueError: as `run_trials` does.

    References:
        Hesse, Schaub-Meyer, Roth: FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis
        of Explainable AI Methods. ICCV 2023, arXiv:2308.06248.
    """
    trials = [
        {"network": one.network, "method": method}
        for one in load_sums()
        if one.network in networks
        for variant, method in one.sums
        if variant == "own"
    ]
    return run_trials(trials, run_protocol, file, workers=workers, progress=progress)


def run_protocol(network: str, method: str) -> dict[str, float]:
    """Run all protocols on one method of one network; see `protocol_trials`.

    Args:
        network: the name of its checkpoint.
        method: a name of `course_methods()`.

    Returns:
        The measures by name.
    """
    sums, model, scenes, answers = _prepared(network)
    row = completeness(sums, method, scenes, answers)
    row["single deletion"] = single_deletion(sums, method)
    row |= target_sensitivity(model, course_methods()[method], scenes)
    independent = background_independence(model, scenes) if scenes[0].clutter else 0.0
    row["background independence"] = independent
    senses = ("completeness", "single deletion", "target sensitivity")
    row["score"] = sum(row[name] for name in senses) / len(senses)
    return {name: float(f"{value:.6g}") for name, value in row.items()}


@lru_cache(maxsize=1)
def _prepared(network: str) -> tuple[RegionSums, nn.Module, list[Scene], Answers]:
    """Load what all methods of a network need, once."""
    sums = next(one for one in load_sums() if one.network == network)
    model = network_of(network)
    scenes = specification_scenes("clutter" if sums.family == "clutter" else "plain")
    return sums, model, scenes, network_answers(model, scenes)
