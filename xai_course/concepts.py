"""Technique 2: what the features that the fully connected layer reads have to do with concepts.

Neighbours among known images, and directions in a layer that stand for a concept. All is computed
anew for each model at each call; a direction found in one network means nothing in another.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.arguments import prepare
from xai_course.tracing import watch_layer

__all__ = [
    "ConceptUse",
    "ConceptVector",
    "Neighbours",
    "concept_vector",
    "embed",
    "layer_features",
    "nearest_examples",
    "tcav",
]

Layer = str | nn.Module | None


# ------------------------------------------------------------------ neighbours


@torch.inference_mode(False)
@torch.no_grad()
def embed(model: nn.Module, images: Tensor, *, batch_size: int = 250) -> Tensor:
    """Return the embedding of images: what enters the last linear layer.

    `images` (N, C, H, W) to features (N, F), in the network's own unit. `batch_size`: images in
    one forward pass. One forward pass in all. Raises ValueError for wrong arguments, and if no
    linear layer runs on (N, F), or it runs on another number of rows.
    """

    class LastInput(TorchFunctionMode):
        features: Tensor | None = None

        def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            if func is F.linear:
                given: Tensor = args[0] if args else kwargs["input"]
                self.features = given.clone() if given.ndim == 2 else self.features
            return func(*args, **(kwargs or {}))

    fits = isinstance(images, Tensor) and images.ndim == 4 and isinstance(batch_size, int)
    rows = []
    for part in torch.split(images, max(batch_size, 1)) if fits else [images]:
        with LastInput() as last:
            prepare(model, part, batch_size=batch_size)
        if last.features is None or len(last.features) != len(part):
            came = "none" if last.features is None else f"one on {len(last.features)} rows"
            raise ValueError(
                f"model: got {came} for {len(part)} images; allowed is a network that ends in a "
                "linear layer on (N, features). layer_features reads any other layer."
            )
        rows.append(last.features)
    return torch.cat(rows)


class Neighbours(NamedTuple):
    """Nearest examples: `distance` and `indices` (N, k) into the examples, `near` (N,) bool."""

    distance: Tensor
    indices: Tensor
    near: Tensor


def nearest_examples(
    model: nn.Module,
    images: Tensor,
    examples: Tensor,
    *,
    count: int = 5,
    quantile: float = 0.99,
    batch_size: int = 250,
) -> Neighbours:
    """Find the examples whose embedding is nearest to that of each image, nearest first.

    `images` (N, C, H, W) and `examples` (M, C, H, W) to distances (N, count), Euclidean in the
    embedding (see `embed`), their indices (N, count), and `near` (N,).

    There is always a nearest example, also where nothing is near. So each example's distance to
    the nearest *other* example is taken as what is usual: `near` is False for an image whose
    nearest example is farther than this `quantile` of them, and a warning says so.

    One forward pass an image and an example; distances are taken `batch_size` rows at a time.
    Raises ValueError for wrong arguments, and for fewer than two examples or than `count`.
    """
    known, asked = (embed(model, some, batch_size=batch_size) for some in (examples, images))
    if not isinstance(count, int) or not 1 <= count <= len(known) or len(known) < 2:
        raise ValueError(
            f"count: got {count!r} of {len(known)} examples; allowed is a whole number from 1 to "
            "the number of examples, of which there must be two."
        )
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile: got {quantile}; allowed is above 0 and at most 1.")

    def nearest(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the k smallest distances of rows to the known ones, and where they are."""
        exact = "donot_use_mm_for_euclid_dist"  # the fast way is wrong where rows almost coincide
        found = [
            torch.cdist(part, known, compute_mode=exact).topk(k, largest=False)
            for part in torch.split(rows, batch_size)
        ]
        return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])

    usual = nearest(known, 2)[0][:, 1]  # the nearest one of an example is itself
    limit = torch.quantile(usual.float(), quantile)
    distance, indices = nearest(asked, count)
    near = distance[:, 0] <= limit
    if not near.all():
        warnings.warn(
            f"nothing is near: of {len(near)} images, {int((~near).sum())} are farther from every "
            f"example than {limit:.3g}, within which {quantile:.0%} of the examples have another "
            "one. Their nearest examples explain nothing.",
            stacklevel=2,
        )
    return Neighbours(distance, indices, near)


# ------------------------------------------------------------------ concepts


@torch.inference_mode(False)
@torch.no_grad()
def layer_features(
    model: nn.Module,
    images: Tensor,
    layer: Layer = None,
    *,
    average: bool = True,
    batch_size: int = 250,
) -> Tensor:
    """Return a layer's activations as one row an image: (N, K), or (N, K·h·w) without `average`.

    `layer`: a module of the model or its dotted name; None: the last convolutional feature map.
    `average`: the mean over the places of a map (N, K, h, w); it has no say for other layers.
    One forward pass in all. Raises ValueError for wrong arguments and layers.
    """
    fits = isinstance(images, Tensor) and images.ndim == 4 and isinstance(batch_size, int)
    rows = []
    for part in torch.split(images, max(batch_size, 1)) if fits else [images]:
        if not isinstance(model, nn.Module):
            prepare(model, part)  # which refuses it
        with watch_layer(model, layer) as seen:
            prepare(model, part, batch_size=batch_size)
        found = seen[-1]
        rows.append(found.mean((2, 3)) if average and found.ndim == 4 else found.flatten(1))
    return torch.cat(rows)


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
        _, _, classes = prepare(model, images, targets, batch_size=batch_size)
    slopes = []
    for part, of_part in zip(
        torch.split(images, batch_size), torch.split(classes, batch_size), strict=True
    ):
        with watch_layer(model, layer) as seen:
            _, chosen, _ = prepare(model, part, of_part)
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
