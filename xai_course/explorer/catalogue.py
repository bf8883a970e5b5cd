"""What the explorer offers: networks, the course's methods with their options, and their layers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import lru_cache, partial
from math import ceil
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xai_course.core.maps import Explainer
from xai_course.core.paths import data_folder
from xai_course.data.photographs import PHOTOGRAPHS, photograph
from xai_course.data.transforms import normalise
from xai_course.methods import METHODS, course_methods
from xai_course.models.pretrained import photo_network
from xai_course.residual.occlusion import sliding_windows
from xai_course.storage.checkpoints import load_checkpoint

__all__ = [
    "NETWORKS",
    "PHOTO_NETWORK",
    "Network",
    "check",
    "explainer",
    "layers",
    "network",
    "one_at_a_time",
    "passes",
]


PHOTO_NETWORK = "EfficientNet-Lite0"


# Name to checkpoint, and images in one pass: so few that a pass takes about a tenth of a second.
NETWORKS: dict[str, tuple[str, int]] = {
    "BeetleNet": ("beetle_net", 32),
    "shortcut BeetleNet": ("beetle_net_shortcut", 32),
    "robust BeetleNet": ("beetle_net_robust", 32),
    "article's network": ("article_net", 8),
    PHOTO_NETWORK: ("", 4),
}


one_at_a_time = Lock()  # who runs a network holds it: all share it, and methods hang hooks on it


class Network(NamedTuple):
    """A network and what it takes: images (N, 3, size, size), made by `to_input` from pixels.

    `transform`: makes a photograph such an image; None for a network that knows beetles. `batch`:
    images in one pass.
    """

    model: nn.Module
    classes: tuple[str, ...]
    size: int
    batch: int
    to_input: Callable[[Tensor], Tensor]
    transform: Any


@lru_cache(maxsize=len(NETWORKS))
def network(name: str) -> Network:
    """Load a network, once. Raises ValueError for an unknown name."""
    check("network", name, NETWORKS)
    checkpoint, batch = NETWORKS[name]
    if name == PHOTO_NETWORK:
        model, transform, classes = photo_network()
        made: Any = transform
        times = Counter(classes)  # ImageNet has two cranes and two maillots
        classes = tuple(
            name if times[name] == 1 else f"{name} (no. {place})"
            for place, name in enumerate(classes)
        )
        mean, std = (torch.tensor(t).view(3, 1, 1) for t in (made.mean, made.std))
        return Network(model, classes, 224, batch, lambda shown: (shown - mean) / std, transform)
    model, card = load_checkpoint(data_folder() / "checkpoints" / checkpoint)
    return Network(model, tuple(card["classes"]), 64, batch, normalise, None)


@lru_cache(maxsize=len(NETWORKS))
def layers(name: str) -> tuple[str, ...]:
    """Name the layers of a network that give a feature map of several places, in their order.

    Its largest pieces, and each of its `blocks`. Raises ValueError for an unknown network.
    """
    net = network(name)
    found: list[str] = []

    def note(layer: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.ndim == 4 and output[0, 0].numel() > 1:
            found.append(layer)

    with one_at_a_time, ExitStack() as stack, torch.no_grad():
        for layer, module in net.model.named_modules():
            if re.fullmatch(r"(?!blocks$)\w+|blocks\.\d+", layer):
                stack.enter_context(module.register_forward_hook(partial(note, layer)))
        net.model(torch.zeros(1, 3, net.size, net.size))
    return tuple(found)


def explainer(name: str, method: str, options: Mapping[str, Any], photo: str = "") -> Explainer:
    """Return a method of the course for a network, with options: (model, images, targets) to maps.

    `options`: by the method's own names; None for its own default. `baseline` may also be "black".
    `photo`: the photograph explained, which expected gradients then compare with all others. Raises
    ValueError for an unknown network or method.
    """
    check("method", method, METHODS)
    net = network(name)
    chosen = {option: value for option, value in options.items() if value is not None}
    if chosen.get("baseline") == "black":
        chosen["baseline"] = net.to_input(torch.zeros(1, 3, 1, 1))
    if method == "expected gradients" and photo:
        others = [net.transform(photograph(other)) for other in PHOTOGRAPHS if other != photo]
        chosen["baselines"] = torch.stack(others)
    if method in ("SmoothGrad", "occlusion", "Integrated Gradients", "expected gradients"):
        chosen["batch_size"] = net.batch
    known = _course_methods()["IG, mean" if method == "Integrated Gradients" else method]
    if method == "occlusion":  # its own defaults, which go with the size, in place of the course's
        known = known.func  # type: ignore[attr-defined]
    return partial(known, **chosen)


_course_methods = lru_cache(maxsize=1)(course_methods)


def passes(name: str, method: str, options: Mapping[str, Any]) -> int:
    """Return how many forward passes a long method needs for one image; 1 for the others.

    Raises ValueError for an unknown network or method, and for windows, steps or samples that make
    no sense.
    """
    check("method", method, METHODS)
    net = network(name)
    turns = 1  # images to run, for one that is explained
    for option in {"steps", "samples"} & options.keys():
        turns = options[option]
        if not isinstance(turns, int) or turns < 1:
            raise ValueError(f"{option}: got {turns!r}; allowed is a whole number from 1.")
    if method == "occlusion":
        image = torch.empty(1, 3, net.size, net.size)
        rows, columns = sliding_windows(image, options["window"], options["stride"])
        return 1 + ceil(len(rows) * len(columns) / net.batch)
    if method == "expected gradients":
        return 1 + ceil(turns / net.batch) * (len(PHOTOGRAPHS) - 1 if net.transform else 20)
    if method in ("SmoothGrad", "Integrated Gradients"):
        return 1 + ceil(turns / net.batch)
    return 1


def check(argument: str, value: Any, allowed: Iterable[str]) -> None:
    """Raise ValueError, naming the argument, if a value is none of those allowed."""
    if value not in list(allowed):
        raise ValueError(f"{argument}: got {value!r}; allowed are {', '.join(allowed)}.")
