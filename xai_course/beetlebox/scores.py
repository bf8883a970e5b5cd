"""Scores of a map against the ground truth, one number for each scene.

One number a scene gives a score an interval (`mean_interval`), and two methods, or a method and a
null map, can be compared scene by scene. Measures for any model are in `metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.beetlebox.ground_truth import ground_truth_effects
from xai_course.beetlebox.scene import CLUTTER, PARTS, Scene
from xai_course.beetlebox.tensors import named_masks, stack_images
from xai_course.core.checks import check_choice, check_number
from xai_course.core.inputs import validate_inputs
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.data.transforms import normalise

__all__ = [
    "distractibility",
    "distractors_above",
    "magnitude_agreement",
    "part_relevance",
    "pearson_with_truth",
    "score_against_ground_truth",
    "sign_agreement",
    "spearman_with_truth",
    "top1_agreement",
    "top_has_effect",
]


def score_against_ground_truth(
    model: nn.Module,
    explainer: Explainer | Tensor,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    score: Callable[[Tensor, Tensor], Tensor] | None = None,
    effects: Tensor | None = None,
    parts: Sequence[str] = PARTS,
    readout: str = "signed",
    size: int = 64,
    batch_size: int = 100,
    progress: bool = False,
) -> Tensor:
    """Return how well an explainer agrees with the ground truth: one number for each scene.

    Args:
        model: a classifier in evaluation mode that takes normalised images of `size` pixels.
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            scenes.
        scenes: N scenes.
        targets: class indices (N,), one index for all, or None for the predicted class.
        score: `spearman_with_truth` (also for None), `pearson_with_truth`, `top1_agreement`,
            `sign_agreement` or `magnitude_agreement`.
        effects: the true effects (N, parts); None measures them with `ground_truth_effects`.
        parts: names of parts, from PARTS; of clutter, from CLUTTER.
        readout: what of the relevance counts, as in `part_relevance`.
        size: height and width of the images in pixels.
        batch_size: images in one forward pass.
        progress: True shows a bar.

    Returns:
        Scores (N,), in the unit of `score`.

    Raises:
        ValueError: if an argument is not as described, or the explainer returns no relevance.

    Cost:
        One explanation for each scene, and the passes of `ground_truth_effects` without `effects`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.beetlebox import (
        ...     ground_truth_effects, ground_truth_map, score_against_ground_truth, scenes
        ... )
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
        >>> beetles = scenes("test", "Ellipsa_polita", 2)
        >>> effects = ground_truth_effects(model, beetles, size=32)
        >>> truth = ground_truth_map(beetles, effects, size=32)
        >>> scores = score_against_ground_truth(model, truth, beetles, effects=effects, size=32)
        >>> bool((scores > 0.9).all())  # the truth agrees with itself
        True
    """
    if score is not None and not callable(score):
        raise ValueError(
            f"score: got {type(score).__name__}; must be a function of relevance and effects."
        )
    if effects is None:
        effects = ground_truth_effects(
            model, scenes, targets, parts=parts, size=size, batch_size=batch_size, progress=progress
        )
    images = normalise(stack_images(scenes, size)).to(effects)
    with torch.no_grad():
        _, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    maps = relevance_maps(
        model, explainer, images, classes, batch_size=batch_size, progress=progress
    )
    score = score or spearman_with_truth
    # Copies, as a reader's own score may work in place.
    scores = score(part_relevance(maps, scenes, parts, readout), effects.clone())
    if not isinstance(scores, Tensor) or scores.shape != (len(scenes),):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"score: got a function that returns {got} for {len(scenes)} scenes; must return one "
            f"number for each, a tensor ({len(scenes)},)."
        )
    return scores


# What counts of each value of a map, by the name of the readout.
_READOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": lambda values: values,
    "positive": lambda values: values.clamp_min(0),
    "size": torch.abs,
}


def part_relevance(
    relevance: Tensor,
    scenes: Sequence[Scene] | Tensor,
    parts: Sequence[str] = PARTS,
    readout: str = "signed",
) -> Tensor:
    """Return the relevance inside each part's mask.

        sum[n, p] = Σ over channels and pixels of  r · mask[n, p]

        r = relevance (signed),  max(relevance, 0) (positive)  or  |relevance| (size)

    Args:
        relevance: (N, C, S, S), any unit.
        scenes: the N scenes, or their masks (N, len(PARTS), S, S) from `stack_masks`; those of
            `clutter_masks` may stand behind them.
        parts: names of parts, from PARTS; of clutter, from CLUTTER.
        readout: "signed", "positive" or "size": what counts of each value. It is taken before the
            channels are added: pass `relevance.sum(1, keepdim=True)` for the other order.

    Returns:
        (N, parts), in the unit of the relevance; NaN for a part that a scene does not show.

    Raises:
        ValueError: if the relevance is not one square map for each scene, or a part or the readout
            is unknown.

    Cost:
        Draws the masks; no forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import part_relevance, scenes, stack_masks
        >>> beetles = scenes("test", "Ellipsa_polita", 1)
        >>> sums = part_relevance(torch.ones(1, 1, 64, 64), beetles)
        >>> torch.allclose(sums[0, 0], stack_masks(beetles)[0, 0].sum())  # ones: the part's area
        True
    """
    if relevance.ndim != 4 or len(relevance) != len(scenes) or len(set(relevance.shape[2:])) > 1:
        raise ValueError(
            f"relevance: got shape {tuple(relevance.shape)}; must be ({len(scenes)}, C, S, S)."
        )
    check_choice("readout", readout, _READOUTS)
    masks = _masks(scenes, parts, relevance.shape[-1]).to(relevance)
    sums = torch.einsum("nhw,nphw->np", _READOUTS[readout](relevance).sum(1), masks)
    return sums.masked_fill(masks.sum((2, 3)) == 0, torch.nan)


def _masks(scenes: Sequence[Scene] | Tensor, parts: Sequence[str], size: int) -> Tensor:
    """Draw the masks of parts and clutter, or choose them among those given: (N, parts, S, S)."""
    names = (*PARTS, *CLUTTER)
    if not set(parts) <= set(names):
        raise ValueError(f"parts: got {list(parts)}; must be {', '.join(names)}.")
    if not isinstance(scenes, Tensor):
        return named_masks(scenes, parts, size)
    if scenes.shape[2:] != (size, size) or not len(PARTS) <= scenes.shape[1] <= len(names):
        raise ValueError(
            f"scenes: got masks of shape {tuple(scenes.shape)}; must be "
            f"({len(scenes)}, {len(PARTS)}, {size}, {size}), or more for clutter."
        )
    index = [names.index(part) for part in parts]
    missing = max([0, *index]) + 1 - scenes.shape[1]  # pieces that none of the scenes has
    return F.pad(scenes, (0, 0, 0, 0, 0, max(missing, 0)))[:, index]


def spearman_with_truth(relevance: Tensor, effects: Tensor) -> Tensor:
    """Return Spearman's rank correlation of relevance and true effects over each scene's parts.

    Ties get their mean rank.

    Args:
        relevance: of each part (N, parts), as `part_relevance` returns it. NaN is left out.
        effects: true effects (N, parts).

    Returns:
        (N,), from −1 to 1. 1: the same order; 0: none, also where all numbers of a row are equal.

    Raises:
        ValueError: if the two shapes differ, or are not (N, parts).

    Cost:
        No forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import spearman_with_truth
        >>> spearman_with_truth(torch.tensor([[1.0, 2, 9]]), torch.tensor([[0.1, 0.2, 0.3]])).item()
        1.0
    """
    shown = _shown(relevance, effects)

    def ranks(values: Tensor) -> Tensor:
        # A part's rank is the number of lower ones, and half the number of equal ones.
        lower = (values[:, :, None] > values[:, None, :]) & shown[:, None, :]
        equal = (values[:, :, None] == values[:, None, :]) & shown[:, None, :]
        return lower.sum(2) + equal.sum(2) / 2

    return _correlation(ranks(relevance), ranks(effects), shown)


def pearson_with_truth(relevance: Tensor, effects: Tensor) -> Tensor:
    """Return Pearson's correlation of relevance and true effects over each scene's parts.

        r = Σ (a − mean a) · (b − mean b)  /  √( Σ (a − mean a)² · Σ (b − mean b)² )

    a is the relevance, b the effect. Effects that are all near 0 hardly count beside a large one;
    in `spearman_with_truth` their order counts as much as any other.

    Args:
        relevance: of each part (N, parts), as `part_relevance` returns it. NaN is left out.
        effects: true effects (N, parts).

    Returns:
        (N,), from −1 to 1. 1: a straight, rising line; 0: none, also where all numbers of a row
        are equal.

    Raises:
        ValueError: if the two shapes differ, or are not (N, parts).

    Cost:
        No forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import pearson_with_truth
        >>> effects = torch.tensor([[0.0, 2.0, 1.0]])
        >>> pearson_with_truth(2 * effects + 1, effects).item()
        1.0
    """
    return _correlation(relevance, effects, _shown(relevance, effects))


def top1_agreement(relevance: Tensor, effects: Tensor) -> Tensor:
    """Return whether the part with the most relevance has the largest effect.

    Args:
        relevance: of each part (N, parts), as `part_relevance` returns it. NaN is left out.
        effects: true effects (N, parts).

    Returns:
        (N,): 1 or 0. Of k parts that share the most relevance, the right one among them, 1/k.

    Raises:
        ValueError: if the two shapes differ, or are not (N, parts).

    Cost:
        No forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import top1_agreement
        >>> relevance, effects = torch.tensor([[1.0, 2], [2, 1]]), torch.tensor([[0.0, 3], [0, 3]])
        >>> top1_agreement(relevance, effects).tolist()
        [1.0, 0.0]
    """
    shown = _shown(relevance, effects)
    ours, true = (values.masked_fill(~shown, -torch.inf) for values in (relevance, effects))
    first = ours == ours.amax(1, keepdim=True)
    hit = first.gather(1, true.argmax(1, keepdim=True))[:, 0]
    return hit.double() / first.sum(1)


def sign_agreement(relevance: Tensor, effects: Tensor) -> Tensor:
    """Return the share of all effect whose sign the relevance has right.

        Σ over p of |effect[p]| · [sign relevance[p] = sign effect[p]]  /  Σ over p of |effect[p]|

    A relevance of 0 has no sign and counts half. Most effects are positive, so a map that is
    positive everywhere scores high: compare with the null maps.

    Args:
        relevance: of each part (N, parts), as `part_relevance` returns it. NaN is left out.
        effects: true effects (N, parts).

    Returns:
        (N,), from 0 to 1; 0.5 where nothing has an effect.

    Raises:
        ValueError: if the two shapes differ, or are not (N, parts).

    Cost:
        No forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import sign_agreement
        >>> sign_agreement(torch.tensor([[1.0, 1]]), torch.tensor([[3.0, -1]])).item()
        0.75
    """
    shown = _shown(relevance, effects)
    weight = (effects.abs() * shown).double()
    right = 0.5 + 0.5 * (relevance.nan_to_num().sign() * effects.sign())
    total = weight.sum(1)
    return torch.where(total > 0, (weight * right).sum(1) / total.clamp_min(1e-30), 0.5)


def magnitude_agreement(relevance: Tensor, effects: Tensor) -> Tensor:
    """Return how close relevance in logits is to the effect in logits.

        1 − Σ over p of |relevance[p] − effect[p]|  /  Σ over p of |effect[p]|

    For methods whose unit is logits.

    Args:
        relevance: of each part (N, parts), as `part_relevance` returns it. NaN is left out.
        effects: true effects (N, parts), in logits.

    Returns:
        (N,), at most 1. 1: the relevance of every part is its effect; 0: no better than a map of
        zeros, also where nothing has an effect; below 0: worse.

    Raises:
        ValueError: if the two shapes differ, or are not (N, parts).

    Cost:
        No forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import magnitude_agreement
        >>> magnitude_agreement(torch.tensor([[2.0, 0]]), torch.tensor([[3.0, 1]])).item()
        0.5
    """
    shown = _shown(relevance, effects)
    missed = ((relevance - effects).nan_to_num() * shown).abs().double().sum(1)
    total = (effects.abs() * shown).double().sum(1)
    return torch.where(total > 0, 1 - missed / total.clamp_min(1e-30), 0.0)


# ---- regions without effect ----------------------------------------------------------------------


def distractibility(relevance: Tensor, effects: Tensor, *, tolerance: float = 0.05) -> Tensor:
    """Return the share of relevance that lies on regions without effect: 0 is best.

        Σ over regions without effect of |relevance|  /  Σ over all regions of |relevance|

    A region is a part or a piece of clutter. It has no effect if its |effect| is at most
    `tolerance` times the largest of the scene. In Hesse and others the word stands for 1 − the
    share of the regions without effect whose relevance is above a threshold. Here each of them
    counts by its relevance, so no threshold is chosen.

    Args:
        relevance: of each region (N, regions), as `part_relevance` returns it for
            `(*PARTS, *CLUTTER)`. NaN is left out.
        effects: true effects (N, regions), as `ground_truth_effects` returns them.
        tolerance: the share of the largest effect that counts as none, from 0 to below 1.

    Returns:
        (N,), from 0 to 1; 0 where all relevance is 0.

    Raises:
        ValueError: if the two shapes differ, are not (N, regions), or the tolerance is not as
            described.

    Cost:
        No forward pass.

    References:
        Hesse, Schaub-Meyer, Roth: FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis
        of Explainable AI Methods. ICCV 2023, arXiv:2308.06248.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import distractibility
        >>> relevance, effects = torch.tensor([[2.0, -1, 1]]), torch.tensor([[5.0, -3, 0.1]])
        >>> distractibility(relevance, effects).item()
        0.25
    """
    size, has_effect = _sizes(relevance, effects, tolerance)
    total = size.sum(1)
    return (size * ~has_effect).sum(1) / torch.where(total > 0, total, 1.0)


def distractors_above(relevance: Tensor, effects: Tensor, *, tolerance: float = 0.05) -> Tensor:
    """Return how often a region without effect gets more relevance than one with an effect.

        Of all pairs of a region with and one without effect, the share in which the one without
        has the larger |relevance|. Equal pairs count half.

    0 is best, 0.5 is what a map gets that knows nothing. It is 1 − the area under the ROC curve.

    Args:
        relevance: of each region (N, regions), as for `distractibility`. NaN is left out.
        effects: true effects (N, regions).
        tolerance: the share of the largest effect that counts as none, from 0 to below 1.

    Returns:
        (N,), from 0 to 1; NaN where all regions have an effect, or none has.

    Raises:
        ValueError: as `distractibility` does.

    Cost:
        No forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import distractors_above
        >>> relevance, effects = torch.tensor([[4.0, 1, 3]]), torch.tensor([[5.0, 3, 0]])
        >>> distractors_above(relevance, effects).item()  # the third is above one of two
        0.5
    """
    size, has_effect = _sizes(relevance, effects, tolerance)
    is_pair = has_effect[:, :, None] & (~has_effect & ~relevance.isnan())[:, None, :]
    with_effect, without = size[:, :, None], size[:, None, :]
    above = (without > with_effect).double() + (without == with_effect).double() / 2
    return (above * is_pair).sum((1, 2)) / is_pair.sum((1, 2))


def top_has_effect(relevance: Tensor, effects: Tensor, *, tolerance: float = 0.05) -> Tensor:
    """Return whether the region with the largest |relevance| has an effect.

    A map that goes by brightness or edges marks the clutter. Compare with `top1_agreement`, which
    asks for the region with the largest effect.

    Args:
        relevance: of each region (N, regions), as for `distractibility`. NaN is left out.
        effects: true effects (N, regions).
        tolerance: the share of the largest effect that counts as none, from 0 to below 1.

    Returns:
        (N,): 1 or 0; of k regions that share the largest |relevance|, the share with an effect.

    Raises:
        ValueError: as `distractibility` does.

    Cost:
        No forward pass.

    Example:
        >>> import torch
        >>> from xai_course.beetlebox import top_has_effect
        >>> relevance, effects = torch.tensor([[1.0, -2], [1, 2]]), torch.tensor([[3.0, 2], [3, 0]])
        >>> top_has_effect(relevance, effects).tolist()
        [1.0, 0.0]
    """
    size, has_effect = _sizes(relevance, effects, tolerance)
    first = (size == size.amax(1, keepdim=True)) & ~relevance.isnan()
    return (first & has_effect).double().sum(1) / first.sum(1)


def _sizes(relevance: Tensor, effects: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return |relevance|, 0 for what is not shown, and which of the shown has an effect."""
    shown = _shown(relevance, effects)
    check_number("tolerance", tolerance, least=0, below=1)
    force = effects.abs() * shown
    return relevance.abs().nan_to_num().double(), force > tolerance * force.amax(1, keepdim=True)


def _correlation(first: Tensor, second: Tensor, shown: Tensor) -> Tensor:
    """Return Pearson's correlation of two rows of numbers over those that are shown, (N,)."""

    def centred(values: Tensor) -> Tensor:
        # Rows are scaled first, so that squares neither vanish nor overflow.
        values = torch.where(shown, values.double(), 0.0)
        values = values / values.abs().amax(1, keepdim=True).clamp_min(1e-300)
        return (values - values.sum(1, keepdim=True) / shown.sum(1, keepdim=True)) * shown

    ours, true = centred(first), centred(second)
    spread = (ours.square().sum(1) * true.square().sum(1)).sqrt()
    # Equal numbers leave a spread of rounding errors.
    return torch.where(spread > 1e-12, (ours * true).sum(1) / spread.clamp_min(1e-300), 0.0)


def _shown(relevance: Tensor, effects: Tensor) -> Tensor:
    """Return where the relevance has a number; raise ValueError if the shapes differ."""
    if relevance.ndim != 2 or relevance.shape != effects.shape:
        raise ValueError(
            f"relevance: got {tuple(relevance.shape)}; must be (N, parts), as effects "
            f"{tuple(effects.shape)}."
        )
    return ~relevance.isnan()
