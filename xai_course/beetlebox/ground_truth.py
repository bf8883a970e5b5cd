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

from xai_course.beetlebox.scene import PARTS, Scene
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.inputs import validate_inputs
from xai_course.data.transforms import normalise

__all__ = [
    "BODY_PARTS",
    "ground_truth_effects",
    "ground_truth_map",
    "pair_effects",
    "shapley_effects",
    "silhouette",
]


BODY_PARTS = PARTS[:-1]  # all but the museum label


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
        parts: names of parts, from PARTS.
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
        >>> some = scenes("test", "Ellipsa_polita", 2)
        >>> effects = ground_truth_effects(model, some, size=32)
        >>> effects.shape
        torch.Size([2, 7])
        >>> bool((effects[:, -1] == 0).all())  # neither wears the museum label
        True
    """
    gone = [(), *((part,) for part in parts)]
    f = _values_without(model, scenes, targets, gone, margin, size, batch_size, progress)
    return f[:, :1] - f[:, 1:]


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
        parts: names of parts, from PARTS.
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
    gone = [(), *((part,) for part in parts), *((parts[p], parts[q]) for p, q in pairs)]
    f = _values_without(model, scenes, targets, gone, margin, size, batch_size, progress)
    whole, single = f[:, 0], f[:, 1 : len(parts) + 1]
    found = torch.diag_embed(whole[:, None] - single)
    for (p, q), both in zip(pairs, f[:, len(parts) + 1 :].T, strict=True):
        found[:, p, q] = found[:, q, p] = whole - single[:, p] - single[:, q] + both
    return found


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
        >>> some, one = scenes("test", "Ellipsa_polita", 1), ("head",)
        >>> value = shapley_effects(model, some, parts=one, size=32)
        >>> torch.equal(value, ground_truth_effects(model, some, parts=one, size=32))
        True
    """
    count = len(parts)
    if count > 6:
        raise ValueError(f"parts: got {count}; must be at most 6, since 2^parts are drawn.")
    sets = torch.arange(2**count)[:, None]  # bit p of a set's number: part p is taken away
    is_gone = (sets >> torch.arange(count)) & 1 == 1  # (sets, parts)
    gone = [[part for part, out in zip(parts, row, strict=True) if out] for row in is_gone]
    f = _values_without(model, scenes, targets, gone, margin, size, batch_size, progress)
    values = []
    for p in range(count):
        there = (~is_gone[:, p]).nonzero()[:, 0]  # the sets with p; 2^p further on, those without
        others = (count - 1 - is_gone[there].sum(1)).tolist()
        weight = f.new_tensor([1 / (count * comb(count - 1, k)) for k in others])
        values.append((f[:, there] - f[:, there + 2**p]) @ weight)
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
        >>> some = scenes("test", "Ellipsa_polita", 1)
        >>> effects = torch.tensor([[3.0, 0, 1, 0, 2, 0, 0]])
        >>> relevance = ground_truth_map(some, effects)
        >>> [round(v) for v in (relevance * stack_masks(some)).sum((2, 3))[0, [0, 2, 4]].tolist()]
        [3, 1, 2]
    """
    if effects.shape != (len(scenes), len(parts)):
        raise ValueError(
            f"effects: got {tuple(effects.shape)}; must be ({len(scenes)}, {len(parts)})."
        )
    # colour[n, q], which every pixel of part q gets, solves Σ_q overlap[n, p, q] · colour[n, q] =
    # effects[n, p]; a hidden part has no pixels, so it gets an equation of its own: colour = 0.
    masks = stack_masks(scenes, size)[:, [PARTS.index(part) for part in parts]].double()
    overlap = torch.einsum("nphw,nqhw->npq", masks, masks)
    hidden = overlap.diagonal(dim1=1, dim2=2) == 0
    overlap = overlap + torch.diag_embed(hidden.double())
    wanted = effects.cpu().double().masked_fill(hidden, 0)
    colour = torch.linalg.solve(overlap, wanted)
    return torch.einsum("np,nphw->nhw", colour, masks)[:, None].to(effects)


@torch.no_grad()
def _values_without(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any,
    removals: Sequence[Sequence[str]],
    margin: bool,
    size: int,
    batch_size: int,
    progress: bool,
) -> Tensor:
    """Return f of every scene without each of the sets of parts: (N, removals)."""
    from tqdm.auto import tqdm

    if len(scenes) == 0:
        raise ValueError("scenes: got none; must be at least one.")
    if unknown := {part for gone in removals for part in gone} - set(PARTS):
        raise ValueError(f"parts: got {', '.join(unknown)}; must be {', '.join(PARTS)}.")
    where = next(model.parameters(), torch.empty(0)) if isinstance(model, nn.Module) else None

    def draw(some: Sequence[Scene]) -> Tensor:
        images = normalise(stack_images(some, size))
        return images if where is None else images.to(where)

    _, _, classes = validate_inputs(model, draw(scenes), targets, batch_size=batch_size)
    pictures: dict[Scene, int] = {}  # each different picture is drawn once
    row = []
    for scene in scenes:
        for gone in removals:
            changed = scene
            for part in PARTS:  # the wing cases first: with them goes the pattern
                if part in gone and part in changed.parts:
                    changed = changed.without(part)
            row.append(pictures.setdefault(changed, len(pictures)))
    drawn = list(pictures)
    starts = range(0, len(drawn), batch_size)
    bar = tqdm(starts, desc="taking parts away", leave=False, disable=not progress)
    logits = torch.cat([model(draw(drawn[start : start + batch_size])) for start in bar])
    logits = logits[torch.tensor(row, device=logits.device)].view(len(scenes), len(removals), -1)

    def chosen(classes: Tensor) -> Tensor:
        return logits.gather(2, classes[:, None, None].expand(-1, len(removals), 1))[:, :, 0]

    if not margin:
        return chosen(classes)
    whole = logits[:, 0]  # the first removal is none
    return chosen(classes) - chosen(whole.scatter(1, classes[:, None], -torch.inf).argmax(1))


def silhouette(scenes: Sequence[Scene], size: int = 64) -> Tensor:
    """Return where the beetle is, drawn from the scene: 1 inside, 0 outside.

    A map that knows the image but not the model.

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
    parts = [place for place, part in enumerate(PARTS) if part != "label"]
    return stack_masks(scenes, size)[:, parts].sum(1, keepdim=True).clamp(max=1)
