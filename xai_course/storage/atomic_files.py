"""Files that appear whole or not at all, and tensors in files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

__all__ = ["cpu_copies", "hash_tensors", "read_state", "write_aside", "write_state"]


def write_aside(path: Path, data: bytes) -> Path:
    """Write data beside its place, through to the disk; return where it lies."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def cpu_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, contiguous and sharing no memory, as safetensors wants them."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


_STATE = "xai_course training state 1"


def write_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state of an unfinished run: tensors, and facts as JSON in the file's header.

    One file, renamed into place when complete, so a kill leaves the state before or the state
    after, never half of one. The header also holds the SHA-256 of tensors and facts.
    """
    plain = cpu_copies(tensors)
    text = json.dumps(facts)
    header = {"format": _STATE, "facts": text, "sha256": hash_tensors(plain, text)}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = write_aside(path, tensors_to_bytes(plain, metadata=header))
    try:
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_state` wrote.

    Raises ValueError, naming the file, if it is damaged or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable training state: {error}") from None
    if header.get("format") != _STATE:
        raise ValueError(f"{path}: holds weights, but not the state of a training run")
    text = header.get("facts", "")
    if header.get("sha256") != hash_tensors(tensors, text):
        raise ValueError(f"{path}: damaged (its SHA-256 differs)")
    return tensors, json.loads(text)


def hash_tensors(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Compute the SHA-256 of a text and of tensors: names, types, shapes and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
