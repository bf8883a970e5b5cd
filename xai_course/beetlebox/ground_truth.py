"""The answer key: what the parts of a scene are truly worth to a model, by taking them away.

In BeetleBox a part can be taken away while nothing else moves, so its effect on a logit is measured
rather than estimated. Parts interact: what one is worth depends on which others are there. The
three keys differ in what they do about that: each part alone, pairs, or all combinations.
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
    """Measure what each part of each scene adds to the chosen logit: the answer key (N, parts).

        effect[n, p] = f(scene n) - f(scene n without part p)

    In logits; 0 for a part that a scene does not have. `targets`: class indices (N,), one index, or
    None for the class that the model predicts for the whole scene. `margin`: f is the chosen logit
    minus that of the runner-up, which is the highest other one for the whole scene; else f is the
    chosen logit. `model` takes normalised images of `size` pixels.

    Raises ValueError for a model in training mode, no scenes, unknown parts or wrong targets.
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
    """Measure how any two parts work together: (N, parts, parts), in logits, symmetric.

        pair[n, p, q] = f(whole) - f(without p) - f(without q) + f(without both)
        pair[n, p, p] = f(whole) - f(without p)                                    (part_effects)

    Above 0: the two need each other, and their effects count a common share twice. Below 0: one
    stands in for the other, and their effects hide what both are worth. 0: they add up. Arguments
    and errors as in `ground_truth_effects`.
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
    """Measure the Shapley value of each part, exactly, from all combinations: (N, parts), logits.

    A part's effect in the mean over every order in which the parts could be put into the picture:

        value[p] = Σ over sets S without p of  |S|! (P - |S| - 1)! / P!  ·  (f(S and p) - f(S))
        Σ over p of value[p] = f(all parts) - f(none of them)

    f(S): the scene with the parts S alone. At most 6 parts, which takes 64 pictures of a scene, and
    fewer where parts are missing. Arguments and errors as in `ground_truth_effects`, and ValueError for
    more than 6 parts.

    Shapley: A Value for n-Person Games. Contributions to the Theory of Games II, 1953.
    """
    count = len(parts)
    if count > 6:
        raise ValueError(f"parts: got {count}; allowed are at most 6, since 2^parts are drawn.")
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
    """Paint a key into a map (N, 1, size, size): what a perfect explanation would look like.

    `effects` (N, parts), as the functions above return them. Every part is painted evenly, so that
    the map summed under its mask is its effect; where two parts share a pixel, their colours add.
    The ground gets 0, and so does a part that is wholly hidden.

        Σ over pixels of  map[n] · mask[n, p]  =  effects[n, p]

    Raises ValueError if `effects` is not (N, parts).
    """
    if effects.shape != (len(scenes), len(parts)):
        raise ValueError(
            f"effects: got {tuple(effects.shape)}; allowed is ({len(scenes)}, {len(parts)})."
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
        raise ValueError("scenes: got none; allowed is at least one.")
    if unknown := {part for gone in removals for part in gone} - set(PARTS):
        raise ValueError(f"parts: got {', '.join(unknown)}; allowed are {', '.join(PARTS)}.")
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
    """Return the visible share of the beetle, all parts but the label, in each pixel: (N, 1, S, S).

    The null that knows the answer to *where is the beetle* and nothing else: relevance that is
    already made, float32 in [0, 1]. What shows where elytra were taken away is no part. Raises
    ValueError if there are no scenes, and for a size outside 32 to 512.
    """
    parts = [place for place, part in enumerate(PARTS) if part != "label"]
    return stack_masks(scenes, size)[:, parts].sum(1, keepdim=True).clamp(max=1)
