"""Embeddings: features of a layer, and the nearest examples."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_course.core.checks import check_count, check_number
from xai_course.core.hooks import capture_layer, intercept
from xai_course.core.inputs import check_images, validate_inputs
from xai_course.core.switches import own_switches

__all__ = ["Neighbours", "embed", "layer_features", "nearest_examples"]


Layer = str | nn.Module | None


# ---- features of a layer -------------------------------------------------------------------------


@own_switches(grad=False)
def embed(model: nn.Module, images: Tensor, *, batch_size: int = 250) -> Tensor:
    """Return the embedding of images: what enters the last linear layer.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        batch_size: images in one forward pass.

    Returns:
        Features (N, F), in the network's own unit.

    Raises:
        ValueError: if an argument is not as described; if no linear layer runs on (N, F), or if it
            runs on another number of rows.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import embed
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
        >>> images = torch.rand(5, 3, 2, 2)
        >>> torch.equal(embed(model, images), model[:3](images))
        True
    """
    last_input: list[Tensor] = []

    def keep_input(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is F.linear:
            given = args[0] if args else kwargs["input"]
            if given.ndim == 2:
                last_input[:] = [given.clone()]
        return func(*args, **kwargs)

    rows = []
    for batch in _batches(images, batch_size):
        last_input.clear()
        with intercept(keep_input):
            validate_inputs(model, batch)
        if not last_input or len(last_input[0]) != len(batch):
            got = f"one on {len(last_input[0])} rows" if last_input else "no linear layer"
            raise ValueError(
                f"model: got {got} for {len(batch)} images; must end in a linear layer on "
                "(N, features). layer_features reads any other layer."
            )
        rows.append(last_input[0])
    return torch.cat(rows)


@own_switches(grad=False)
def layer_features(
    model: nn.Module,
    images: Tensor,
    layer: Layer = None,
    *,
    average: bool = True,
    batch_size: int = 250,
) -> Tensor:
    """Return a layer's activations as one row an image.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        images: (N, C, H, W), floating point.
        layer: a module of the model or its dotted name; None for the last convolutional feature
            map.
        average: take the mean over the positions of a feature map (N, K, h, w); other layers stay
            as they are.
        batch_size: images in one forward pass.

    Returns:
        Features (N, K), or (N, K·h·w) without `average`.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import layer_features
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(16, 2)).eval()
        >>> images = torch.rand(5, 3, 2, 2)
        >>> features = layer_features(model, images, "0")
        >>> torch.allclose(features, model[0](images).mean((2, 3)))
        True
        >>> layer_features(model, images, "0", average=False).shape
        torch.Size([5, 16])
    """
    rows = []
    for batch in _batches(images, batch_size):
        if not isinstance(model, nn.Module):
            validate_inputs(model, batch)  # which raises
        with capture_layer(model, layer) as seen:
            validate_inputs(model, batch)
        features = seen[-1]
        is_map = features.ndim == 4
        rows.append(features.mean((2, 3)) if average and is_map else features.flatten(1))
    return torch.cat(rows)


def _batches(images: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Split images into batches."""
    batch_size = check_count("batch_size", batch_size)
    check_images(images)
    return torch.split(images, int(batch_size))


# ---- nearest examples ----------------------------------------------------------------------------


class Neighbours(NamedTuple):
    """Nearest examples.

    Attributes:
        distance: to each of the k nearest examples (N, k), in the unit of the embedding.
        indices: their positions among the examples (N, k).
        near: whether the nearest one is as near as examples usually are (N,), boolean.
    """

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

    There is always a nearest example, also where nothing is near. So the distance of each example
    to the nearest *other* example is taken as what is usual: `near` is False for an image whose
    nearest example is farther than the `quantile` of these distances, and a warning is given.

    Args:
        model: a classifier in evaluation mode that ends in a linear layer.
        images: (N, C, H, W), floating point.
        examples: images to search (M, C, H, W), M at least 2.
        count: how many examples to return for each image, at most M.
        quantile: of the usual distances, above 0 and at most 1.
        batch_size: images in one forward pass, and rows in one computation of distances.

    Returns:
        `Neighbours`: Euclidean distances in the embedding (see `embed`) (N, count), indices
        (N, count), and `near` (N,).

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One forward pass of the images and of the examples.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.fully_connected import nearest_examples
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
        >>> examples = torch.rand(8, 3, 2, 2)
        >>> neighbours = nearest_examples(model, examples[[5, 2]], examples, count=1)
        >>> neighbours.indices.tolist(), neighbours.distance.tolist()
        ([[5], [2]], [[0.0], [0.0]])
    """
    known = embed(model, examples, batch_size=batch_size)
    rows = embed(model, images, batch_size=batch_size)
    if len(known) < 2:
        raise ValueError(f"examples: got {len(known)}; must be at least 2.")
    count = check_count("count", count, most=len(known))
    check_number("quantile", quantile, above=0, most=1)

    usual = _nearest(known, known, 2, batch_size)[0][:, 1]  # the nearest to an example is itself
    limit = torch.quantile(usual.float(), quantile)
    distance, indices = _nearest(rows, known, count, batch_size)
    near = distance[:, 0] <= limit
    if not near.all():
        warnings.warn(
            f"nothing is near: of {len(near)} images, {int((~near).sum())} are farther from every "
            f"example than {limit:.3g}, within which {quantile:.0%} of the examples have another "
            "one. Their nearest examples explain nothing.",
            stacklevel=2,
        )
    return Neighbours(distance, indices, near)


def _nearest(rows: Tensor, known: Tensor, count: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the smallest distances of rows (N, F) to known ones, and their indices: (N, count)."""
    exact = "donot_use_mm_for_euclid_dist"  # the fast way is wrong where rows almost coincide
    nearest = [
        torch.cdist(part, known, compute_mode=exact).topk(count, largest=False)
        for part in torch.split(rows, int(batch_size))
    ]
    distance = torch.cat([part.values for part in nearest])
    return distance, torch.cat([part.indices for part in nearest])
