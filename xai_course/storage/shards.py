"""Explanations of many images, as files of a fixed size that any number of processes write.

    <folder>/manifest.json              what was asked for, and the SHA-256 of each finished shard
    <folder>/00000.safetensors, ...     the shards: relevance, logits and targets of some items each
    <folder>/claims.lock                empty; a process locks byte n + 1 while it makes shard n

What is in a shard, and in which batches it is explained, does not depend on who makes it. So the
files are the same to the bit for one process or many. A claim is a lock of the operating system,
which opens it when its holder ends, however it ends. A shard is written aside and renamed when it
is whole, so a kill loses the shards that were being made, never a finished one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from xai_course.beetlebox.scene import Scene
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.randomness import isolated_rng
from xai_course.data.transforms import normalise
from xai_course.storage.atomic_files import cpu_copies, hash_tensors, write_aside

__all__ = ["Shard", "draw_scenes", "explain_shards", "open_shards", "read_manifest"]


MANIFEST, CLAIMS = "manifest.json", "claims.lock"
FORMAT = "xai_course shards 1"
DTYPES = (torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Shard:
    """One file of explanations: N items, and for each of them relevance, logits and target."""

    number: int
    items: list[Any]  # a scene as {"species": ..., "seed": ...}, so that Scene(**item) is it again
    relevance: Tensor  # (N, C or 1, H, W)
    logits: Tensor  # (N, classes)
    targets: Tensor  # (N,), the predicted classes, which the relevance is for


def draw_scenes(scenes: Sequence[Scene], size: int = 64) -> Tensor:
    """Draw scenes as a network's input (N, 3, size, size)."""
    return normalise(stack_images(scenes, size))


def explain_shards(
    folder: str | Path,
    model: nn.Module,
    method: Explainer,
    items: Sequence[Any],
    *,
    load: Callable[[Sequence[Any]], Tensor] = draw_scenes,
    per_shard: int = 100,
    batch_size: int = 100,
    dtype: torch.dtype = torch.float32,
    progress: bool = True,
) -> int:
    """Explain items into the shards of a folder that nobody has made; return how many were made.

    Call it in as many processes as you like, on one machine or on several that share the folder;
    each takes the next shard that is neither there nor claimed. Call it again after a kill.

    `method`: an explainer `(model, images, targets) -> relevance`; the target is the predicted
    class. `items`: scenes, or whatever `load` turns into a network's input: `load(items)` is
    (N, C, H, W). For a data set, `range(len(dataset))` and a function that stacks its images.
    `per_shard` items are a file, `batch_size` a batch. `dtype`: of the stored relevance. What
    `method` draws from PyTorch's global generator is seeded by the shard's number.

    The same bits for any number of processes, if all have the same machine, PyTorch and number of
    threads. Raises ValueError for wrong arguments, and for a folder with another recipe, which is
    left as it was; OSError where the file system cannot lock.
    """
    from tqdm.auto import tqdm

    folder = Path(folder)
    _check(folder, model, items, per_shard, batch_size, dtype)
    weight = next(model.parameters(), torch.zeros(()))
    recipe = {
        "format": FORMAT,
        "model": [type(model).__name__, hash_tensors(model.state_dict())[:16]],
        "method": _describe(method),
        "items": [len(items), _hash(json.dumps(_names(items)))[:16]],
        "load": _describe(load),
        "first item": hash_tensors({"images": load(items[:1])})[:16],
        "per_shard": per_shard,
        "batch_size": batch_size,
        "dtype": str(dtype).removeprefix("torch."),
        "made with": [
            f"torch {torch.__version__}",
            f"{torch.get_num_threads()} threads, {weight.device.type}",
            platform.machine(),
        ],
    }
    count, made = math.ceil(len(items) / per_shard), 0
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIMS).open("ab") as locks:
        with _claim(locks, 0, wait=True):
            done = _begin(folder, recipe, count)
        missing = [n for n in range(count) if _name(n) not in done or not _file(folder, n).exists()]
        for number in tqdm(missing, "shards", leave=False, disable=not progress):
            with _claim(locks, number + 1) as ours:
                if not ours:
                    continue  # another process is making it
                file = _file(folder, number)
                if new := not file.exists():
                    some = items[number * per_shard : (number + 1) * per_shard]
                    with isolated_rng(weight.device):
                        torch.manual_seed(number)
                        tensors = _explain(model, method, load(some).to(weight), batch_size)
                    tensors["relevance"] = tensors["relevance"].to(dtype)
                    # One entry: the order of several in the file is left to chance.
                    about = {"about": json.dumps({"items": _names(some), "recipe": _key(recipe)})}
                    _put(file, tensors_to_bytes(cpu_copies(tensors), metadata=about))
                    made += 1
                with _claim(locks, 0, wait=True):
                    _record(folder, number, new=new)
    if progress:
        rest = f"{count - len(missing)} were there, {len(missing) - made} others had taken"
        print(f"{count} shards: {made} made now, {rest}")
    return made


def open_shards(folder: str | Path) -> Iterator[Shard]:
    """Yield the finished shards of a folder in order, each read when its turn comes.

    Works while processes still write: what counts is what the manifest lists now. No more than one
    shard is in memory, if you keep none. Raises ValueError if there is no manifest, or when a shard
    comes that is missing or damaged.
    """
    sums = read_manifest(folder)["shards"]
    return (_read(Path(folder), name, sums[name]) for name in sorted(sums))


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read a manifest: `recipe`, `count` of shards, and `shards`, the SHA-256 of those done.

    Raises ValueError if there is none.
    """
    file = Path(folder) / MANIFEST
    try:
        manifest = json.loads(file.read_text("utf-8"))
        assert manifest["recipe"]["format"] == FORMAT
        return dict(manifest)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise ValueError(
            f"folder: got {folder}, without a manifest that can be read ({type(error).__name__}); "
            "allowed is a folder that explain_shards has written to."
        ) from error


# ---- one shard -----------------------------------------------------------------------------------


def _explain(
    model: nn.Module, method: Explainer, images: Tensor, batch_size: int
) -> dict[str, Tensor]:
    """Predict, and explain the prediction."""
    with torch.no_grad():
        logits = torch.cat([model(batch) for batch in torch.split(images, batch_size)])
    targets = logits.argmax(1)
    relevance = relevance_maps(model, method, images, targets, batch_size=batch_size)
    return {"relevance": relevance, "logits": logits, "targets": targets}


def _read(folder: Path, name: str, digest: str) -> Shard:
    """Read one shard, all of it or an error."""
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise ValueError(f"folder: {folder / name} is listed but cannot be read: {error}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"folder: {folder / name} is damaged (its SHA-256 differs); delete it.")
    tensors = tensors_from_bytes(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    items = json.loads(header["__metadata__"]["about"])["items"]
    number = int(name.partition(".")[0])
    return Shard(number, items, tensors["relevance"], tensors["logits"], tensors["targets"])


def _name(number: int) -> str:
    return f"{number:05d}.safetensors"


def _file(folder: Path, number: int) -> Path:
    return folder / _name(number)


def _put(path: Path, data: bytes) -> None:
    """Write a file whole, then rename it into place; the caller holds its claim."""
    for left in path.parent.glob(f".{path.name}.*.part"):
        left.unlink(missing_ok=True)  # its writer is dead, or the claim would not be ours
    os.replace(write_aside(path, data), path)


# ---- the manifest --------------------------------------------------------------------------------


def _begin(folder: Path, recipe: dict[str, Any], count: int) -> set[str]:
    """Write the manifest, or compare it with this recipe; return the names of what is done."""
    if not (folder / MANIFEST).exists():
        _save(folder, {"recipe": recipe, "count": count, "shards": {}})
    manifest = read_manifest(folder)
    other = [
        f"{name}: {manifest['recipe'].get(name)!r} in the folder, {value!r} now"
        for name, value in recipe.items()
        if manifest["recipe"].get(name) != value
    ]
    if other:
        raise ValueError(
            f"folder: got {folder}, which has another recipe ({'; '.join(other)}); allowed is "
            "a new folder, or one with the same recipe."
        )
    return set(manifest["shards"])


def _record(folder: Path, number: int, *, new: bool) -> None:
    """List a shard: a new one, or one whose maker was killed before it could list it."""
    manifest = read_manifest(folder)
    file = _file(folder, number)
    if file.name in manifest["shards"] and not new:
        return
    try:
        with safe_open(file, framework="pt") as opened:
            key = json.loads((opened.metadata() or {}).get("about", "{}")).get("recipe")
    except SafetensorError as error:
        raise ValueError(f"folder: {file} is not a shard: {error}") from None
    if key != _key(manifest["recipe"]):
        raise ValueError(f"folder: {file} has another recipe; allowed are shards of this one.")
    manifest["shards"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest["shards"] = dict(sorted(manifest["shards"].items()))
    _save(folder, manifest)


def _save(folder: Path, manifest: dict[str, Any]) -> None:
    _put(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _key(recipe: dict[str, Any]) -> str:
    return _hash(json.dumps(recipe))[:16]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _names(items: Sequence[Any]) -> list[Any]:
    """Put items into JSON: a scene by species and seed, numbers and texts as they are."""
    return [_item(item) for item in items]


def _item(item: Any) -> Any:
    if isinstance(item, Scene):
        plain = {"species": item.species, "seed": int(item.seed)}
        return plain if item == Scene(item.species, item.seed) else {**plain, "changed": repr(item)}
    return item if isinstance(item, str | int | float) else repr(item)


def _describe(value: Any) -> Any:
    """Say what a function is: its name and options, of tensors the hash."""
    if isinstance(value, Tensor):
        return f"tensor {hash_tensors({'': value})[:16]}"
    if isinstance(value, partial):
        options = [f"{name}={_describe(option)}" for name, option in value.keywords.items()]
        return f"{_describe(value.func)}({', '.join([*map(_describe, value.args), *options])})"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)


def _check(
    folder: Path,
    model: nn.Module,
    items: Sequence[Any],
    per_shard: int,
    batch_size: int,
    dtype: torch.dtype,
) -> None:
    """Refuse arguments that cannot be used."""
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if folder.is_file() or (there and CLAIMS not in there):
        raise ValueError(
            f"folder: got {folder}, which holds something else; allowed is a new or empty folder, "
            "or one that explain_shards has written to."
        )
    if any(module.training for module in model.modules()):
        raise ValueError("model: got training mode; allowed is evaluation mode: model.eval().")
    if not len(items):
        raise ValueError("items: got none; allowed is at least one.")
    for name, value in (("per_shard", per_shard), ("batch_size", batch_size)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: got {value!r}; allowed is a whole number from 1.")
    if math.ceil(len(items) / per_shard) > 100_000:
        raise ValueError(
            f"per_shard: got {per_shard} for {len(items)} items; allowed are up to 100,000 shards."
        )
    if dtype not in DTYPES:
        raise ValueError(f"dtype: got {dtype!r}; allowed are {', '.join(map(str, DTYPES))}.")


# ---- claims --------------------------------------------------------------------------------------


@contextmanager
def _claim(locks: IO[bytes], byte: int, wait: bool = False) -> Iterator[bool]:
    """Lock one byte of an open file: True if it is ours, False if another process has it."""
    while not (ours := _lock(locks, byte)) and wait:
        time.sleep(0.01)
    try:
        yield ours
    finally:
        if ours:
            _unlock(locks, byte)


def _lock(file: IO[bytes], byte: int) -> bool:
    """Try to lock a byte."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(byte)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(file: IO[bytes], byte: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(byte)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)
