"""Technique 2: what the features that the fully connected layer reads have to do with concepts.

Neighbours among known images, and directions in a layer that stand for a concept. All is computed
anew for each model at each call; a direction found in one network means nothing in another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import validate_inputs
from xai_course.fully_connected.embeddings import Layer, layer_features

__all__ = ["ConceptUse", "ConceptVector", "concept_vector", "tcav"]


class ConceptVector(NamedTuple):
    """A concept as a direction in a layer.

    `direction` (K,): of length 1. `step`: how far along it the concept moves an image, mean over
    the pairs. `accuracy`: share of held-out images that it puts on the right side of the middle.
    `ordered`: share of held-out pairs of which the image with the concept is farther along.
    """

    direction: Tensor
    step: float
    accuracy: float
    ordered: float


def concept_vector(
    model: nn.Module,
    present: Tensor,
    absent: Tensor,
    layer: Layer = None,
    *,
    average: bool = True,
    folds: int = 5,
    batch_size: int = 250,
) -> ConceptVector:
    """Find the direction in a layer's activations in which a concept moves them.

    `present` and `absent` (P, C, H, W): pairs of images that differ in the concept alone, such as
    one scene with a part and without it. `layer` and `average` as in `layer_features`. `folds`: the
    accuracy is that of directions found without the pairs they are tried on.

        direction = mean over pairs of (a(present) - a(absent)), scaled to length 1

    A mean difference rather than a classifier's weights: a classifier also leans on units that the
    concept does not move, in order to cancel what disturbs the others, so that a step along its
    weights is not what the concept does (Haufe et al.). In pairs nothing else differs, so the mean
    difference is what the concept does. `accuracy` still says how well it can be read.

    Two forward passes a pair. Raises ValueError for wrong arguments, fewer than two pairs, and a
    layer that the concept does not change.

    Kim et al.: Interpretability Beyond Feature Attribution: Quantitative Testing with Concept
    Activation Vectors (TCAV). ICML 2018, arXiv:1711.11279. Haufe et al.: On the interpretation of
    weight vectors of linear models in multivariate neuroimaging. NeuroImage 2014,
    doi:10.1016/j.neuroimage.2013.10.067.
    """
    with_it, without = (
        layer_features(model, images, layer, average=average, batch_size=batch_size)
        for images in (present, absent)
    )
    if with_it.shape != without.shape or len(with_it) < 2:
        raise ValueError(
            f"present, absent: got {len(with_it)} and {len(without)} images; allowed is the same "
            "number, at least two, the k-th of both being a pair."
        )
    if not isinstance(folds, int) or folds < 2:
        raise ValueError(f"folds: got {folds!r}; allowed is a whole number from 2.")
    mean = (with_it - without).mean(0)
    if not (mean != 0).any():
        raise ValueError(
            f"layer: the concept does not change {layer!r}; allowed is one it changes."
        )
    fold, right, ordered = torch.arange(len(with_it)) % min(folds, len(with_it)), [], []
    for number in range(int(fold.max()) + 1):
        seen, held_out = fold != number, fold == number
        found = (with_it - without)[seen].mean(0)
        middle = (with_it[seen].mean(0) + without[seen].mean(0)) @ found / 2
        above, below = with_it[held_out] @ found, without[held_out] @ found
        right += [above > middle, below < middle]
        ordered.append(above > below)
    shares = [float(torch.cat(some).double().mean()) for some in (right, ordered)]
    return ConceptVector(F.normalize(mean, dim=0), float(mean.norm()), *shares)


class ConceptUse(NamedTuple):
    """Whether a logit uses a concept.

    `share`: of the images, those whose logit rises along the concept's direction. `slope`: mean
    change of the logit, in logits, for one step of the concept. `null_share` and `null_slope`: the
    middle 95 % of what random concepts give. `p`: of the slope, two-sided; `p_holm`: corrected for
    the number of concepts.
    """

    share: float
    slope: float
    null_share: tuple[float, float]
    null_slope: tuple[float, float]
    p: float
    p_holm: float


@torch.inference_mode(False)
@torch.enable_grad()
def tcav(
    model: nn.Module,
    images: Tensor,
    targets: Any,
    concepts: Mapping[str, tuple[Tensor, Tensor]],
    layer: Layer = None,
    *,
    average: bool = True,
    draws: int = 2000,
    seed: int = 0,
    batch_size: int = 250,
) -> dict[str, ConceptUse]:
    """Test which concepts a logit uses: whether it rises when a layer moves as the concept does.

    `images` (N, C, H, W) and `targets`: what is explained; class indices (N,), one index, or None.
    `concepts`: name to the pair (present, absent) that `concept_vector` takes. `layer` and
    `average` as in `layer_features`; on average over places, a step is the same at every place.

        slope[n] = ⟨∂ logit / ∂ A[n], d⟩    with d the mean over pairs of a(present) - a(absent)
        share    = share of images with slope > 0    (TCAV; an exact 0 counts half)

    The null: in every pair, which image is called "present" is decided by a coin. These random
    concepts are made of the same images as the real one and differ from it only in that nothing is
    common to their pairs, so p is exact if the concept does not move the logit. `draws`: how many.

    Where the logit is linear in the layer (the last map before pooling and one linear layer), the
    derivative is the same for every image, so the share is 0 or 1 for random concepts, too: there,
    read the slope. Nothing is kept between calls.

    Two forward passes, and the backward pass to the layer, an image; two forward passes a pair.
    Raises ValueError for wrong arguments, no concepts, and a layer that the logit does not need.

    Kim et al.: TCAV. ICML 2018, arXiv:1711.11279. Holm: A Simple Sequentially Rejective Multiple
    Test Procedure. Scandinavian Journal of Statistics, 1979.
    """
    if not isinstance(concepts, Mapping) or not concepts or draws < 1:
        raise ValueError(
            f"concepts, draws: got {concepts!r:.60} and {draws}; allowed are a name for each pair "
            "(present, absent), and at least one draw."
        )
    with torch.no_grad():
        _, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    slopes = []
    for part, of_part in zip(
        torch.split(images, batch_size), torch.split(classes, batch_size), strict=True
    ):
        with capture_layer(model, layer) as seen:
            _, chosen, _ = validate_inputs(model, part, of_part)
        (slope,) = torch.autograd.grad(chosen.sum(), seen[-1], allow_unused=True)
        if slope is None:
            raise ValueError(
                f"layer: the logit does not depend on {layer!r}; allowed is one it needs."
            )
        slopes.append(slope.sum((2, 3)) if average and slope.ndim == 4 else slope.flatten(1))
    gradients, used = torch.cat(slopes).double(), {}
    generator = torch.Generator().manual_seed(seed)
    for name, (present, absent) in concepts.items():
        with_it, without = (
            layer_features(model, some, layer, average=average, batch_size=batch_size).double()
            for some in (present, absent)
        )
        if with_it.shape != without.shape or with_it.shape[1] != gradients.shape[1]:
            raise ValueError(
                f"concepts: {name!r} gives {tuple(with_it.shape)} with it and "
                f"{tuple(without.shape)} without; allowed are pairs with {gradients.shape[1]} "
                "features."
            )
        used[name] = _against_coins(gradients, with_it - without, draws, generator)
    rank = sorted(used, key=lambda name: used[name].p)
    highest = 0.0
    for number, name in enumerate(rank):  # Holm: the smallest p times all, the next times one less
        highest = max(highest, min(1.0, (len(rank) - number) * used[name].p))
        used[name] = used[name]._replace(p_holm=highest)
    return used


def _against_coins(
    gradients: Tensor, differences: Tensor, draws: int, generator: torch.Generator
) -> ConceptUse:
    """Hold a concept's pairs (P, K) against coin flips, for the gradients (N, K) of N images."""
    each = gradients @ differences.T / len(differences)  # (N, P): what each pair adds to a slope
    noise = gradients.abs() @ differences.abs().mean(0) * 1e-12  # below it, rounding
    coins = torch.randint(2, (draws, len(differences)), generator=generator).to(each) * 2 - 1
    slope, null_slope = each.sum(1).mean(), (each.mean(0) * coins).sum(1)

    def share(along: Tensor) -> Tensor:
        rises = (along > noise[:, None]).double() - (along < -noise[:, None]).double()
        return (rises.mean(0) + 1) / 2

    null_share = torch.cat([share(each @ some.T) for some in torch.split(coins, 500)])
    ends = torch.tensor([0.025, 0.975]).to(each)
    extreme = (null_slope.abs() >= slope.abs() - noise.mean()).sum()
    p = float(extreme + 1) / (draws + 1)
    share_low, share_high = null_share.quantile(ends).tolist()
    low, high = null_slope.quantile(ends).tolist()
    return ConceptUse(
        float(share(each.sum(1, True))), float(slope), (share_low, share_high), (low, high), p, p
    )
