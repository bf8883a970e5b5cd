"""How good an explanation is: the true answer first, and how far an explanation agrees with it.

In BeetleBox a part can be taken away while nothing else moves, so the effect of a part on a model
is measured rather than estimated. That is the answer key, in logits. Every score comes one a scene,
so that it can be given with an interval, and beside the score of a map that knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.arguments import prepare
from xai_course.beetles import PARTS, Scene
from xai_course.data import normalise, stack_images, stack_masks

__all__ = ["mean_interval", "noise_map", "part_effects", "part_relevance", "rank_agreement"]


@torch.no_grad()
def part_effects(
    model: nn.Module,
    scenes: Sequence[Scene],
    targets: Any = None,
    *,
    parts: Sequence[str] = PARTS,
    size: int = 64,
    batch_size: int = 250,
) -> Tensor:
    """Measure what each part of each scene adds to the chosen logit: the answer key (N, parts).

        effect[n, p] = logit(scene n) - logit(scene n without part p)

    In logits; 0 for a part that a scene does not have. `targets`: class indices (N,), one index, or
    None for the class that the model predicts for the whole scene. `model` takes normalised images.

    Raises ValueError for a model in training mode, no scenes, unknown parts or wrong targets.
    """
    if len(scenes) == 0:
        raise ValueError("scenes: got none; allowed is at least one.")

    def draw(some: Sequence[Scene]) -> Tensor:
        return normalise(stack_images(some, size)).to(next(model.parameters(), torch.empty(0)))

    x, whole, classes = prepare(model, draw(scenes), targets, batch_size=batch_size)
    changed = [scene.without(part) for scene in scenes for part in parts]
    effects = []
    for start in range(0, len(changed), batch_size):
        without = draw(changed[start : start + batch_size])
        own = torch.arange(start, start + len(without), device=x.device) // len(parts)
        fall = whole[own] - model(without).gather(1, classes[own, None])[:, 0]
        same = (without == x[own]).flatten(1).all(1)  # the scene does not have this part
        effects.append(fall.masked_fill(same, 0))
    return torch.cat(effects).view(len(scenes), len(parts))


def part_relevance(
    relevance: Tensor, scenes: Sequence[Scene], parts: Sequence[str] = PARTS
) -> Tensor:
    """Sum relevance (N, C, H, W) over each part's mask: (N, parts), in the relevance's unit.

    NaN for a part that a scene does not show. H = W is the size at which the scenes were rendered.

        found[n, p] = Σ over channels and pixels of  relevance[n] · mask[n, p]

    Raises ValueError if the relevance is not one square map a scene, and for unknown parts.
    """
    if relevance.ndim != 4 or len(relevance) != len(scenes) or len(set(relevance.shape[2:])) > 1:
        raise ValueError(
            f"relevance: got shape {tuple(relevance.shape)}; allowed is ({len(scenes)}, C, S, S)."
        )
    if not set(parts) <= set(PARTS):
        raise ValueError(f"parts: got {list(parts)}; allowed are {', '.join(PARTS)}.")
    masks = stack_masks(scenes, relevance.shape[-1]).to(relevance)
    masks = masks[:, [PARTS.index(part) for part in parts]]  # (N, parts, S, S)
    found = torch.einsum("nhw,nphw->np", relevance.sum(1), masks)
    return found.masked_fill(masks.sum((2, 3)) == 0, torch.nan)


def rank_agreement(found: Tensor, effects: Tensor) -> Tensor:
    """Return Spearman's rank correlation of each row, over the entries that `found` has: (N,).

    `found` and `effects` (N, parts); what is NaN in `found` is left out. Ties get their mean rank.
    1: the same order; 0: none, also where all of a row's numbers are equal; -1: the reverse.
    Raises ValueError for shapes that differ.
    """
    if found.ndim != 2 or found.shape != effects.shape:
        raise ValueError(
            f"found: got {tuple(found.shape)}; allowed is (N, parts), as effects "
            f"{tuple(effects.shape)}."
        )
    shown = ~found.isnan()

    def centred_ranks(values: Tensor) -> Tensor:
        lower = (values[:, :, None] > values[:, None, :]) & shown[:, None, :]
        equal = (values[:, :, None] == values[:, None, :]) & shown[:, None, :]
        ranks = (lower.sum(2) + equal.sum(2) / 2).double() * shown
        mean = ranks.sum(1, keepdim=True) / shown.sum(1, keepdim=True)
        return (ranks - mean) * shown

    ours, true = centred_ranks(found), centred_ranks(effects)
    spread = (ours.square().sum(1) * true.square().sum(1)).sqrt()
    return torch.where(spread > 0, (ours * true).sum(1) / spread.clamp_min(1e-12), 0.0)


def mean_interval(
    values: Any, *, level: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of values (N,), one a scene, and its bootstrap interval: (mean, low, high).

    The interval holds the middle `level` of the means of `samples` draws of N values with
    replacement. Raises ValueError for no values, NaN, or a level outside (0, 1).

    Efron: Bootstrap Methods: Another Look at the Jackknife. Annals of Statistics, 1979.
    """
    numbers = torch.as_tensor(values, dtype=torch.double).flatten()
    if not len(numbers) or not numbers.isfinite().all():
        raise ValueError(f"values: got {values}; allowed is at least one finite number.")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}; allowed is between 0 and 1.")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(numbers), (samples, len(numbers)), generator=generator)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    low, high = numbers[drawn].mean(1).quantile(ends).tolist()
    return numbers.mean().item(), low, high


def noise_map(
    model: nn.Module, images: Tensor, targets: Any = None, *, smooth: int = 0, seed: int = 0
) -> Tensor:
    """Return random relevance (N, 1, H, W) that knows nothing: a null to hold beside every score.

    Normal noise; `smooth`: pixels of a box blur on either side, for blots instead of grain.
    The same seed gives the same map. Raises ValueError as every explainer does.
    """
    with torch.no_grad():
        x, _, _ = prepare(model, images, targets)
    if smooth < 0:
        raise ValueError(f"smooth: got {smooth}; allowed is 0 or more pixels.")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(x), 1, *x.shape[2:], generator=generator, dtype=torch.double)
    for _ in range(2 if smooth else 0):
        noise = F.avg_pool2d(noise, 2 * smooth + 1, 1, smooth, count_include_pad=False)
    return noise.to(x)
