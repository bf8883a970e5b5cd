"""Trained weights on disk: safetensors, a readable JSON card beside them, and never a pickle.

A checkpoint is two files, `beetle_net.safetensors` and `beetle_net.json`. The card states how to
build the network again, the names of its classes, how it was trained, and the SHA-256 of the
weights. For the state of an unfinished run see `training/state.py`.
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
from xai_course.storage.atomic_files import cpu_copies, temporary_file

__all__ = ["ARCHITECTURES", "load_checkpoint", "save_checkpoint"]


ARCHITECTURES: dict[str, type[nn.Module]] = {"ArticleNet": ArticleNet, "BeetleNet": BeetleNet}


_FORMAT = "xai_course checkpoint 1"


def save_checkpoint(
    path: str | Path, model: nn.Module, *, classes: Sequence[str], **facts: Any
) -> dict[str, Any]:
    """Write a model's weights and their card.

    Each file appears whole or not at all. The old card is deleted first and the new one appears
    last, so a card never lies beside weights that are not its own.

    Args:
        path: of both files, without an ending: `path.safetensors` and `path.json`.
        model: the network.
        classes: the names of its logits, in order.
        facts: what else the card shall hold (data, seed, epochs, accuracy), as plain JSON values.

    Returns:
        The card.

    Raises:
        ValueError: if class names are repeated or too many or too few, or if a fact cannot be
            written as JSON or has a name that the card uses itself.
        OSError: if the files cannot be written.
    """
    weights_file, card_file = _files(path)
    weights = tensors_to_bytes(cpu_copies(model.state_dict()))
    card = _card(model, list(classes), facts, hashlib.sha256(weights).hexdigest())
    try:
        text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"facts: got {error}; must be plain JSON values.") from None
    weights_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        temporary_file(weights_file, weights) as new_weights,
        temporary_file(card_file, text.encode()) as new_card,
    ):
        card_file.unlink(missing_ok=True)
        os.replace(new_weights, weights_file)
        os.replace(new_card, card_file)
    return dict(json.loads(text))


def _card(
    model: nn.Module, names: list[str], facts: Mapping[str, Any], sha256: str
) -> dict[str, Any]:
    """Return the card of a model with these class names, or raise ValueError."""
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise ValueError(f"classes: got {names!r}; must be different names, one for each logit.")
    card: dict[str, Any] = {
        "format": _FORMAT,
        "architecture": type(model).__name__,
        "arguments": _arguments(model),
        "classes": names,
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
        The model, in evaluation mode (and on the CPU, if it was built here), and its card.

    Raises:
        ValueError: naming the file, if a file is missing or damaged, if the weights are not those
            that the card describes, or if the architecture or the classes are not as asked for.
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
        model = _build(card, card_file)
    elif type(model).__name__ != card["architecture"]:
        raise ValueError(
            f"model: got {type(model).__name__}; must be {card['architecture']}, the architecture "
            f"in {card_file}"
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
    """Return what a model was built with, if it keeps that in `.arguments`, as ours do."""
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
    needed = {"architecture": str, "arguments": dict, "classes": list, "sha256": str}
    for name, kind in needed.items():
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
            f"{card_file}: got the architecture {name!r}; must be one of "
            f"{', '.join(sorted(ARCHITECTURES))}. Build another one yourself and pass it as model="
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
    """Write a tensor's shape and type, or that it is absent."""
    return "absent" if entry is None else f"{entry[0]} {entry[1]}"
