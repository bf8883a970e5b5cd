"""Trained weights on disk: safetensors, a readable JSON card beside them, and never a pickle.

A checkpoint is two files, `beetle_net.safetensors` and `beetle_net.json`. The card states how to
build the network again, the names of its classes, the size of its images and how a picture becomes
its input, how it was trained, and the SHA-256 of the weights. For the state of an unfinished run
see `training/state.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from xai_course.core.checks import check_count
from xai_course.core.locks import locked
from xai_course.data.transform_steps import build_transform, describe_transform, output_size
from xai_course.data.transforms import modern_transform
from xai_course.models.article_net import ArticleNet
from xai_course.models.beetle_net import BeetleNet
from xai_course.models.resnet18 import ResNet18
from xai_course.models.small_vgg import SmallVGG
from xai_course.storage.atomic_files import cpu_copies, read_json, temporary_file

__all__ = ["ARCHITECTURES", "card_transform", "load_checkpoint", "save_checkpoint"]


ARCHITECTURES: dict[str, type[nn.Module]] = {
    "ArticleNet": ArticleNet,
    "BeetleNet": BeetleNet,
    "ResNet18": ResNet18,
    "SmallVGG": SmallVGG,
}
WRAPPERS = (nn.DataParallel, DistributedDataParallel, AveragedModel)

_FORMAT = "xai_course checkpoint 1"


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    *,
    classes: Sequence[str],
    image_size: int | Sequence[int] | None = None,
    transform: Any = None,
    **facts: Any,
) -> dict[str, Any]:
    """Write a model's weights and their card.

    Each file appears whole or not at all. The old card is deleted first and the new one appears
    last, so a card never lies beside weights that are not its own. Two processes that save to one
    path wait for each other.

    Args:
        path: of both files, without an ending: `path.safetensors` and `path.json`.
        model: the network. What torch.compile, DataParallel, DistributedDataParallel or
            AveragedModel have put around it is taken off.
        classes: the names of its logits, in order.
        image_size: height and width of its images in pixels, or one number for both. None takes
            that of `transform`, if it gives all images one size.
        transform: that of the test images, from torchvision's classes, such as
            `modern_transform(64)`. The card describes it in plain values, and whoever loads the
            network gets it back (`card_transform`). None writes none: then only `image_size` is
            known, and the report has to guess how the pixels were scaled.
        facts: what else the card shall hold (data, seed, epochs, accuracy), as plain JSON values.

    Returns:
        The card.

    Raises:
        ValueError: if the model could not be loaded again (half precision, layers that were
            changed, another class of the same name as ours); if class names are repeated, too many
            or too few, or no Unicode text; if the transform cannot be described or has another
            size; or if a fact cannot be written as JSON or has a name that the card uses itself.
        OSError: if the files cannot be written.
    """
    weights_file, card_file = _files(path)
    model = _unwrapped(model)
    tensors = _tensors(model)
    weights = tensors_to_bytes(tensors)
    inputs = _input_entries(image_size, transform)
    sha256 = hashlib.sha256(weights).hexdigest()
    card = _card(model, _class_names(classes), inputs, facts, sha256)
    if card["architecture"] in ARCHITECTURES:
        _check_can_be_loaded(model, card, tensors)
    try:
        text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        content = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"facts: got {error}; must be plain JSON values.") from None
    weights_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        locked(card_file),
        temporary_file(weights_file, weights) as new_weights,
        temporary_file(card_file, content) as new_card,
    ):
        card_file.unlink(missing_ok=True)
        os.replace(new_weights, weights_file)
        os.replace(new_card, card_file)
    return dict(json.loads(text))


def _unwrapped(model: nn.Module) -> nn.Module:
    """Take off what torch.compile, several processes or averaging have put around a network."""
    while True:
        if isinstance(model, WRAPPERS):
            model = model.module
        elif type(model).__name__ == "OptimizedModule" and hasattr(model, "_orig_mod"):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of a model's weights, or raise ValueError if they cannot be kept."""
    must = "must be a network whose weights are plain tensors in float32 or float64"
    state = model.state_dict()
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"model: got {name} as {type(tensor).__name__}; {must}.")
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
            raise ValueError(f"model: got {name} without values of its own; {must}.")
        if type(tensor) not in (Tensor, nn.Parameter):
            raise ValueError(f"model: got {name} as {type(tensor).__name__}; {must}.")
        if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"model: got {name} in {tensor.dtype}; {must}: save model.float().")
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError("model: got a scripted network; must be the network that it was made of.")
    if type(model).__name__ == "FullyShardedDataParallel":  # not imported, as that takes long
        raise ValueError("model: got a sharded network; must be whole in one process.")
    return cpu_copies(state)


def _class_names(classes: Sequence[Any]) -> list[str]:
    """Return the names of classes as a list, or raise ValueError."""
    names = [classes] if isinstance(classes, str) else list(classes)
    if isinstance(classes, str) or not _are_class_names(names):
        twice = sorted({repr(name) for name in names if names.count(name) > 1})
        hint = f" {', '.join(twice)} comes twice: add what tells them apart." if twice else ""
        raise ValueError(
            f"classes: got {classes!r}; must be different names, one for each logit, in Unicode "
            f"text (a folder's name may be in another encoding: rename it).{hint}"
        )
    return names


def _are_class_names(names: Any) -> bool:
    """Return whether names are what both writing and reading a card ask for."""
    return (
        isinstance(names, list)
        and len(names) > 0
        and all(isinstance(name, str) and _is_unicode(name) for name in names)
        and len(set(names)) == len(names)
    )


def _is_unicode(name: str) -> bool:
    """Return whether a name can be written in UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _input_entries(image_size: Any, transform: Any) -> dict[str, Any]:
    """Return what a card says of the network's input: the size and the steps of the transform."""
    entries: dict[str, Any] = {}
    fixed = None
    if transform is not None:
        steps = describe_transform(transform)
        fixed = output_size(build_transform(steps))
        entries = {"transform": steps}
    if image_size is None:
        if transform is not None and fixed is None:
            raise ValueError(
                "image_size: got None; must be the height and width of the images, as the "
                "transform does not resize them."
            )
        size = None if fixed is None else list(fixed)
    else:
        is_one = not isinstance(image_size, Sequence)
        size = [image_size, image_size] if is_one else list(image_size)
        for side in size:
            check_count("image_size", side, most=100_000)
        if len(size) != 2 or (fixed is not None and size != list(fixed)):
            must = (
                "one number or two" if fixed is None else f"{list(fixed)}, as the transform gives"
            )
            raise ValueError(f"image_size: got {image_size!r}; must be {must}.")
        size = [int(side) for side in size]
    return entries if size is None else {"image_size": size, **entries}


def _card(
    model: nn.Module,
    names: list[str],
    inputs: Mapping[str, Any],
    facts: Mapping[str, Any],
    sha256: str,
) -> dict[str, Any]:
    """Return the card of a model with these class names, or raise ValueError."""
    card: dict[str, Any] = {
        "format": _FORMAT,
        "architecture": type(model).__name__,
        "arguments": _arguments(model),
        "classes": names,
        **inputs,
    }
    logits = card["arguments"].get("classes", len(names))
    if logits != len(names):
        raise ValueError(f"classes: got {len(names)} names; must be {logits}, one for each logit.")
    for name in facts:
        if name in (*card, "versions", "sha256"):
            raise ValueError(
                f"facts: got {name}, which save_checkpoint writes itself; must have another name."
            )
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return {**card, **facts, "versions": versions, "sha256": sha256}


def _check_can_be_loaded(
    model: nn.Module, card: dict[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Raise ValueError unless `load_checkpoint` would build this very network from its card."""
    name = card["architecture"]
    if type(model).__module__ != ARCHITECTURES[name].__module__:
        raise ValueError(
            f"model: got another class of the name {name} (from {type(model).__module__}); must "
            "have another name, as this one would be loaded as the course's own network."
        )
    try:
        _check_tensors(_build(card, "card", tensors), tensors, "model")
    except ValueError as error:
        raise ValueError(
            f"model: got {name} with changed layers, which could not be loaded again ({error}); "
            "must be as its constructor makes it."
        ) from None


def load_checkpoint(
    path: str | Path,
    *,
    model: nn.Module | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Read a checkpoint that `save_checkpoint` wrote.

    Args:
        path: of both files, with or without an ending.
        model: None to build the network from the card, if its architecture is in `ARCHITECTURES`;
            for any other, a freshly built network, whose weights are replaced.
        classes: the class names that the checkpoint must have, in order; None for any.

    Returns:
        The model, in evaluation mode (and on the CPU, if it was built here), and its card;
        `card_transform(card)` makes a picture its input.

    Raises:
        ValueError: naming the file, if a file is missing or damaged, if the weights are not those
            that the card describes, or if the architecture or the classes are not as asked for.

    Warns:
        UserWarning: if the card does not keep the size of the images.
    """
    weights_file, card_file = _files(path)
    card = _read_card(card_file)
    if classes is not None and list(classes) != card["classes"]:
        raise ValueError(
            f"{card_file}: got the classes {card['classes']}; must be {list(classes)}, as asked for"
        )
    if not weights_file.is_file():
        raise ValueError(f"{weights_file}: missing, although its card {card_file.name} exists")
    data = weights_file.read_bytes()
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise ValueError(
            f"{weights_file}: damaged, or not the weights that {card_file.name} describes "
            "(their SHA-256 differ)"
        )
    try:
        tensors = {name: tensor.clone() for name, tensor in tensors_from_bytes(data).items()}
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{weights_file}: not a readable safetensors file: {error}") from None
    if model is None:
        model = _build(card, str(card_file), tensors)
    inner = _unwrapped(model)
    if type(inner).__name__ != card["architecture"]:
        raise ValueError(
            f"model: got {type(inner).__name__}; must be {card['architecture']}, the architecture "
            f"in {card_file}"
        )
    _check_tensors(inner, tensors, str(weights_file))
    on_meta = any(tensor.is_meta for tensor in inner.state_dict().values())
    inner.load_state_dict(tensors, assign=on_meta)
    if "image_size" not in card:
        warnings.warn(f"{card_file}: {UNKNOWN_SIZE}", stacklevel=2)
    return model.eval(), card


UNKNOWN_SIZE = (
    "the card does not keep the size of the images. Give image_size= and transform= to "
    "save_checkpoint, so that the network is run on images like those of its training."
)


def card_transform(
    card: Mapping[str, Any],
) -> tuple[Callable[[Image.Image], Tensor], list[str]]:
    """Return what makes a picture the input of a checkpoint's network.

    Args:
        card: from `load_checkpoint`.

    Returns:
        transform: a function from an RGB image to an input (C, H, W).
        doubts: a sentence for each thing that the card does not say, and that was assumed.

    Raises:
        ValueError: if the card describes no transform that can be built.

    Example:
        >>> from xai_course.storage import card_transform
        >>> transform, doubts = card_transform({"image_size": [32, 32]})
        >>> print(doubts[0][:60])
        The card keeps no transform; assumed is resizing to 32 × 32
    """
    height, width = card.get("image_size", (64, 64))
    if "transform" in card:
        steps = card["transform"]
        transform = build_transform(steps)
        if output_size(transform) is None and "image_size" in card:  # it takes images of any size
            transform = _resized(steps, height, width)
        return transform, []
    kept = "transform" if "image_size" in card else "size of the images and no transform"
    doubt = (
        f"The card keeps no {kept}; assumed is resizing to {height} × {width} pixels, and "
        "ImageNet's mean and deviation. Check it."
    )
    return _resized(describe_transform(modern_transform(64))[1:], height, width), [doubt]


def _resized(steps: list[Any], height: int, width: int) -> Callable[[Image.Image], Tensor]:
    """Build a transform with a resize before its steps, which leaves images of this size alone."""
    resize = describe_transform(modern_transform(64))[0] | {"size": [height, width]}
    return build_transform([resize, *steps])


def _files(path: str | Path) -> tuple[Path, Path]:
    """Name the two files of a checkpoint, given with or without an ending."""
    path = Path(path)
    if path.suffix in (".safetensors", ".json"):
        path = path.with_suffix("")
    return path.with_name(path.name + ".safetensors"), path.with_name(path.name + ".json")


def _arguments(model: nn.Module) -> dict[str, Any]:
    """Return what a model was built with, if it keeps that in `.arguments`, as ours do."""
    arguments = getattr(model, "arguments", {})
    return dict(arguments) if isinstance(arguments, Mapping) else {}


def _read_card(card_file: Path) -> dict[str, Any]:
    """Read a card; refuse one that `save_checkpoint` would not have written."""
    if not card_file.is_file():
        raise ValueError(f"{card_file}: missing; weights without their card are not loaded")
    card = read_json(card_file.read_bytes(), str(card_file))
    needed = {"architecture": str, "arguments": dict, "classes": list, "sha256": str}
    for name, kind in needed.items():
        if not isinstance(card.get(name), kind):
            raise ValueError(f"{card_file}: not the card of a checkpoint ({name} is missing)")
    if card.get("format") != _FORMAT:
        raise ValueError(
            f"{card_file}: got the format {card.get('format')!r}; must be {_FORMAT!r}, which this "
            "version reads"
        )
    if not _are_class_names(card["classes"]):
        raise ValueError(f"{card_file}: its classes must be different names, one for each logit")
    if card["arguments"].get("classes", len(card["classes"])) != len(card["classes"]):
        raise ValueError(f"{card_file}: the number of classes and of their names differ")
    if "image_size" in card:
        size = card["image_size"]
        if not isinstance(size, list) or len(size) != 2:
            raise ValueError(f"{card_file}: got image_size {size!r}; must be [height, width]")
        for side in size:
            check_count(f"{card_file}: image_size", side, most=100_000)
    if "transform" in card:
        build_transform(card["transform"])
    return card


def _build(card: dict[str, Any], source: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build a card's network without memory for its weights and without drawing random numbers.

    Before that, the sizes that decide how long it takes are compared with the weights.
    """
    name, arguments = card["architecture"], card["arguments"]
    if name not in ARCHITECTURES:
        raise ValueError(
            f"{source}: got the architecture {name!r}; must be one of "
            f"{', '.join(sorted(ARCHITECTURES))}. Build another one yourself and pass it as model="
        )
    if name == "BeetleNet":
        keys = [key for key in tensors if key.startswith("blocks.")]
        blocks, depth = len({key.split(".")[1] for key in keys}), arguments.get("depth", 3)
        # Two convolutions and two normalisations, each with five tensors, are in every block.
        if depth != blocks or len(keys) < 12 * blocks:
            raise ValueError(
                f"{source}: the weights are for another architecture: they have {blocks} blocks of "
                f"{len(keys)} tensors in all, the card says depth {repr(depth)[:40]}"
            )
    try:
        with torch.device("meta"):
            return ARCHITECTURES[name](**arguments)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{source}: {name} cannot be built as described: {error}") from None


def _check_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors that are not, one for one, the model's own by name, shape and type."""
    model_has = {n: (tuple(t.shape), t.dtype) for n, t in model.state_dict().items()}
    file_has = {n: (tuple(t.shape), t.dtype) for n, t in tensors.items()}
    for name in sorted(model_has.keys() | file_has.keys()):
        if model_has.get(name) != file_has.get(name):
            raise ValueError(
                f"{source}: for another architecture than this {type(model).__name__}: {name} is "
                f"{_describe(file_has.get(name))} in the file, "
                f"{_describe(model_has.get(name))} in the model"
            )


def _describe(entry: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    """Write a tensor's shape and type, or that it is absent."""
    return "absent" if entry is None else f"{entry[0]} {entry[1]}"
