"""What the explorer offers: networks, their layers, and the course's methods for each of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import lru_cache, partial
from math import ceil
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.core.checks import check_choice, check_count
from xai_course.core.hooks import capture_layer
from xai_course.core.maps import Explainer
from xai_course.core.paths import data_folder
from xai_course.core.translation import message
from xai_course.data.photographs import PHOTOGRAPHS, photograph
from xai_course.data.transforms import normalise
from xai_course.methods import METHODS, training_baselines
from xai_course.models.pretrained import photo_network
from xai_course.residual.occlusion import sliding_windows
from xai_course.storage.checkpoints import load_checkpoint

__all__ = [
    "NETWORKS",
    "PHOTO_NETWORK",
    "Network",
    "build_explainer",
    "count_forward_passes",
    "layers_with_maps",
    "network_lock",
    "open_network",
]


PHOTO_NETWORK = "EfficientNet-Lite0"


# Name to checkpoint, and images in one pass: so few that a pass takes about a tenth of a second.
NETWORKS: dict[str, tuple[str, int]] = {
    "BeetleNet": ("beetle_net", 32),
    message("shortcut BeetleNet"): ("beetle_net_shortcut", 32),
    message("robust BeetleNet"): ("beetle_net_robust", 32),
    message("article's network"): ("article_net", 8),
    PHOTO_NETWORK: ("", 4),
}


# Whoever runs a network holds this lock: all apps share a network, and methods set hooks on it.
network_lock = Lock()


class Network(NamedTuple):
    """A network, and what it takes.

    Attributes:
        model: the network, in evaluation mode.
        classes: the names of its logits.
        size: height and width of its input in pixels.
        batch_size: images in one pass.
        to_input: makes its input (N, 3, size, size) of images with values in [0, 1].
        transform: makes its input (3, size, size) of a photograph; None for a network that was
            trained on beetles.
    """

    model: nn.Module
    classes: tuple[str, ...]
    size: int
    batch_size: int
    to_input: Callable[[Tensor], Tensor]
    transform: Any


@lru_cache(maxsize=len(NETWORKS))
def open_network(name: str) -> Network:
    """Load a network, once.

    Args:
        name: a key of `NETWORKS`.

    Returns:
        The network.

    Raises:
        ValueError: for an unknown name.
    """
    check_choice("network", name, NETWORKS)
    checkpoint, batch_size = NETWORKS[name]
    if name == PHOTO_NETWORK:
        return _open_photo_network(batch_size)
    model, card = load_checkpoint(data_folder() / "checkpoints" / checkpoint)
    return Network(model, tuple(card["classes"]), 64, batch_size, normalise, None)


def _open_photo_network(batch_size: int) -> Network:
    """Load the network for photographs, with a different name for each class."""
    model, transform, classes = photo_network()
    times = Counter(classes)  # ImageNet has two cranes and two maillots
    unique = tuple(
        name if times[name] == 1 else f"{name} (no. {index})" for index, name in enumerate(classes)
    )
    preset: Any = transform
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preset.mean, preset.std))
    return Network(model, unique, 224, batch_size, lambda pixels: (pixels - mean) / std, transform)


@lru_cache(maxsize=len(NETWORKS))
def layers_with_maps(name: str) -> tuple[str, ...]:
    """Return the layers of a network that return a feature map of more than one position.

    Args:
        name: a key of `NETWORKS`.

    Returns:
        Names of the model's largest modules and of each of its `blocks`, in the order they run.

    Raises:
        ValueError: for an unknown network.
    """
    net = open_network(name)
    layers: list[str] = []

    def note(layer: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.ndim == 4 and output[0, 0].numel() > 1:
            layers.append(layer)

    with network_lock, ExitStack() as stack, torch.no_grad():
        for layer, module in net.model.named_modules():
            if re.fullmatch(r"(?!blocks$)\w+|blocks\.\d+", layer):
                stack.enter_context(module.register_forward_hook(partial(note, layer)))
        net.model(torch.zeros(1, 3, net.size, net.size))
    return tuple(layers)


def build_explainer(
    network: str, method: str, options: Mapping[str, Any], photo: str = ""
) -> Explainer:
    """Return a method of the course for a network, with options.

    Args:
        network: a key of `NETWORKS`.
        method: a key of `METHODS`.
        options: by the method's own names; None for its default. `baseline` may also be "black".
        photo: the photograph to explain; expected gradients then compare it with all others.

    Returns:
        A function `(model, images, targets) -> relevance`.

    Raises:
        ValueError: for an unknown network or method.
    """
    check_choice("method", method, METHODS)
    net, known = open_network(network), METHODS[method]
    chosen = {option: value for option, value in options.items() if value is not None}
    if chosen.get("baseline") == "black":
        chosen["baseline"] = net.to_input(torch.zeros(1, 3, 1, 1))
    if method == "expected gradients":
        chosen["baselines"] = _other_photographs(net, photo) if photo else training_baselines()
    if known.makes_copies:
        chosen["batch_size"] = net.batch_size
    if method == "occlusion":
        # Its defaults go with the size of the image, while the course's are for 64 pixels.
        return partial(known.function, **chosen)
    return known.explainer(**chosen)


def _other_photographs(net: Network, photo: str) -> Tensor:
    """Return the input of all photographs but one, (N - 1, 3, size, size)."""
    others = [net.transform(photograph(name)) for name in PHOTOGRAPHS if name != photo]
    return torch.stack(others)


def count_forward_passes(network: str, method: str, options: Mapping[str, Any]) -> int:
    """Return how many forward passes a long method needs for one image; 1 for the others.

    Of Shapley values it is the most that it may need.

    Args:
        network: a key of `NETWORKS`.
        method: a key of `METHODS`.
        options: by the method's own names.

    Returns:
        The number of passes.

    Raises:
        ValueError: for an unknown network or method, and for a wrong window, stride, number of
            steps or of samples, and for an unknown layer.
    """
    check_choice("method", method, METHODS)
    net = open_network(network)
    settings = METHODS[method].settings
    copies = int(settings.get("masks", settings.get("samples", 1)))  # of the image
    for option in ("steps", "samples"):
        if option in options:
            check_count(option, options[option])
            copies = options[option]
    if method == "occlusion":
        image = torch.empty(1, 3, net.size, net.size)
        rows, columns = sliding_windows(image, options["window"], options["stride"])
        return 1 + ceil(len(rows) * len(columns) / net.batch_size)
    if method == "expected gradients":
        baselines = len(PHOTOGRAPHS) - 1 if net.transform else len(training_baselines())
        return 1 + ceil(copies / net.batch_size) * baselines
    if method == "Score-CAM":  # a copy for each channel, and one pass that reads the maps
        copies = _channels(network, options.get("layer"))
        return 2 + ceil(copies / net.batch_size)
    if METHODS[method].makes_copies:
        return 1 + ceil(copies / net.batch_size)
    return 1


@lru_cache(maxsize=64)
def _channels(network: str, layer: str | None) -> int:
    """Return how many channels a layer has; None is the last feature map."""
    net = open_network(network)
    image = torch.zeros(1, 3, net.size, net.size)
    with network_lock, torch.no_grad(), capture_layer(net.model, layer) as captured:
        net.model(image)
    return int(captured[0].shape[1])
