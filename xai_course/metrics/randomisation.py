"""Does a map depend on what the model has learnt? Sanity checks that need no answer key.

A map that stays the same when the model forgets what it learnt shows the image, not the model. A
similarity says little alone, so it stands beside what maps of different images have in common.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.overrides import TorchFunctionMode

from xai_course.core.inputs import validate_inputs
from xai_course.core.maps import Explainer, map_ranks, map_similarity, relevance_maps

__all__ = [
    "cascading_randomisation",
    "layer_order",
    "method_agreement",
    "randomisation",
    "randomisation_null",
    "reinitialised",
]


class LayersUsed(TorchFunctionMode):
    """Note which layers' weights a forward pass uses: `used`, the first layer first.

    Seen are the weights rather than calls of modules, so `F.linear(x, self.fc.weight)` counts. A
    layer that is used several times stands where it is used last.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.used: list[str] = []
        self.owner = {id(t): name for name, layer in layers.items() for t in _learnt(layer)}

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for value in (*args, *kwargs.values()):
            for tensor in value if isinstance(value, list | tuple) else [value]:
                name = self.owner.get(id(tensor))
                if name is not None:
                    self.used = [*(other for other in self.used if other != name), name]
        return func(*args, **kwargs)


def _learnt(layer: nn.Module) -> list[Tensor]:
    """List what a layer itself has learnt: its parameters, and its running statistics if any."""
    learnt: list[Tensor] = list(layer.parameters(recurse=False))
    if learnt or hasattr(layer, "reset_parameters"):
        learnt += layer.buffers(recurse=False)
    return learnt


def layer_order(model: nn.Module, images: Tensor | None = None) -> list[str]:
    """List the layers that have learnt something by name, from the output back to the input.

    A layer is a module with parameters or running statistics of its own: a convolution, a
    normalisation, a linear layer.

    Args:
        model: the network.
        images: (N, C, H, W). The model runs on them; the layers stand in the reverse of the order
            in which they are used, and unused ones are left out. None: the reverse of the order of
            definition, which is the same for most networks.

    Returns:
        The names.

    Raises:
        ValueError: for a layer without `reset_parameters()`, and for a model without layers.

    Cost:
        One forward pass with `images`, none without.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import layer_order
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
        ... ).eval()
        >>> images = torch.rand(2, 3, 8, 8)
        >>> layer_order(model, images)
        ['3', '0']
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: got {type(model).__name__}; must be a torch.nn.Module.")
    layers = {name: layer for name, layer in model.named_modules() if _learnt(layer)}
    order = list(layers)
    if images is not None:
        with torch.inference_mode(False), torch.no_grad(), LayersUsed(layers) as seen:
            validate_inputs(model, images)
        order = seen.used
    if not order:
        raise ValueError("model: none of its layers has parameters; must be a trained model.")
    for name in order:
        if not callable(getattr(layers[name], "reset_parameters", None)):
            raise ValueError(
                f"model: {name or 'the model itself'} ({type(layers[name]).__name__}) has "
                "parameters but no reset_parameters(); must be layers that can be drawn anew."
            )
    return order[::-1]


def cascading_randomisation(
    model: nn.Module, images: Tensor | None = None, *, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Randomise a model layer by layer, from the output down; yield each layer's name and a copy.

    Each copy has new weights in this layer and in all above it, as `reset_parameters()` draws them
    before training. The last copy has learnt nothing. Batch normalisation also forgets its running
    statistics: those of the trained network do not fit a random one. The model and the state of
    every random generator stay as they were.

    Args:
        model: the network.
        images: (N, C, H, W), or None; see `layer_order`.
        seed: decides the weights, on every device alike.

    Yields:
        (name of the layer, copy of the model).

    Raises:
        ValueError: as `layer_order`, at the first step.

    Cost:
        One copy of the model for each layer.

    References:
        Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps. NeurIPS
            2018,
        arXiv:1810.03292 (there: cascading randomisation).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import cascading_randomisation
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
        ... ).eval()
        >>> images = torch.rand(2, 3, 8, 8)
        >>> steps = cascading_randomisation(model)
        >>> [(name, copy[0].weight.equal(model[0].weight)) for name, copy in steps]
        [('3', True), ('0', False)]
    """
    order = layer_order(model, images)
    chance = torch.Generator().manual_seed(seed)
    with torch.inference_mode(False), torch.no_grad():
        latest = copy.deepcopy(model)
    for name in order:
        _draw_anew(latest.get_submodule(name), chance)
        with torch.inference_mode(False), torch.no_grad():
            step = copy.deepcopy(latest)
        yield name, step


@torch.inference_mode(False)
@torch.no_grad()
def _draw_anew(layer: nn.Module, chance: torch.Generator) -> None:
    """Give a layer the weights of a new one, on every device alike; no global generator moves."""
    number, device = int(torch.randint(2**31, (), generator=chance)), _learnt(layer)[0].device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(number)  # the CPU's alone
        layer.to("cpu").reset_parameters()  # type: ignore[operator]
        layer.to(device)


@torch.inference_mode(False)
@torch.no_grad()
def reinitialised(model: nn.Module, images: Tensor, *, seed: int = 0) -> nn.Module:
    """Return a copy of a model that has learnt nothing, but whose signal gets through.

    All layers get new weights, as in the last step of `cascading_randomisation`. Then each batch
    normalisation takes its mean and variance from the images, as in training. With 0 and 1 in their
    place the signal of a deep network dies, and a map shows how its numbers are rounded.

    Args:
        model: the network.
        images: (N, C, H, W), as the model gets them; eight are better than one.
        seed: decides the weights.

    Returns:
        The copy, in evaluation mode.

    Raises:
        ValueError: as `layer_order`; for images that batch normalisation cannot take in training
            (one
            image whose maps have one place); and if the signal dies all the same: if the logits of
            the images and of zeros differ by hardly more than rounding.

    Cost:
        Two forward passes.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import reinitialised
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
        ... ).eval()
        >>> images = torch.rand(2, 3, 8, 8)
        >>> copy = reinitialised(model, images)
        >>> copy[0].weight.equal(model[0].weight), copy.training
        (False, False)
    """
    order, chance = layer_order(model), torch.Generator().manual_seed(seed)
    blank = copy.deepcopy(model)
    for name in order:
        _draw_anew(blank.get_submodule(name), chance)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # dropout draws
        update_bn([images], blank)
    logits = blank(torch.cat([images, torch.zeros_like(images[:1])]))
    spread = (logits.amax(0) - logits.amin(0)).max()
    if not spread > 1000 * torch.finfo(logits.dtype).eps * logits.abs().max():
        raise ValueError(
            "model: with random weights it answers all images alike, so its maps would show how "
            "numbers are rounded; must be a model whose signal gets through untrained layers."
        )
    return blank


@torch.inference_mode(False)
def randomisation(
    model: nn.Module,
    explainer: Explainer,
    images: Tensor,
    targets: Any = None,
    *,
    layers: Sequence[str] | None = None,
    absolute: bool = False,
    seed: int = 0,
    batch_size: int = 100,
    progress: bool = False,
) -> Tensor:
    """Return how similar a map stays while the model is randomised from the output down.

        similarity[n, l] = Spearman's ρ of map(trained, n) and map(randomised down to l, n)

    1: the map does not depend on what was learnt. A map that does drops to the value of
    `randomisation_null`, or below. The size of a map that is a product with the image always keeps
    something of the image. 0 also where a randomised model's map is flat, as in a deep network
    whose signal dies (see `reinitialised`).

    Args:
        model: a classifier in evaluation mode.
        explainer: a function `(model, images, targets) -> relevance`; it explains the model that
            it gets.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, or None for the class that the trained model
            predicts; the same at every step.
        layers: names of the L layers after which to measure, or of modules that hold several (then
            after the last of these). None: all, in the order of `layer_order(model, images)`.
        absolute: True compares the sizes of the maps, without their signs.
        seed: of the new weights.
        batch_size: images in one pass.
        progress: True shows a bar over the steps.

    Returns:
        Similarities (N, L), from −1 to 1.

    Raises:
        ValueError: if an argument is not as described, or a layer is unknown.

    Cost:
        One explanation of all images for each measured layer, and one of the trained model.

    References:
        Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps. NeurIPS
            2018,
        arXiv:1810.03292.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import randomisation
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
        ... ).eval()
        >>> images = torch.rand(2, 3, 8, 8)
        >>> from xai_course.relu import gradient
        >>> similarity = randomisation(model, gradient, images)
        >>> similarity.shape, bool((similarity < 1).all())
        (torch.Size([2, 2]), True)
    """
    if not callable(explainer):
        raise ValueError(
            f"explainer: got {type(explainer).__name__}; must be a function (model, images, "
            "targets) -> relevance, since each randomised model needs maps of its own."
        )
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    order = layer_order(model, x[:batch_size])
    wanted = order if layers is None else layers
    if isinstance(wanted, str) or not len(wanted):
        raise ValueError(f"layers: got {wanted!r}; must be a list of at least one layer's name.")
    at = []  # the step after which all of a wanted layer is random
    for layer in wanted:
        inside = [k for k, name in enumerate(order) if f"{name}.".startswith(f"{layer}.")]
        if not inside:
            raise ValueError(
                f"layers: got {layer!r}; must be {', '.join(order)}, or what holds them."
            )
        at.append(inside[-1])
    steps: Any = range(max(at) + 1)
    if progress:
        from tqdm.auto import tqdm

        steps = tqdm(steps, "randomising", leave=False)
    trained = relevance_maps(model, explainer, x, classes, batch_size=batch_size)
    found = {}
    for k, (_, random) in zip(
        steps, cascading_randomisation(model, x[:batch_size], seed=seed), strict=False
    ):
        if k in at:
            maps = relevance_maps(random, explainer, x, classes, batch_size=batch_size)
            found[k] = map_similarity(trained, maps, absolute=absolute)
    return torch.stack([found[k] for k in at], 1)


@torch.inference_mode(False)
def randomisation_null(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    *,
    absolute: bool = False,
    batch_size: int = 100,
) -> Tensor:
    """Return how similar a method's maps of *different* images are, under one model.

        similarity[n] = Spearman's ρ of map(n) and map(n + 1 mod N)

    All maps of a method share something (a bright middle, a dark border). A map of a randomised
    model that is no more similar than this has lost what was learnt.

    Args:
        model: a classifier in evaluation mode.
        explainer: a function, or the relevance of these images.
        images: (N, C, H, W), at least two. Shuffle images that are sorted: each is compared with
            the next one, the last with the first.
        targets: class indices (N,), one index for all, or None for the class that the model
            predicts.
        absolute: True compares the sizes of the maps, without their signs.
        batch_size: images in one pass.

    Returns:
        Similarities (N,), from −1 to 1.

    Raises:
        ValueError: if an argument is not as described.

    Cost:
        One explanation of all images.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import randomisation_null
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
        ... ).eval()
        >>> images = torch.rand(2, 3, 8, 8)
        >>> from xai_course.metrics import constant_map
        >>> randomisation_null(model, constant_map, images).tolist()  # flat maps have no order
        [0.0, 0.0]
    """
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    if len(x) < 2:
        raise ValueError(f"images: got {len(x)}; must be two or more, to compare their maps.")
    maps = relevance_maps(model, explainer, x, classes, batch_size=batch_size)
    return map_similarity(maps, maps.roll(-1, 0), absolute=absolute)


def method_agreement(maps: Mapping[str, Tensor], *, absolute: bool = False) -> Tensor:
    """Return how similar the maps of M methods are, each with each, on every image.

        agreement[n, a, b] = map_similarity(maps[a], maps[b])[n]

    Methods that agree need not be right: they may share a fault.

    Args:
        maps: name of a method to its relevance (N, C or 1, H, W) of the same images.
        absolute: True compares the sizes of the maps, without their signs.

    Returns:
        (N, M, M) in the order of `maps`, symmetric; 1 on the diagonal, 0 there for a flat map.

    Raises:
        ValueError: for no maps, and for maps of different images or sizes.

    Cost:
        No pass through a model.

    References:
        Tomsett, Harborne, Chakraborty, Gurram, Preece: Sanity Checks for Saliency Metrics. AAAI
            2020,
        arXiv:1912.01451.

    Example:
        >>> import torch
        >>> from xai_course.metrics import method_agreement
        >>> ramp = torch.arange(4.0).view(1, 1, 2, 2)
        >>> method_agreement({"a": ramp, "b": -ramp})[0].round().tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    if not isinstance(maps, Mapping) or not maps:
        raise ValueError(f"maps: got {maps!r}; must be a mapping of at least one method's maps.")
    ranks = []
    first = next(iter(maps.values()))
    for name, relevance in maps.items():
        try:
            ranks.append(map_ranks(relevance, absolute=absolute))
        except ValueError as error:
            raise ValueError(f"maps: that of {name!r}: {error}") from error
        if (len(relevance), *relevance.shape[2:]) != (len(first), *first.shape[2:]):
            raise ValueError(
                f"maps: got {tuple(relevance.shape)} for {name!r}; must be the number and size "
                f"of the first's, {tuple(first.shape)}."
            )
    every = torch.stack(ranks, 1)  # (N, M, H·W)
    agreement = every @ every.mT
    return (agreement + agreement.mT) / 2  # alike to the last bit
