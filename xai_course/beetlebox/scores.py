"""How good an explanation is: scores against the answer key, and intervals and nulls for any score.

Every score comes one a scene, so that it can be given with an interval, compared scene by scene,
and held against the score of a map that knows nothing. The measures that need no key stand in
`localisation`, `faithfulness` and `sanity`; all of the judge can be imported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xai_course.beetlebox.ground_truth import ground_truth_effects
from xai_course.beetlebox.scene import PARTS, Scene
from xai_course.beetlebox.tensors import stack_images, stack_masks
from xai_course.core.inputs import validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.data.transforms import normalise

__all__ = [
    "magnitude_agreement",
    "part_relevance",
    "score_against_ground_truth",
    "sign_agreement",
    "spearman_with_truth",
    "top1_agreement",
]


# ---- an explanation against the key --------------------------------------------------------------


def score_against_ground_truth(
    model: nn.Module,
    explainer: Explainer | Tensor,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    score: Callable[[Tensor, Tensor], Tensor] | None = None,
    key: Tensor | None = None,
    parts: Sequence[str] = PARTS,
    size: int = 64,
    batch_size: int = 100,
    progress: bool = False,
) -> Tensor:
    """Score an explainer against the answer key: one number a scene (N,).

    `explainer`: a function `(model, images, targets) -> relevance`, or the relevance of these
    scenes. `targets`: class indices (N,), one index, or None for the predicted class. `score`:
    `spearman_with_truth` (also for None), `top1_agreement`, `sign_agreement` or `magnitude_agreement`. `key`: the
    true effects (N, parts); None measures them with `ground_truth_effects`.

    Raises ValueError for wrong arguments, and where the explainer gives no relevance.
    """
    if key is None:
        key = ground_truth_effects(
            model, scenes, targets, parts=parts, size=size, batch_size=batch_size, progress=progress
        )
    images = normalise(stack_images(scenes, size)).to(key)
    with torch.no_grad():
        _, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    maps = relevance_maps(
        model, explainer, images, classes, batch_size=batch_size, progress=progress
    )
    return (score or spearman_with_truth)(part_relevance(maps, scenes, parts), key)


def part_relevance(
    relevance: Tensor, scenes: Sequence[Scene] | Tensor, parts: Sequence[str] = PARTS
) -> Tensor:
    """Sum relevance (N, C, H, W) over each part's mask: (N, parts), in the relevance's unit.

    `scenes`, rendered at the size H = W, or their masks (N, len(PARTS), H, W) from `stack_masks`.
    NaN for a part that a scene does not show.

        found[n, p] = Σ over channels and pixels of  relevance[n] · mask[n, p]

    Raises ValueError if the relevance is not one square map a scene, and for unknown parts.
    """
    if relevance.ndim != 4 or len(relevance) != len(scenes) or len(set(relevance.shape[2:])) > 1:
        raise ValueError(
            f"relevance: got shape {tuple(relevance.shape)}; allowed is ({len(scenes)}, C, S, S)."
        )
    if not set(parts) <= set(PARTS):
        raise ValueError(f"parts: got {list(parts)}; allowed are {', '.join(PARTS)}.")
    masks = scenes if isinstance(scenes, Tensor) else stack_masks(scenes, relevance.shape[-1])
    if masks.shape[1:] != (len(PARTS), *relevance.shape[2:]):
        raise ValueError(
            f"scenes: got masks of shape {tuple(masks.shape)}; allowed is "
            f"({len(scenes)}, {len(PARTS)}, {relevance.shape[2]}, {relevance.shape[3]})."
        )
    masks = masks[:, [PARTS.index(part) for part in parts]].to(relevance)  # (N, parts, S, S)
    found = torch.einsum("nhw,nphw->np", relevance.sum(1), masks)
    return found.masked_fill(masks.sum((2, 3)) == 0, torch.nan)


def spearman_with_truth(found: Tensor, effects: Tensor) -> Tensor:
    """Return Spearman's rank correlation of each row, over the entries that `found` has: (N,).

    `found` and `effects` (N, parts); what is NaN in `found` is left out. Ties get their mean rank.
    1: the same order; 0: none, also where all of a row's numbers are equal; -1: the reverse.
    Raises ValueError for shapes that differ.
    """
    shown = _shown(found, effects)

    def centred_ranks(values: Tensor) -> Tensor:
        lower = (values[:, :, None] > values[:, None, :]) & shown[:, None, :]
        equal = (values[:, :, None] == values[:, None, :]) & shown[:, None, :]
        ranks = (lower.sum(2) + equal.sum(2) / 2).double() * shown
        mean = ranks.sum(1, keepdim=True) / shown.sum(1, keepdim=True)
        return (ranks - mean) * shown

    ours, true = centred_ranks(found), centred_ranks(effects)
    spread = (ours.square().sum(1) * true.square().sum(1)).sqrt()
    return torch.where(spread > 0, (ours * true).sum(1) / spread.clamp_min(1e-12), 0.0)


def top1_agreement(found: Tensor, effects: Tensor) -> Tensor:
    """Return whether the part with most relevance is the one with the largest effect: (N,).

    `found` and `effects` (N, parts); what is NaN in `found` is left out. 1 or 0; a k-fold tie for
    the most relevance, the right part among them, scores 1/k, as guessing would in the mean.
    Raises ValueError for shapes that differ.
    """
    shown = _shown(found, effects)
    ours, true = (values.masked_fill(~shown, -torch.inf) for values in (found, effects))
    first = ours == ours.amax(1, keepdim=True)
    hit = first.gather(1, true.argmax(1, keepdim=True))[:, 0]
    return hit.double() / first.sum(1)


def sign_agreement(found: Tensor, effects: Tensor) -> Tensor:
    """Return the share of all effect whose sign the relevance has right: (N,), 0 to 1.

    `found` and `effects` (N, parts); what is NaN in `found` is left out. A relevance of 0 takes no
    side and counts half. Most effects are positive, so a map that is positive everywhere scores
    high: hold it against the nulls. 0.5 where nothing has an effect.

        Σ over p of |effect[p]| · [sign found[p] = sign effect[p]]  /  Σ over p of |effect[p]|

    Raises ValueError for shapes that differ.
    """
    shown = _shown(found, effects)
    weight = (effects.abs() * shown).double()
    right = 0.5 + 0.5 * (found.nan_to_num().sign() * effects.sign())
    total = weight.sum(1)
    return torch.where(total > 0, (weight * right).sum(1) / total.clamp_min(1e-30), 0.5)


def magnitude_agreement(found: Tensor, effects: Tensor) -> Tensor:
    """Return how far relevance in logits is the effect in logits: (N,), at most 1.

    `found` and `effects` (N, parts), for methods that claim this unit; what is NaN in `found` is
    left out. 1: every part's relevance is its effect; 0: no better than a map of zeros; below 0:
    worse, as when the relevance is of another scale. 0 where nothing has an effect.

        1 - Σ over p of |found[p] - effect[p]|  /  Σ over p of |effect[p]|

    Raises ValueError for shapes that differ.
    """
    shown = _shown(found, effects)
    missed = ((found - effects).nan_to_num() * shown).abs().double().sum(1)
    total = (effects.abs() * shown).double().sum(1)
    return torch.where(total > 0, 1 - missed / total.clamp_min(1e-30), 0.0)


def _shown(found: Tensor, effects: Tensor) -> Tensor:
    """Check the shapes; return where `found` has a number."""
    if found.ndim != 2 or found.shape != effects.shape:
        raise ValueError(
            f"found: got {tuple(found.shape)}; allowed is (N, parts), as effects "
            f"{tuple(effects.shape)}."
        )
    return ~found.isnan()
