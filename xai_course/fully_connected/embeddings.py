"""Embeddings: features of a layer, and the nearest examples."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai_course.core.hooks import capture_layer
from xai_course.core.inputs import validate_inputs

__all__ = ["Neighbours", "embed", "layer_features", "nearest_examples"]


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
            validate_inputs(model, part, batch_size=batch_size)
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
            validate_inputs(model, part)  # which refuses it
        with capture_layer(model, layer) as seen:
            validate_inputs(model, part, batch_size=batch_size)
        found = seen[-1]
        rows.append(found.mean((2, 3)) if average and found.ndim == 4 else found.flatten(1))
    return torch.cat(rows)
