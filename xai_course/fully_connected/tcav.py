"""Concepts: directions in a layer that stand for a concept, and whether a logit uses them (TCAV).

All is computed anew for each model at each call; a direction found in one network means nothing in
another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_count
from xai_course.core.graph import derivatives
from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import validate_inputs
from xai_course.core.outputs import single_output
from xai_course.core.randomness import new_generator
from xai_course.core.switches import own_switches
from xai_course.fully_connected.embeddings import Layer, layer_features

__all__ = ["ConceptUse", "ConceptVector", "concept_vector", "tcav"]


# ---- concept vectors -----------------------------------------------------------------------------


class ConceptVector(NamedTuple):
    """A concept as a direction in a layer.

    Attributes:
        direction: the concept activation vector (K,), of length 1.
        step: how far along it the concept moves an image, mean over the pairs.
        accuracy: share of held-out images that lie on the right side of the middle.
        ordered: share of held-out pairs of which the image with the concept is farther along.
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

        direction = mean over pairs of (a(present) - a(absent)), scaled to length 1

    A mean difference rather than a classifier's weights: a classifier also relies on units that the
    concept does not move, in order to cancel what disturbs the others, so that a step along its
    weights is not what the concept does (Haufe and others). In pairs nothing else differs, so the
    mean difference is what the concept does. `accuracy` still tells how well it can be read.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        present: images with the concept (P, C, H, W).
        absent: images without it (P, C, H, W). The k-th of both are a pair that differs in the
            concept alone, such as one scene with a part and without it.
        layer: as in `layer_features`.
        average: as in `layer_features`.
        folds: parts into which the pairs are divided; the accuracy is that of directions found
            without the pairs they are tried on.
        batch_size: images in one forward pass.

    Returns:
        `ConceptVector`.

    Raises:
        ValueError: if an argument is not as described, for fewer than two pairs, and for a layer
            that the concept does not change.

    Cost:
        Two forward passes for each pair.

    References:
        Kim and others: Interpretability Beyond Feature Attribution: Quantitative Testing with
        Concept Activation Vectors (TCAV). ICML 2018, arXiv:1711.11279. Haufe and others: On the
        interpretation of weight vectors of linear models in multivariate neuroimaging. NeuroImage
        2014, doi:10.1016/j.neuroimage.2013.10.067.

    Example:
        The concept adds 3 to the first pixel and 4 to the second: a step of 5.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import concept_vector
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).eval()
        >>> absent = torch.rand(6, 1, 1, 2)
        >>> concept = concept_vector(model, absent + torch.tensor([3.0, 4.0]), absent, "0")
        >>> round(concept.step, 4), concept.accuracy
        (5.0, 1.0)
    """
    with_concept, without = (
        layer_features(model, images, layer, average=average, batch_size=batch_size)
        for images in (present, absent)
    )  # (P, K) both
    if with_concept.shape != without.shape or len(with_concept) < 2:
        raise ValueError(
            f"present, absent: got {len(with_concept)} and {len(without)} images; must be as many "
            "of both, at least two, the k-th of both being a pair."
        )
    folds = check_count("folds", folds, least=2)
    mean = (with_concept - without).mean(0)
    if not (mean != 0).any():
        raise ValueError(
            f"layer: got {layer!r}, which the concept does not change; must be one it changes."
        )
    accuracy, ordered = _cross_validated(with_concept, without, folds)
    return ConceptVector(F.normalize(mean, dim=0), float(mean.norm()), accuracy, ordered)


def _cross_validated(with_concept: Tensor, without: Tensor, folds: int) -> tuple[float, float]:
    """Return how well directions order pairs (P, K) that they were found without.

    Returns:
        The share of images on the right side of the middle, and the share of pairs in order.
    """
    correct, in_order = [], []
    fold = torch.arange(len(with_concept)) % min(folds, len(with_concept))  # of each pair
    for number in range(int(fold.max()) + 1):
        seen, held_out = fold != number, fold == number
        direction = (with_concept - without)[seen].mean(0)
        middle = (with_concept[seen].mean(0) + without[seen].mean(0)) @ direction / 2
        above, below = with_concept[held_out] @ direction, without[held_out] @ direction
        correct += [above > middle, below < middle]
        in_order.append(above > below)
    accuracy = float(torch.cat(correct).double().mean())
    return accuracy, float(torch.cat(in_order).double().mean())


# ---- TCAV ----------------------------------------------------------------------------------------


class ConceptUse(NamedTuple):
    """Whether a logit uses a concept.

    Attributes:
        share: the TCAV score: the share of images whose logit rises along the concept's direction.
        slope: the mean change of the logit, in logits, for one step of the concept (the mean of the
            "conceptual sensitivity").
        null_share: the middle 95 % of the shares that random concepts give.
        null_slope: the middle 95 % of the slopes that random concepts give.
        p: p-value of the slope, two-sided.
        p_holm: the same, corrected for the number of concepts (Holm).
    """

    share: float
    slope: float
    null_share: tuple[float, float]
    null_slope: tuple[float, float]
    p: float
    p_holm: float


@own_switches(grad=True)
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

        slope[n] = ⟨∂ logit / ∂ A[n], d⟩    with d the mean over pairs of a(present) - a(absent)
        share    = share of images with slope > 0    (the TCAV score; an exact 0 counts half)

    The null hypothesis: in every pair, a coin decides which image is called "present". These random
    concepts are made of the same images as the real one and differ from it only in that their pairs
    have nothing in common, so p is exact if the concept does not move the logit.

    Where the logit is linear in the layer (the last map before pooling and one linear layer), the
    derivative is the same for every image, so the share is 0 or 1 for random concepts, too: there,
    read the slope. Nothing is kept between calls.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: what is explained (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        concepts: for each name the pair (present, absent) that `concept_vector` takes.
        layer: as in `layer_features`.
        average: as in `layer_features`; on average over positions, a step is the same at every
            position.
        draws: how many random concepts are drawn for each concept.
        seed: of the coins.
        batch_size: images in one pass.

    Returns:
        `ConceptUse` for each name.

    Raises:
        ValueError: if an argument is not as described, and for a layer on which the logit does not
            depend.

    Cost:
        Two forward passes and the backward pass to the layer for each image; two forward passes for
        each pair.

    References:
        Kim and others: Interpretability Beyond Feature Attribution: Quantitative Testing with
        Concept Activation Vectors (TCAV). ICML 2018, arXiv:1711.11279. Holm: A Simple Sequentially
        Rejective Multiple Test Procedure. Scandinavian Journal of Statistics, 1979.

    Example:
        The logit is twice the first pixel, to which the concept adds 3: a slope of 6.

        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import tcav
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1)).eval()
        >>> _ = model[1].weight.data.copy_(torch.tensor([[2.0, 0.0]]))
        >>> absent = torch.rand(12, 1, 1, 2)
        >>> concepts = {"first pixel": (absent + torch.tensor([3.0, 0.0]), absent)}
        >>> use = tcav(model, absent, 0, concepts, "0")["first pixel"]
        >>> round(use.slope, 4), use.share, use.p < 0.01
        (6.0, 1.0, True)
    """
    if not isinstance(concepts, Mapping) or not concepts:
        raise ValueError(
            f"concepts: got {concepts!r:.60}; must be a pair (present, absent) for each name."
        )
    draws = check_count("draws", draws)
    gradients = _layer_gradients(model, images, targets, layer, average, batch_size)  # (N, K)
    generator = new_generator(seed)
    uses = {}
    for name, pair in concepts.items():
        with_concept, without = (
            layer_features(model, part, layer, average=average, batch_size=batch_size).double()
            for part in pair
        )  # (P, K) both
        if with_concept.shape != without.shape or with_concept.shape[1] != gradients.shape[1]:
            raise ValueError(
                f"concepts: got features {tuple(with_concept.shape)} and {tuple(without.shape)} "
                f"with and without {name!r}; must be pairs with {gradients.shape[1]} features."
            )
        uses[name] = _sign_flip_test(gradients, with_concept - without, draws, generator)
    return _holm(uses)


def _layer_gradients(
    model: nn.Module, images: Tensor, targets: Any, layer: Layer, average: bool, batch_size: int
) -> Tensor:
    """Return ∂ logit / ∂ layer of each image (N, K); with `average`, summed over positions."""
    model, targets = single_output(model, targets)
    with torch.no_grad():
        _, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    rows = []
    batches = torch.split(images, int(batch_size)), torch.split(classes, int(batch_size))
    for batch, its_classes in zip(*batches, strict=True):
        with capture_layer(model, layer) as seen:
            _, chosen, _ = validate_inputs(model, batch, its_classes)
        (grad,) = derivatives(chosen.sum(), seen[-1], allow_unused=True)
        if grad is None:
            raise ValueError(
                f"layer: got {layer!r}, on which the logit does not depend; must be one it needs."
            )
        rows.append(grad.sum((2, 3)) if average and grad.ndim == 4 else grad.flatten(1))
    return torch.cat(rows).double()


def _sign_flip_test(
    gradients: Tensor, differences: Tensor, draws: int, generator: torch.Generator
) -> ConceptUse:
    """Test a concept's pairs (P, K) against random signs, for the gradients (N, K) of N images."""
    slopes = gradients @ differences.T / len(differences)  # (N, P): what each pair adds to a slope
    noise = gradients.abs() @ differences.abs().mean(0) * 1e-12  # below it, rounding
    coins = torch.randint(2, (draws, len(differences)), generator=generator)
    signs = coins.to(slopes) * 2 - 1  # (draws, P): -1 where present and absent are exchanged
    slope, null_slopes = slopes.sum(1).mean(), (slopes.mean(0) * signs).sum(1)

    def share(of_images: Tensor) -> Tensor:
        """Return the share of images with a positive slope, from slopes (N, concepts)."""
        positive, negative = of_images > noise[:, None], of_images < -noise[:, None]
        balance = positive.double() - negative.double()
        return (balance.mean(0) + 1) / 2

    # In parts, since N × draws slopes may be too many for the memory.
    null_shares = torch.cat([share(slopes @ part.T) for part in torch.split(signs, 500)])
    extreme = (null_slopes.abs() >= slope.abs() - noise.mean()).sum()
    p = float(extreme + 1) / (draws + 1)
    return ConceptUse(
        share=float(share(slopes.sum(1, keepdim=True))),
        slope=float(slope),
        null_share=_middle_95(null_shares),
        null_slope=_middle_95(null_slopes),
        p=p,
        p_holm=p,
    )


def _middle_95(values: Tensor) -> tuple[float, float]:
    """Return the ends of the middle 95 % of values."""
    low, high = values.quantile(torch.tensor([0.025, 0.975]).to(values)).tolist()
    return low, high


def _holm(uses: dict[str, ConceptUse]) -> dict[str, ConceptUse]:
    """Correct p-values for their number: the smallest times all, the next times one less."""
    corrected, highest = dict(uses), 0.0
    for number, name in enumerate(sorted(uses, key=lambda name: uses[name].p)):
        highest = max(highest, min(1.0, (len(uses) - number) * uses[name].p))
        corrected[name] = uses[name]._replace(p_holm=highest)
    return corrected
