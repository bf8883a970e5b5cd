"""Trained weights on disk: safetensors, a readable JSON card beside them, and never a pickle.

A checkpoint is two files, `beetle_net.safetensors` and `beetle_net.json`. The card says how to
build the network again, what its classes are called, how it was trained, and the SHA-256 of the
weights. The state of an unfinished run is kept otherwise, see resume.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from xai_course.models.article_net import ArticleNet
from xai_course.models.beetle_net import BeetleNet
from xai_course.storage.atomic_files import cpu_copies, write_aside

__all__ = ["ARCHITECTURES", "load_checkpoint", "save_checkpoint"]


ARCHITECTURES: dict[str, type[nn.Module]] = {"ArticleNet": ArticleNet, "BeetleNet": BeetleNet}


_FORMAT = "xai_course checkpoint 1"


def save_checkpoint(
    path: str | Path, model: nn.Module, *, classes: Sequence[str], **facts: Any
) -> dict[str, Any]:
    """Write a model's weights and their card; return the card.

    `path` names both files, without an ending: `path.safetensors` and `path.json`. `classes` are
    the names of the logits in order; `facts` is whatever else the card should say (data, seed,
    epochs, accuracy). Each file is written whole and then renamed. The old card goes first and
    the new one comes last, so a card never stands beside weights that are not its own.

    Raises ValueError for repeated class names, a fact that JSON cannot hold, or one whose name the
    card uses itself.
    """
    weights_file, card_file = _files(path)
    names = list(classes)
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise ValueError(f"classes must be different names, one for each logit, got {names!r}")
    data = tensors_to_bytes(cpu_copies(model.state_dict()))
    card: dict[str, Any] = {
        "format": _FORMAT,
        "architecture": type(model).__name__,
        "arguments": _arguments(model),
        "classes": names,
    }
    expected = card["arguments"].get("classes", len(names))
    if expected != len(names):
        raise ValueError(f"classes has {len(names)} names, but the model has {expected} logits")
    own = [*card, "versions", "sha256"]
    for name in facts:
        if name in own:
            raise ValueError(f"{name} is written by save_checkpoint itself; rename this fact")
    card |= facts
    card["versions"] = {"python": platform.python_version(), "torch": str(torch.__version__)}
    card["sha256"] = hashlib.sha256(data).hexdigest()
    try:
        text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"the card's facts must be plain JSON values: {error}") from None
    weights_file.parent.mkdir(parents=True, exist_ok=True)
    parts = [write_aside(weights_file, data)]
    try:
        parts.append(write_aside(card_file, text.encode()))
        card_file.unlink(missing_ok=True)
        os.replace(parts[0], weights_file)
        os.replace(parts[1], card_file)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return dict(json.loads(text))


def load_checkpoint(
    path: str | Path,
    *,
    model: nn.Module | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Read a checkpoint; return the model, on the CPU and in evaluation mode, and its card.

    The network is built from the card's architecture and arguments, out of ARCHITECTURES; for any
    other, hand in a freshly built `model` to be filled. `classes`, if given, must be the class
    names the checkpoint was trained on, in order.

    Raises ValueError, naming the file, if a file is missing or damaged, if the weights are not
    those the card describes, or if the architecture or the classes are others than asked for.
    """
    weights_file, card_file = _files(path)
    card = _read_card(card_file)
    if classes is not None and list(classes) != card["classes"]:
        raise ValueError(
            f"{card_file}: trained on the classes {card['classes']}, but asked for {list(classes)}"
        )
    if not weights_file.is_file():
        raise ValueError(f"{weights_file}: missing, although its card {card_file.name} is there")
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
        model = _build(card, card_file)
    elif type(model).__name__ != card["architecture"]:
        raise ValueError(
            f"{card_file}: holds the architecture {card['architecture']}, "
            f"but the model is {type(model).__name__}"
        )
    _check_tensors(model, tensors, weights_file)
    on_meta = any(tensor.is_meta for tensor in model.state_dict().values())
    model.load_state_dict(tensors, assign=on_meta)
    return model.eval(), card


def _files(path: str | Path) -> tuple[Path, Path]:
    """Name the two files of a checkpoint, given with or without an ending."""
    path = Path(path)
    if path.suffix in (".safetensors", ".json"):
        path = path.with_suffix("")
    return path.with_name(path.name + ".safetensors"), path.with_name(path.name + ".json")


def _arguments(model: nn.Module) -> dict[str, Any]:
    """Return what a model was built with, where the model says so (ours keep `.arguments`)."""
    arguments = getattr(model, "arguments", {})
    return dict(arguments) if isinstance(arguments, Mapping) else {}


def _read_card(card_file: Path) -> dict[str, Any]:
    """Read a card; refuse one that lacks what loading needs."""
    if not card_file.is_file():
        raise ValueError(f"{card_file}: missing; weights without their card are not loaded")
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{card_file}: not readable as JSON: {error}") from None
    if not isinstance(card, dict):
        raise ValueError(f"{card_file}: not the card of a checkpoint")
    wanted = {"architecture": str, "arguments": dict, "classes": list, "sha256": str}
    for name, kind in wanted.items():
        if not isinstance(card.get(name), kind):
            raise ValueError(f"{card_file}: not the card of a checkpoint ({name} is missing)")
    if card["arguments"].get("classes", len(card["classes"])) != len(card["classes"]):
        raise ValueError(f"{card_file}: the number of classes and of their names differ")
    return dict(card)


def _build(card: dict[str, Any], card_file: Path) -> nn.Module:
    """Build a card's network without memory for its weights and without drawing random numbers."""
    name = card["architecture"]
    if name not in ARCHITECTURES:
        raise ValueError(
            f"{card_file}: architecture {name!r} is not one of {sorted(ARCHITECTURES)}; "
            "build it yourself and pass it as model="
        )
    try:
        with torch.device("meta"):
            return ARCHITECTURES[name](**card["arguments"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{card_file}: {name} cannot be built as described: {error}") from None


def _check_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
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
    """Put a tensor's shape and type into words."""
    return "absent" if entry is None else f"{entry[0]} {entry[1]}"
