"""Files that appear whole or not at all, and tensors in files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

__all__ = [
    "atomic_write",
    "cpu_copies",
    "hash_tensors",
    "read_state",
    "write_state",
]


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    After a full disk, or when the process is killed, the file is what it was before or the new one,
    never a part of it. Only a kill can leave a temporary file, `.<name>.<process>.part`.

    Args:
        path: the file, in a folder that exists.
        content: its bytes.

    Raises:
        OSError: if the disk is full, or the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from xai_course.storage import atomic_write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     atomic_write(Path(folder) / "note.txt", b"whole")
        ...     [path.name for path in Path(folder).iterdir()]
        ['note.txt']
    """
    with temporary_file(path, content) as part:
        os.replace(part, path)


@contextmanager
def temporary_file(path: Path, content: bytes) -> Iterator[Path]:
    """Write a file's new content beside it, to be renamed inside; what is not renamed is deleted.

    For several files that must change together: write all, then rename all.

    Args:
        path: the file that will get the content.
        content: its bytes.

    Yields:
        The temporary file in the same folder, complete on the disk.

    Raises:
        OSError: if the disk is full, or the folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


def cpu_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, contiguous and sharing no memory, as safetensors wants them.

    Args:
        tensors: by name.

    Returns:
        Their copies, by name.
    """
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


_STATE = "xai_course training state 1"


def write_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the state of an unfinished run: tensors, and facts as JSON in the file's header.

    It is one file, written by `atomic_write`, so a kill leaves the state before or the state after,
    never half of one. The header also holds the SHA-256 of tensors and facts.

    Args:
        path: the file; its folder is made if it is missing.
        tensors: by name.
        facts: plain values that JSON can hold.
    """
    plain = cpu_copies(tensors)
    text = json.dumps(facts)
    header = {"format": _STATE, "facts": text, "sha256": hash_tensors(plain, text)}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, tensors_to_bytes(plain, metadata=header))


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_state` wrote.

    Args:
        path: the file.

    Returns:
        The tensors by name, and the facts.

    Raises:
        ValueError: naming the file, if it is damaged or something else.
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
    """Compute the SHA-256 of a text and of tensors: names, types, shapes and bytes.

    Args:
        tensors: by name; their order does not matter.
        text: hashed before them.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
