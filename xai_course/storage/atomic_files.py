"""Files that appear whole or not at all, and tensors in files."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
import threading
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
    "read_json",
    "read_state",
    "write_state",
]


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    After a full disk, or when the process is killed, the file is what it was before or the new one,
    never a part of it. Only a kill can leave a temporary file, `.<name>.<process>.part`; the next
    call for the same file deletes it.

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
    _sweep(path)
    # Threads of one process may write the same file; and other machines may have the same folder.
    writer = f"{_machine()}-{os.getpid()}-{threading.get_native_id()}"
    part = path.with_name(f".{path.name}.{writer}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        part.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Delete what killed processes of this machine left beside a file."""
    begin, end = f".{path.name}.", ".part"
    with os.scandir(path.parent) as entries:
        names = [e.name for e in entries if e.name.startswith(begin) and e.name.endswith(end)]
    for name in names:
        writer = re.fullmatch(r"(?:(\w+)-)?(\d+)(?:-\d+)?", name[len(begin) : -len(end)])
        if writer and writer[1] in (None, _machine()) and not _is_alive(int(writer[2])):
            path.with_name(name).unlink(missing_ok=True)


def _machine() -> str:
    """Return a name of this machine that can be a part of a file's name."""
    return re.sub(r"\W", "_", platform.node()) or "unnamed"


def _is_alive(process: int) -> bool:
    """Return whether a process of this number exists; True where that cannot be asked."""
    if sys.platform == "win32":  # where `os.kill` with any signal ends the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


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
    return tensors, read_json(text, str(path))


def read_json(text: str | bytes, name: str) -> dict[str, Any]:
    """Read a JSON object that may be from anyone.

    Args:
        text: of a file.
        name: of the file, for errors.

    Returns:
        The object.

    Raises:
        ValueError: naming the file, if it is no JSON, no object, or nested too deep to be read.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not readable as JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{name}: got {type(content).__name__}; must be a JSON object.")
    return content


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
