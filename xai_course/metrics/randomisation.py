"""Does a map depend on what the model has learnt? Sanity checks that need no ground truth.

A map that stays the same when the model's weights are replaced by random ones shows the image, not
the model. Similarity means little alone, so it is compared with that of maps of different images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from xai_course.core.hooks import check_is_module, intercept, without_interception
from xai_course.core.inputs import check_images, validate_inputs
from xai_course.core.maps import Explainer, map_ranks, map_similarity, relevance_maps
from xai_course.core.outputs import SingleOutput, single_output
from xai_course.core.progress import progress_bar
from xai_course.core.randomness import new_generator, seeded_rng
from xai_course.core.switches import own_switches

__all__ = [
    "cascading_randomisation",
    "layer_order",
    "method_agreement",
    "randomisation",
    "randomisation_null",
    "reinitialised",
]


# ---- layers --------------------------------------------------------------------------------------


def layer_order(model: nn.Module, images: Tensor | None = None) -> list[str]:
    """List the layers that have learnt something, from the output back to the input.

    A layer is a module with parameters or running statistics of its own: a convolution, a
    normalisation, a linear layer.

    Args:
        model: a classifier, in evaluation mode if there are images.
        images: (N, C, H, W). The model runs on them, and the layers are listed in the reverse of
            the order in which they are used; those that are not used are left out. A layer that
            is used several times counts where it is used last. None: the reverse of the order in
            which the layers are defined, which is the same in most networks.

    Returns:
        The layers' dotted names.

    Raises:
        ValueError: if a layer has no `reset_parameters()`, or the model has no layers.

    Cost:
        One forward pass, or none without images.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import layer_order
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> layer_order(model, torch.ones(1, 1, 2, 2))
        ['3', '1']
    """
    layers = _layers(model)
    order = list(layers) if images is None else _order_of_use(model, layers, images)
    _check_layers(layers, order)
    return order[::-1]


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that have learnt something, by name, in the order of their definition."""
    check_is_module(model)
    if getattr(model, "folded", None):
        raise ValueError(
            "model: got a copy whose batch normalisations are folded into other layers; must be "
            "the original, which `faster` got."
        )
    return {name: layer for name, layer in model.named_modules() if _learnt(layer)}


def _check_layers(layers: Mapping[str, nn.Module], order: Sequence[str]) -> None:
    """Raise ValueError if there are no layers, or one cannot be initialised again."""
    if not order:
        raise ValueError("model: got one without parameters; must be a trained network.")
    for name in order:
        if not callable(getattr(layers[name], "reset_parameters", None)):
            where = name or "the model itself"
            raise ValueError(
                f"model: got parameters without reset_parameters() in {where} "
                f"({type(layers[name]).__name__}); must be layers that can be initialised again."
            )


def _learnt(layer: nn.Module) -> list[Tensor]:
    """List what a layer itself has learnt: its parameters, and its running statistics if any."""
    learnt: list[Tensor] = list(layer.parameters(recurse=False))
    if learnt or hasattr(layer, "reset_parameters"):
        learnt += layer.buffers(recurse=False)
    return learnt


def _order_of_use(model: nn.Module, layers: Mapping[str, nn.Module], images: Tensor) -> list[str]:
    """Run a model, and list the layers in the order in which their weights are used last."""
    # Functions are intercepted rather than calls of modules, so that a layer also counts when only
    # its weight is used: F.linear(x, self.fc.weight).
    layer_of = {id(tensor): name for name, layer in layers.items() for tensor in _learnt(layer)}
    order: dict[str, None] = {}  # a set that keeps its order

    def record(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for value in (*args, *kwargs.values()):
            for tensor in value if isinstance(value, list | tuple) else [value]:
                name = layer_of.get(id(tensor))
                if name is not None:
                    order.pop(name, None)  # used again: it moves to the end
                    order[name] = None
        return func(*args, **kwargs)

    with torch.inference_mode(False), torch.no_grad(), intercept(record):
        validate_inputs(model, images)
    return list(order)


# ---- models with random weights ------------------------------------------------------------------


def cascading_randomisation(
    model: nn.Module, images: Tensor | None = None, *, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Randomise a model layer by layer, from the output down to the input.

    Each step initialises one more layer again, as `reset_parameters()` does before training. The
    last copy has learnt nothing. Batch normalisation also loses its running statistics: those of
    the trained network would shift and scale the signal of a random one far off. As the layers
    above are random already, no trained layer gets a signal that it was not trained for.

    Args:
        model: a classifier. It is left as it was, and so is every random generator.
        images: (N, C, H, W), which decide the order of the layers; see `layer_order`.
        seed: of the weights, which are the same on every device.

    Yields:
        The name of the layer that was randomised last, and a copy of the model.

    Raises:
        ValueError: if a layer has no `reset_parameters()`, or the model has no layers.

    Cost:
        One forward pass, or none without images.

    References:
        Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps. NeurIPS
        2018, arXiv:1810.03292.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import cascading_randomisation
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> images = torch.ones(1, 1, 2, 2)
        >>> for name, random_model in cascading_randomisation(model, images):
        ...     print(name, torch.equal(random_model[1].weight, model[1].weight))
        3 True
        1 False
    """
    order = layer_order(model, images)
    generator = new_generator(seed)
    latest = _copy(model)
    for name in order:
        _reinitialise(latest.get_submodule(name), generator, name)
        if images is not None and name == order[-1]:
            _check_forgotten(model, latest, images)
        yield name, _copy(latest)


def _copy(model: nn.Module) -> nn.Module:
    """Copy a model, also where autograd is off, into weights that autograd can use."""
    with torch.inference_mode(False), torch.no_grad():
        try:
            return copy.deepcopy(model)
        except RuntimeError as error:  # weight_norm of the old style keeps a tensor with its graph
            raise ValueError(
                f"model: got a model that cannot be copied ({error}); must hold parameters and "
                "buffers alone. Call torch.nn.utils.remove_weight_norm on its layers, or run it "
                "once under torch.no_grad()."
            ) from error


@own_switches(grad=False)
def _reinitialise(layer: nn.Module, generator: torch.Generator, name: str) -> None:
    """Give a layer the weights of a new one; no global generator changes."""
    # A weight that is still NaN afterwards was not initialised: it would keep what was learnt.
    for weight in layer.parameters(recurse=False):
        weight.fill_(torch.nan)
    seed = int(torch.randint(2**31, (), generator=generator))
    device = _learnt(layer)[0].device
    # Drawn on the CPU, the weights are the same whatever the device.
    with seeded_rng(seed):
        layer.to("cpu").reset_parameters()  # type: ignore[operator]
        layer.to(device)
    for key, weight in layer.named_parameters(recurse=False):
        if weight.isnan().any():
            raise ValueError(
                f"model: got a layer {name!r} ({type(layer).__name__}) whose reset_parameters() "
                f"leaves {key} as it was learnt; must be layers that can be initialised again. "
                "weight_norm and spectral_norm of the old style, torch.nn.utils.weight_norm, "
                "derive their weight from others."
            )


def _check_forgotten(trained: nn.Module, untrained: nn.Module, images: Tensor) -> None:
    """Raise ValueError if a model with random weights still gives the trained model's logits."""
    with torch.inference_mode(False), torch.no_grad(), without_interception():
        same = torch.allclose(trained(images.clone()), untrained(images.clone()))
        if same and isinstance(trained, SingleOutput) and isinstance(untrained, SingleOutput):
            first, second = (one.module(images.clone()) for one in (trained, untrained))
            if isinstance(first, Tensor) and not torch.allclose(first, second):
                raise ValueError(
                    "targets: got a function that returns the same numbers with random weights as "
                    "with the trained ones; must depend on the model's output."
                )
    if same:
        raise ValueError(
            "model: got the same logits with random weights as with the trained ones; must keep "
            "what it has learnt in parameters of layers with reset_parameters()."
        )


@own_switches(grad=False)
def reinitialised(model: nn.Module, images: Tensor, *, seed: int = 0) -> nn.Module:
    """Return an untrained copy of a model through which signals still pass.

    All layers are initialised again, as in the last step of `cascading_randomisation`. Then each
    batch normalisation takes its mean and variance from the images, as in training. With 0 and 1
    instead, the signal of a deep network vanishes, and a map shows rounding errors.

    Args:
        model: a classifier in evaluation mode. It is left as it was.
        images: (N, C, H, W), as the model gets them; better eight than one.
        seed: of the weights, which are the same on every device.

    Returns:
        The untrained model, in evaluation mode.

    Raises:
        ValueError: if a layer has no `reset_parameters()`; if batch normalisation cannot take the
            images in training (one image whose maps have one pixel); or if the signal vanishes all
            the same: the logits of the images and of zeros differ by hardly more than rounding.

    Cost:
        Two forward passes.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import reinitialised
        >>> trained = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
        >>> images = torch.arange(8.0).view(2, 1, 2, 2)
        >>> reinitialised(trained, images)[1].running_mean
        tensor([2., 3., 4., 5.])
    """
    layers = _layers(model)
    check_images(images)
    order = list(layers)[::-1]
    _check_layers(layers, order)
    generator = new_generator(seed)
    untrained_model = _copy(model)
    for name in order:
        _reinitialise(untrained_model.get_submodule(name), generator, name)
    with seeded_rng(seed, images.device):  # of dropout, which is on while statistics are measured
        update_bn([images], untrained_model)
    _check_forgotten(model, untrained_model, images)
    logits = untrained_model(torch.cat([images, torch.zeros_like(images[:1])]))
    spread = (logits.amax(0) - logits.amin(0)).max()
    rounding = torch.finfo(logits.dtype).eps * logits.abs().max()
    if not spread > 1000 * rounding:
        raise ValueError(
            "model: got the same logits for all images with random weights, so its maps would show "
            "rounding errors; must be a model whose signal passes through untrained layers."
        )
    return untrained_model


# ---- similarity of maps --------------------------------------------------------------------------


@own_switches()
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

        similarity[n, l] = Spearman's ρ of map(trained, n) and map(randomised down to layer l, n)

    1 means that the map does not depend on the weights. A map that depends on them drops to what
    `randomisation_null` gives, or below. The absolute values of a product with the image always
    keep something of the image. And where the map of a randomised model is flat, the result is 0,
    as in a deep network, in which the signal vanishes (see `reinitialised`).

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`. It must explain the model
            that it gets.
        images: (N, C, H, W), floating point.
        targets: class indices (N,), one index for all, None for the class that the trained model
            predicts, or a function of the output (see `single_output`). The class is the same at
            every step.
        layers: names of L layers after which the maps are compared, or of modules that hold
            several layers (then after the last of these). None: all, in the order of
            `layer_order(model, images)`.
        absolute: compare the absolute values of the maps.
        seed: of the random weights.
        batch_size: images in one pass.
        progress: show a progress bar over the steps.

    Returns:
        The similarity (N, L), from -1 to 1, in double precision.

    Raises:
        ValueError: if an argument is not as described, or a layer is unknown.

    Cost:
        L + 1 explanations of each image, and two forward passes.

    References:
        Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps. NeurIPS
        2018, arXiv:1810.03292.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import edge_map, randomisation
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
        >>> images = torch.arange(16.0).view(1, 1, 4, 4).sin()
        >>> float(randomisation(model, edge_map, images).round(decimals=6))  # ignores the model
        1.0
    """
    if not callable(explainer):
        raise ValueError(
            f"explainer: got {type(explainer).__name__}; must be a function (model, images, "
            "targets) -> relevance, which also explains the randomised models."
        )
    model, targets = single_output(model, targets)
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    order = layer_order(model, x[:batch_size])
    wanted = _steps_of_layers(order if layers is None else layers, order)
    trained = relevance_maps(model, explainer, x, classes, batch_size=batch_size)
    random_models = cascading_randomisation(model, x[:batch_size], seed=seed)
    similarity = {}  # by step
    for step in progress_bar(range(max(wanted) + 1), "randomising", progress):
        _, random_model = next(random_models)
        if step in wanted:
            maps = relevance_maps(random_model, explainer, x, classes, batch_size=batch_size)
            similarity[step] = map_similarity(trained, maps, absolute=absolute)
    return torch.stack([similarity[step] for step in wanted], 1)


def _steps_of_layers(layers: Sequence[str], order: Sequence[str]) -> list[int]:
    """Return the step of randomisation after which all of each layer or module is random."""
    if isinstance(layers, str) or not len(layers):
        raise ValueError(f"layers: got {layers!r}; must be a list of at least one layer's name.")
    steps = []
    for layer in layers:
        # With a dot at the end, "layer1" holds "layer1." and "layer1.0.conv." but not "layer10.".
        inside = [k for k, name in enumerate(order) if f"{name}.".startswith(f"{layer}.")]
        if not inside:
            raise ValueError(
                f"layers: got {layer!r}; must be one of {', '.join(order)}, or a module that holds "
                "some of them."
            )
        steps.append(inside[-1])
    return steps


@own_switches()
def randomisation_null(
    model: nn.Module,
    explainer: Explainer | Tensor,
    images: Tensor,
    targets: Any = None,
    *,
    absolute: bool = False,
    batch_size: int = 100,
) -> Tensor:
    """Return how similar a method's maps of *different* images are, for one model.

        similarity[n] = Spearman's ρ of map(n) and map(n + 1 mod N)

    What all maps of a method share (a bright centre, a dark border) is similarity without any
    knowledge. A map of a randomised model that is no more similar than this has lost what it
    showed.

    Args:
        model: a classifier in evaluation mode that returns logits (N, classes).
        explainer: a function `(model, images, targets) -> relevance`, or the relevance of these
            images (N, C or 1, H, W).
        images: (N, C, H, W), at least two. Each is compared with the next, the last with the
            first, so images that are sorted by class should be shuffled.
        targets: class indices (N,), one index for all, None for the predicted class, or a function
            of the output (see `single_output`).
        absolute: compare the absolute values of the maps.
        batch_size: images in one pass.

    Returns:
        The similarity (N,), from -1 to 1, in double precision.

    Raises:
        ValueError: if an argument is not as described, or there are fewer than two images.

    Cost:
        One explanation of each image, and one forward pass.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from xai_course.metrics import randomisation_null
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> images = torch.arange(8.0).view(2, 1, 2, 2)
        >>> opposite = torch.cat([images[:1], -images[:1]])
        >>> randomisation_null(model, opposite, images).round(decimals=6).tolist()
        [-1.0, -1.0]
    """
    model, targets = single_output(model, targets)
    with torch.no_grad():
        x, _, classes = validate_inputs(model, images, targets, batch_size=batch_size)
    if len(x) < 2:
        raise ValueError(f"images: got {len(x)}; must be two or more, to compare their maps.")
    maps = relevance_maps(model, explainer, x, classes, batch_size=batch_size)
    return map_similarity(maps, maps.roll(-1, 0), absolute=absolute)


def method_agreement(maps: Mapping[str, Tensor], *, absolute: bool = False) -> Tensor:
    """Return how similar the maps of M methods are to one another, on every image.

        agreement[n, a, b] = map_similarity(maps[a], maps[b])[n]

    Methods that agree need not be right: they may share a fault.

    Args:
        maps: each method's relevance (N, C or 1, H, W) of the same images, by name.
        absolute: compare the absolute values of the maps.

    Returns:
        The agreement (N, M, M), in the order of `maps`, in double precision. It is symmetric, and 1
        on the diagonal (0 for a flat map).

    Raises:
        ValueError: if there are no maps, or they are of different images or sizes.

    Cost:
        No pass.

    References:
        Tomsett, Harborne, Chakraborty, Gurram, Preece: Sanity Checks for Saliency Metrics. AAAI
        2020, arXiv:1912.01451.

    Example:
        >>> import torch
        >>> from xai_course.metrics import method_agreement
        >>> maps = torch.arange(4.0).view(1, 1, 2, 2)
        >>> method_agreement({"one": maps, "opposite": -maps}).round(decimals=6).tolist()
        [[[1.0, -1.0], [-1.0, 1.0]]]
    """
    if not isinstance(maps, Mapping) or not maps:
        raise ValueError(f"maps: got {maps!r}; must be a mapping of at least one method's maps.")
    first = next(iter(maps.values()))
    ranks = []
    for name, relevance in maps.items():
        try:
            ranks.append(map_ranks(relevance, absolute=absolute))
        except ValueError as error:
            raise ValueError(f"maps: those of {name!r}: {error}") from error
        if relevance[:, 0].shape != first[:, 0].shape:
            raise ValueError(
                f"maps: got {tuple(relevance.shape)} for {name!r}; must have the number and size "
                f"of the first method's, {tuple(first.shape)}."
            )
    stacked = torch.stack(ranks, 1)  # (N, M, H·W)
    agreement = stacked @ stacked.mT
    return (agreement + agreement.mT) / 2  # symmetric to the last bit
