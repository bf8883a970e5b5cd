"""Checks of lesson 08, Grading the explanations."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.beetlebox.ground_truth import ground_truth_effects
from xai_course.beetlebox.scene import SPECIES, Scene, scenes
from xai_course.beetlebox.scores import part_relevance, spearman_with_truth
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.paths import data_folder
from xai_course.core.translation import translate
from xai_course.data.transforms import normalise
from xai_course.exercises.asking import Wrong, ask, ask_tensor, check
from xai_course.metrics.null_maps import edge_map
from xai_course.residual.lrp import lrp
from xai_course.storage.checkpoints import load_checkpoint


@check
def check_skill(answer: Callable[..., Any]) -> str:
    """`answer(score, nulls, key)` gives the skill: 0 for the best null map, 1 for ground truth."""
    for score, nulls, key in [
        (0.7, [0.1, 0.6], 1.0),
        (0.2, [0.5, 0.4, -0.3], 0.9),
        (0.3, [0.3], 0.5),
        (-0.5, [-0.9, -0.7], -0.1),
    ]:
        got, best = ask(answer, score, nulls, key), max(nulls)
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.item()
        if isinstance(got, bool) or not isinstance(got, int | float):
            raise Wrong(
                "For {score}, {nulls}, {key} you return {got!r}; return one number.",
                score=score,
                nulls=nulls,
                key=key,
                got=got,
            )
        right = (score - best) / (key - best)
        if abs(got - right) < 1e-5:
            continue
        asked = translate(
            "For a score of {score}, nulls of {nulls} and a key's score of {key}",
            score=score,
            nulls=nulls,
            key=key,
        )
        mean = sum(nulls) / len(nulls)
        if abs(got - (score - mean) / (key - mean)) < 1e-5:
            raise Wrong(
                "{asked} you compare with the mean null. Compare with the best one.", asked=asked
            )
        if abs(got - (score - best)) < 1e-5:
            raise Wrong(
                "{asked} this is the lead over the null. Divide by the lead of the key.",
                asked=asked,
            )
        if abs(got - (score - best) / (1 - best)) < 1e-5:
            raise Wrong("{asked}: the key's own score need not be 1.", asked=asked)
        raise Wrong(
            "{asked} you return {got:.3f}; the skill is {right:.3f}.",
            asked=asked,
            got=got,
            right=right,
        )
    return translate(
        "0 is the best null, 1 the key itself, and what is worse than the null is below 0."
    )


@cache
def _forty_scenes() -> list[Scene]:
    """Return the scenes of exercise 2."""
    return [scene for name in SPECIES for scene in scenes("extra", name, 4)]


@cache
def _pixels() -> Tensor:
    """Draw the scenes of exercise 2, (40, 3, 64, 64); once a process, since they are fixed."""
    return stack_images(_forty_scenes())


@cache
def _truth() -> tuple[Tensor, Tensor]:
    """Return the masks (40, parts, 64, 64) and the true effects (40, parts) of these scenes."""
    effects = ground_truth_effects(_network(), _forty_scenes())
    return stack_masks(_forty_scenes()), effects


@cache
def _agreements() -> tuple[float, float]:
    """Return how well the edge detector and LRP agree with the true effects of these scenes."""
    edges = _agreement(edge_map(_network(), _pixels()))
    return edges, _agreement(lrp(_network(), normalise(_pixels()), rule="gamma"))


def _network() -> nn.Module:
    """Return the network of exercise 2."""
    return load_checkpoint(data_folder() / "checkpoints" / "beetle_net")[0]


def _agreement(maps: Tensor) -> float:
    """Return how well the relevance of parts agrees with their true effects."""
    masks, effects = _truth()
    return spearman_with_truth(part_relevance(maps, masks), effects).mean().item()


@check
def check_null(answer: Callable[..., Any]) -> str:
    """`answer(pixels)` gives maps from the image alone that agree with the key beyond edges."""
    # `ask_tensor` hands out a copy, so that no answer can change what the next one is given.
    maps = ask_tensor(answer, (len(_pixels()), 1, 64, 64), _pixels())
    if not torch.isfinite(maps).all():
        raise Wrong("Some of your relevance is NaN or infinite.")
    yours, (edges, with_network) = _agreement(maps), _agreements()
    if yours < edges + 0.02:
        raise Wrong(
            "On 40 new scenes your map agrees with the key by {yours:.2f}, the edge "
            "detector by {edges:.2f}. Be ahead by 0.02.",
            yours=yours,
            edges=edges,
        )
    return translate(
        "Without a look at the network: {yours:.2f}, where the edge detector has "
        "{edges:.2f}. LRP, which knows the network, has {with_network:.2f} on these 40 "
        "beetles.",
        yours=yours,
        edges=edges,
        with_network=with_network,
    )
