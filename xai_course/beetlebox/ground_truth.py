"""The ground truth (the lessons' answer key): the effect of each part of a scene on a model.

In BeetleBox a part can be removed while nothing else moves, so its effect on a logit is measured,
not estimated. Parts interact: the effect of one depends on which others are there. The three
functions differ in that: each part alone, pairs, or all combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.beetlebox.scene import CLUTTER, PARTS, SPECIES, Scene
from xai_course.beetlebox.tensors import clutter_names, named_masks, stack_images, stack_masks
from xai_course.core.checks import check_choice
from xai_course.core.inputs import validate_inputs
from xai_course.core.progress import progress_bar
from xai_course.data.transforms import normalise

__all__ = [
    "BODY_PARTS",
    "clutter_effects",
    "field_guide_map",
    "field_guide_numbers",
    "ground_truth_effects",
    "ground_truth_map",
    "pair_effects",
    "shapley_effects",
    "silhouette",
]


BODY_PARTS = PARTS[:-1]  # all but the museum label
TRAIT_PARTS = {"outline": "elytra", "pattern": "pattern", "horn": "horn", "antennae": "antennae"}


def ground_truth_effects(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    parts: Sequence[str] = PARTS,
    margin: bool = False,
    size: int = 64,
    batch_size: int = 250,
    progress: bool = False,
) -> Tensor:
    """Return the effect of each part of each scene on the chosen logit: the ground truth.

        effect[n, p] = f(scene n) − f(scene n without part p)

    Args:
        model: a classifier in evaluation mode that takes normalised images of `size` pixels.
        scenes: N scenes.
        targets: class indices (N,), one index for all, or None for the class that the model
            predicts for the whole scene.
        parts: names of parts, from PARTS; of clutter, from CLUTTER.
        margin: True measures the chosen logit minus that of the runner-up, the class with the
            highest other logit for the whole scene; False measures the chosen logit.
        size: height and width of the images in pixels.
        batch_size: images in one forward pass.
        progress: True shows a bar.

    Returns:
        Effects (N, parts), in logits; 0 for a part that a scene does not have.

    Raises:
        ValueError: for a model in training mode, no scenes, unknown parts or wrong targets.

    Cost:
        One forward pass for each scene, and one for each part that it has.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.beetlebox import ground_truth_effects, scenes
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
        >>> beetles = scenes("test", "Ellipsa_polita", 2)
        >>> effects = ground_truth_effects(model, beetles, size=32)
        >>> effects.shape
        torch.Size([2, 7])
        >>> bool((effects[:, -1] == 0).all())  # neither wears the museum label
        True
    """
    removals = [(), *((part,) for part in parts)]
    f = _logits_without(model, scenes, targets, removals, margin, size, batch_size, progress)
    return f[:, :1] - f[:, 1:]


def clutter_effects(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    margin: bool = False,
    size: int = 64,
    batch_size: int = 250,
    progress: bool = False,
) -> Tensor:
    """Return the effect of each piece of clutter on the chosen logit.

        effect[n, k] = f(scene n) − f(scene n without its piece k)

    Clutter says nothing of the species. It may still have an effect: the model is what it is.

    Args:
        model: a classifier in evaluation mode that takes normalised images of `size` pixels.
        scenes: N scenes.
        targets: class indices (N,), one index for all, or None for the class that the model
            predicts for the whole scene.
        margin: as in `ground_truth_effects`.
        size: height and width of the images in pixels.
        batch_size: images in one forward pass.
        progress: True shows a bar.

    Returns:
        Effects (N, pieces), in logits, in the order of CLUTTER and as many as `clutter_masks` has;
        0 for a piece that a scene does not have.

    Raises:
        ValueError: for a model in training mode, no scenes or wrong targets.

    Cost:
        One forward pass for each scene, and one for each piece that it has.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.beetlebox import clutter_effects, scenes
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
        >>> bare, littered = scenes("test", "Ellipsa_polita", 2)
        >>> effects = clutter_effects(model, [bare, littered.with_clutter(3)], size=32)
        >>> effects.shape, bool((effects[0] == 0).all()), bool((effects[1] != 0).all())
        (torch.Size([2, 3]), True, True)
    """
    return ground_truth_effects(
        model,
        scenes,
        targets,
        parts=clutter_names(scenes),
        margin=margin,
        size=size,
        batch_size=batch_size,
        progress=progress,
    )


def pair_effects(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    parts: Sequence[str] = BODY_PARTS,
    margin: bool = False,
    size: int = 64,
    batch_size: int = 250,
    progress: bool = False,
) -> Tensor:
    """Return how any two parts work together.

        pair[n, p, q] = f(whole) − f(without p) − f(without q) + f(without both)
        pair[n, p, p] = f(whole) − f(without p)

    Above 0: the two need each other, and both single effects count the shared part. Below 0: one
    can replace the other, and both single effects are too small. 0: they add up.

    Args:
        model: a classifier in evaluation mode that takes normalised images of `size` pixels.
        scenes: N scenes.
        targets: class indices (N,), one index for all, or None for the class that the model
            predicts for the whole scene.
        parts: names of parts, from PARTS; of clutter, from CLUTTER.
        margin: True measures the chosen logit minus that of the runner-up, the class with the
            highest other logit for the whole scene; False measures the chosen logit.
        size: height and width of the images in pixels.
        batch_size: images in one forward pass.
        progress: True shows a bar.

    Returns:
        Effects (N, parts, parts), in logits, symmetric; `ground_truth_effects` on the diagonal.

    Raises:
        ValueError: for a model in training mode, no scenes, unknown parts or wrong targets.

    Cost:
        One forward pass for each scene, for each part, and for each pair of parts.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.beetlebox import pair_effects, scenes
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
        >>> pairs = pair_effects(model, scenes("test", "Ellipsa_polita", 1), size=32)
        >>> torch.equal(pairs, pairs.mT)
        True
    """
    pairs = list(combinations(range(len(parts)), 2))
    singles = [(part,) for part in parts]
    removals = [(), *singles, *((parts[p], parts[q]) for p, q in pairs)]
    f = _logits_without(model, scenes, targets, removals, margin, size, batch_size, progress)
    whole, single, both = f[:, :1], f[:, 1 : len(parts) + 1], f[:, len(parts) + 1 :]
    effects = torch.diag_embed(whole - single)
    for (p, q), without_both in zip(pairs, both.T, strict=True):
        effect = whole[:, 0] - single[:, p] - single[:, q] + without_both
        effects[:, p, q] = effects[:, q, p] = effect
    return effects


def shapley_effects(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    parts: Sequence[str] = BODY_PARTS,
    margin: bool = False,
    size: int = 64,
    batch_size: int = 250,
    progress: bool = False,
) -> Tensor:
    """Return the Shapley value of each part, exactly, from all combinations of parts.

    A part's value is its mean effect over all orders in which the parts can be added to the image:

        value[p] = Σ over sets S without p of  |S|! (P − |S| − 1)! / P!  ·  (f(S and p) − f(S))
        Σ over p of value[p] = f(all parts) − f(none of them)

    f(S) is f of the scene with the parts S alone.

    Args:
        model: a classifier in evaluation mode that takes normalised images of `size` pixels.
        scenes: N scenes.
        targets: class indices (N,), one index for all, or None for the class that the model
            predicts for the whole scene.
        parts: names of at most 6 parts, from PARTS.
        margin: True measures the chosen logit minus that of the runner-up, the class with the
            highest other logit for the whole scene; False measures the chosen logit.
        size: height and width of the images in pixels.
        batch_size: images in one forward pass.
        progress: True shows a bar.

    Returns:
        Values (N, parts), in logits.

    Raises:
        ValueError: for a model in training mode, no scenes, unknown parts or wrong targets, and
            for more than 6 parts.

    Cost:
        At most 2^parts forward passes for each scene; fewer where parts are missing.

    References:
        Shapley: A Value for n-Person Games. Contributions to the Theory of Games II, 1953.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.beetlebox import ground_truth_effects, scenes, shapley_effects
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
        >>> beetles, one = scenes("test", "Ellipsa_polita", 1), ("head",)
        >>> value = shapley_effects(model, beetles, parts=one, size=32)
        >>> torch.equal(value, ground_truth_effects(model, beetles, parts=one, size=32))
        True
    """
    count = len(parts)
    if count > 6:
        raise ValueError(f"parts: got {count}; must be at most 6, since 2^parts are drawn.")
    # Every set of parts has a number: its bit p tells whether part p is removed.
    sets = torch.arange(2**count)[:, None]
    is_removed = (sets >> torch.arange(count)) & 1 == 1  # (sets, parts)
    removals = [[parts[p] for p in range(count) if row[p]] for row in is_removed.tolist()]
    f = _logits_without(model, scenes, targets, removals, margin, size, batch_size, progress)
    values = []
    for p in range(count):
        with_p = (~is_removed[:, p]).nonzero()[:, 0]  # numbers of the sets that have part p
        without_p = with_p + 2**p  # the same sets without it
        others = (count - 1 - is_removed[with_p].sum(1)).tolist()  # |S|, the other parts that stay
        # |S|! (P − |S| − 1)! / P!, with the binomial coefficient of P − 1 over |S|
        weight = f.new_tensor([1 / (count * comb(count - 1, k)) for k in others])
        values.append((f[:, with_p] - f[:, without_p]) @ weight)
    return torch.stack(values, 1)


def ground_truth_map(
    scenes: Sequence[Scene], effects: Tensor, *, parts: Sequence[str] = PARTS, size: int = 64
) -> Tensor:
    """Return effects as a map: what a perfect explanation looks like.

        Σ over pixels of  map[n] · mask[n, p]  =  effects[n, p]

    Every part gets one value at all its pixels. Where two parts share a pixel, their values add.
    The background gets 0, and so does a part that is fully hidden.

    Args:
        scenes: N scenes.
        effects: (N, parts), as `ground_truth_effects` returns them.
        parts: the names of the parts, in the order of `effects`.
        size: height and width of the map in pixels.

    Returns:
        Relevance (N, 1, size, size), in the unit of `effects`.

    Raises:
        ValueError: if `effects` is not (N, parts).

    Cost:
        Draws the masks; no forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import ground_truth_map, scenes, stack_masks
        >>> beetles = scenes("test", "Ellipsa_polita", 1)
        >>> effects = torch.tensor([[3.0, 0, 1, 0, 2, 0, 0]])
        >>> relevance = ground_truth_map(beetles, effects)
        >>> sums = (relevance * stack_masks(beetles)).sum((2, 3))  # (1, 7)
        >>> [round(value) for value in sums[0, [0, 2, 4]].tolist()]
        [3, 1, 2]
    """
    if effects.shape != (len(scenes), len(parts)):
        raise ValueError(
            f"effects: got {tuple(effects.shape)}; must be ({len(scenes)}, {len(parts)})."
        )
    # value[n, q], which every pixel of part q gets, solves Σ_q overlap[n, p, q] · value[n, q] =
    # effects[n, p]. A hidden part has no pixels, so it gets an equation of its own: value = 0.
    masks = named_masks(scenes, parts, size).double()
    overlap = torch.einsum("nphw,nqhw->npq", masks, masks)
    hidden = overlap.diagonal(dim1=1, dim2=2) == 0
    overlap = overlap + torch.diag_embed(hidden.double())
    shown_effects = effects.cpu().double().masked_fill(hidden, 0)
    value = torch.linalg.solve(overlap, shown_effects)
    return torch.einsum("np,nphw->nhw", value, masks)[:, None].to(effects)


def silhouette(scenes: Sequence[Scene], size: int = 64) -> Tensor:
    """Return the share of each pixel that the beetle's parts cover: 1 inside, 0 outside.

    A null map that knows where the beetle is, and nothing of the model. The label is no part of the
    beetle, nor is the abdomen that shows where the elytra are removed.

    Args:
        scenes: N scenes.
        size: height and width in pixels.

    Returns:
        (N, 1, size, size), from 0 to 1.

    Raises:
        ValueError: if there are no scenes.

    Cost:
        Draws the masks; no forward pass.

    Example:
        >>> from xai_course.beetlebox import scenes, silhouette
        >>> outline = silhouette(scenes("test", "Ellipsa_polita", 1), size=32)
        >>> outline.shape, outline.min().item(), outline.max().item()
        (torch.Size([1, 1, 32, 32]), 0.0, 1.0)
    """
    parts = [PARTS.index(part) for part in BODY_PARTS]
    return stack_masks(scenes, size)[:, parts].sum(1, keepdim=True).clamp(max=1)


def field_guide_map(
    scenes: Sequence[Scene], *, against: Sequence[str] | None = None, size: int = 64
) -> Tensor:
    """Return what the field guide says of each part, spread evenly over the part.

        relevance of a part = how many of the other species have another value of its trait
        against a species:    1 if that species has another value of the trait, else 0

    Traits are the outline of the elytra, the pattern, the horn and the antennae; head and legs have
    none. A null map that knows the species and where its parts are, and nothing of any network. An
    explanation that is no better says nothing that could not be looked up.

    Args:
        scenes: N scenes.
        against: N names of species to tell the scenes' species from; None for all of them.
        size: height and width in pixels.

    Returns:
        (N, 1, size, size): a part's number, divided by its number of pixels.

    Raises:
        ValueError: if there are no scenes, not one species for each, or an unknown one.

    Cost:
        Draws the masks; no forward pass.

    Example:
        The two species differ in the antennae alone.

        >>> from xai_course.beetlebox import PARTS, field_guide_map, part_relevance, scenes
        >>> beetles = scenes("test", "Ellipsa_longicornis", 1)
        >>> relevance = field_guide_map(beetles, against=["Ellipsa_furcata"])
        >>> sums = part_relevance(relevance, beetles, ["horn", "antennae"])
        >>> bool(sums[0, 1] > 50 * sums[0, 0])
        True
    """
    masks = stack_masks(scenes, size)[:, : len(PARTS)]
    numbers = field_guide_numbers(scenes, against=against)
    pixels = masks.sum((2, 3)).clamp_min(1e-6)
    return ((numbers / pixels)[:, :, None, None] * masks).sum(1, keepdim=True)


def field_guide_numbers(scenes: Sequence[Scene], *, against: Sequence[str] | None = None) -> Tensor:
    """Return the numbers that `field_guide_map` spreads over the parts.

    Masks overlap at their soft edges, so the sums of that map differ a little from these.

    Args:
        scenes: N scenes.
        against: as in `field_guide_map`.

    Returns:
        (N, len(PARTS)), in the order of PARTS; 0 for head, legs and label.

    Raises:
        ValueError: if there is not one species for each scene, or an unknown one.

    Example:
        >>> from xai_course.beetlebox import field_guide_numbers, scenes
        >>> field_guide_numbers(scenes("test", "Ellipsa_longicornis", 1)).int().tolist()
        [[6, 7, 0, 7, 7, 0, 0]]
    """
    if against is not None and len(against) != len(scenes):
        raise ValueError(
            f"against: got {len(against)} names; must be {len(scenes)}, as the scenes."
        )
    for name in against or ():
        check_choice("against", name, SPECIES)
    numbers = torch.zeros(len(scenes), len(PARTS))
    for n, scene in enumerate(scenes):
        others = SPECIES.values() if against is None else [SPECIES[against[n]]]
        for trait, part in TRAIT_PARTS.items():
            own = getattr(SPECIES[scene.species], trait)
            numbers[n, PARTS.index(part)] = sum(own != getattr(other, trait) for other in others)
    return numbers


# ---- logits without parts ------------------------------------------------------------------------


@torch.no_grad()
def _logits_without(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any,
    removals: Sequence[Sequence[str]],
    margin: bool,
    size: int,
    batch_size: int,
    progress: bool,
) -> Tensor:
    """Return f of every scene without each of the sets of parts, (N, removals); the first is ()."""
    if len(scenes) == 0:
        raise ValueError("scenes: got none; must be at least one.")
    known = (*PARTS, *CLUTTER)
    if unknown := {part for removed in removals for part in removed} - set(known):
        raise ValueError(f"parts: got {', '.join(unknown)}; must be {', '.join(known)}.")
    whole_images = _model_input(model, scenes, size)
    _, _, classes = validate_inputs(model, whole_images, targets, batch_size=batch_size)
    changed = [_without(scene, removed) for scene in scenes for removed in removals]
    different = list(dict.fromkeys(changed))  # each different scene is drawn once
    batches = [different[k : k + batch_size] for k in range(0, len(different), batch_size)]
    logits = torch.cat(
        [
            model(_model_input(model, batch, size))
            for batch in progress_bar(batches, "removing parts", progress)
        ]
    )
    index = {scene: n for n, scene in enumerate(different)}
    rows = torch.tensor([index[scene] for scene in changed], device=logits.device)
    logits = logits[rows].view(len(scenes), len(removals), -1)  # (N, removals, classes)
    if not margin:
        return _of_class(logits, classes)
    others = logits[:, 0].scatter(1, classes[:, None], -torch.inf)  # of the whole scene
    return _of_class(logits, classes) - _of_class(logits, others.argmax(1))


def _of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """Return one class's logit of each scene: (N, removals, classes) to (N, removals)."""
    index = classes[:, None, None].expand(-1, logits.shape[1], 1)
    return logits.gather(2, index)[:, :, 0]


def _without(scene: Scene, removed: Sequence[str]) -> Scene:
    """Remove the parts that a scene has."""
    for part in (*PARTS, *CLUTTER):  # the elytra come first, and take the pattern with them
        if part in removed and part in (*scene.parts, *CLUTTER):
            scene = scene.without(part)
    return scene


def _model_input(model: nn.Module, scenes: Sequence[Scene], size: int) -> Tensor:
    """Draw scenes as the model takes them: normalised, of its dtype and on its device."""
    images = normalise(stack_images(scenes, size))
    weight = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return images if weight is None else images.to(weight)
