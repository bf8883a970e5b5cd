"""Explanations of many images, as files of a fixed size that any number of processes write.

    <folder>/manifest.json              what was asked for, and the SHA-256 of each finished shard
    <folder>/00000.safetensors, ...     the shards: relevance, logits and targets of some items each
    <folder>/claims/00000.lock, ...     empty; a process locks one while it makes this shard

What is in a shard, and in which batches it is explained, does not depend on who makes it. So the
files are the same to the bit for one process or many. A claim is a lock of the operating system,
which opens it when its holder ends, however it ends. A shard appears when it is whole, so a kill
loses the shards that were being made, never a finished one.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from xai_course.beetlebox.scene import Scene
from xai_course.beetlebox.tensors import stack_images
from xai_course.core.checks import check_choice, check_count
from xai_course.core.describe import describe_callable
from xai_course.core.maps import Explainer, relevance_maps
from xai_course.core.progress import bar_class
from xai_course.core.randomness import isolated_rng
from xai_course.core.translation import translate
from xai_course.data.transforms import normalise
from xai_course.storage.atomic_files import atomic_write, cpu_copies, hash_tensors, read_json

__all__ = ["Shard", "draw_scenes", "explain_shards", "open_shards", "read_manifest"]


MANIFEST, CLAIMS = "manifest.json", "claims"
FORMAT = "xai_course shards 1"
SHARD_NAME = re.compile(r"\d{5,}\.safetensors")  # no path to elsewhere
DTYPES = (torch.float16, torch.float32, torch.float64)
WARN_AFTER, GIVE_UP_AFTER = 10.0, 600.0  # seconds of waiting for the manifest, which takes none


@dataclass(frozen=True)
class Shard:
    """One file of explanations: N items, and for each of them relevance, logits and target.

    Attributes:
        number: its place in the folder, from 0.
        items: what was explained; a scene as {"species": ..., "seed": ...}, so that `Scene(**item)`
            is the scene again.
        relevance: (N, C, H, W) or (N, 1, H, W).
        logits: (N, classes).
        targets: the predicted classes (N,), which the relevance is for.
    """

    number: int
    items: list[Any]
    relevance: Tensor
    logits: Tensor
    targets: Tensor


def draw_scenes(scenes: Sequence[Scene], size: int = 64) -> Tensor:
    """Draw scenes as a network's input.

    Args:
        scenes: N of them.
        size: height and width, in pixels.

    Returns:
        Normalised images (N, 3, size, size).
    """
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
    """Explain items into those shards of a folder that nobody has made yet.

    Call it in as many processes as you like, on one machine or on several that share the folder;
    each makes the next shard that neither exists nor is claimed. Call it again after a kill. The
    files are the same to the bit for any number of processes, if all have the same machine, PyTorch
    and number of threads.

    Args:
        folder: new, empty, or one that was written with the same other arguments.
        model: a classifier in evaluation mode that returns logits (N, classes).
        method: an explainer `(model, images, targets) -> relevance`; the targets are the predicted
            classes. PyTorch's global generator is seeded by the shard's number.
        items: scenes, or whatever `load` takes; for a data set, `range(len(dataset))`.
        load: from some of the items to the network's input (N, C, H, W).
        per_shard: items in a file.
        batch_size: items in a pass.
        dtype: of the stored relevance: float16, float32 or float64.
        progress: True shows a bar, and a line at the end.

    Returns:
        How many shards this call has made.

    Raises:
        ValueError: if an argument is not as described, or the folder was written with others (it is
            left as it was).
        OSError: if the file system cannot lock files, or another process does not open the lock of
            the manifest for ten minutes.
    """
    folder = Path(folder)
    _check(folder, model, items, per_shard, batch_size, dtype)
    weight = next(model.parameters(), torch.zeros(()))
    recipe = {
        "format": FORMAT,
        "model": [type(model).__name__, hash_tensors(model.state_dict())[:16]],
        "method": describe_callable(method, describe_tensor=_describe_tensor),
        "items": [len(items), _hash(json.dumps(_names(items)))[:16]],
        "load": describe_callable(load, describe_tensor=_describe_tensor),
        "first item": hash_tensors({"images": load(items[:1])})[:16],
        "per_shard": per_shard,
        "batch_size": batch_size,
        "dtype": str(dtype).removeprefix("torch."),
        "made with": _made_with(weight.device),
    }

    def make(number: int) -> None:
        batch = items[number * per_shard : (number + 1) * per_shard]
        with isolated_rng(weight.device):
            torch.manual_seed(number)
            tensors = _explain(model, method, load(batch).to(weight), batch_size)
        tensors["relevance"] = tensors["relevance"].to(dtype)
        # One entry: safetensors does not keep the order of several.
        about = {"about": json.dumps({"items": _names(batch), "recipe": _key(recipe)})}
        _put(_file(folder, number), tensors_to_bytes(cpu_copies(tensors), metadata=about))

    (folder / CLAIMS).mkdir(parents=True, exist_ok=True)
    count, made = math.ceil(len(items) / per_shard), 0
    with _claim(folder, "manifest", wait=True):
        done = _begin(folder, recipe, count)
    missing = [n for n in range(count) if _name(n) not in done or not _file(folder, n).exists()]
    for number in bar_class()(missing, "shards", leave=False, disable=not progress):
        with _claim(folder, f"{number:05d}") as is_ours:
            if not is_ours:
                continue  # another process is making it
            is_new = not _file(folder, number).exists()
            if is_new:
                make(number)
                made += 1
            with _claim(folder, "manifest", wait=True):
                _record(folder, number, is_new=is_new)
    if progress:
        words = translate(
            "{count} shards: {made} made now, {there} were there, {taken} others had taken",
            count=count,
            made=made,
            there=count - len(missing),
            taken=len(missing) - made,
        )
        print(words)
    return made


def open_shards(folder: str | Path) -> Iterator[Shard]:
    """Yield the finished shards of a folder in order, each read when its turn comes.

    This works while processes still write: the shards are those that the manifest lists now. No
    more than one shard is in memory, if you keep none.

    Args:
        folder: one that `explain_shards` has written to.

    Returns:
        An iterator over the shards.

    Raises:
        ValueError: if there is no manifest; and when a shard comes that is missing or damaged.
    """
    sha256 = read_manifest(folder)["shards"]
    return (_read(Path(folder), name, sha256[name]) for name in sorted(sha256))


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the manifest of a folder of shards.

    Args:
        folder: one that `explain_shards` has written to.

    Returns:
        `recipe`, how the shards are made; `count`, how many they will be; and `shards`, the SHA-256
        of those that are finished, by file name.

    Raises:
        ValueError: if there is no manifest.
    """
    file = Path(folder) / MANIFEST
    try:
        manifest = read_json(file.read_bytes(), MANIFEST)
        _check_manifest(manifest)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"folder: got {folder}, without a manifest that can be read ({type(error).__name__}: "
            f"{error}); must be a folder that explain_shards has written to."
        ) from error
    return manifest


def _check_manifest(manifest: dict[str, Any]) -> None:
    """Raise ValueError unless a manifest is as `explain_shards` writes it."""
    recipe, count, done = (manifest.get(name) for name in ("recipe", "count", "shards"))
    if not isinstance(recipe, dict) or recipe.get("format") != FORMAT:
        raise ValueError(f"its recipe has not the format {FORMAT!r}")
    check_count("count", count)
    if not isinstance(done, dict) or not all(
        SHARD_NAME.fullmatch(name) and isinstance(sha256, str) for name, sha256 in done.items()
    ):
        raise ValueError("its shards are not listed by name with their SHA-256")


def _made_with(device: torch.device) -> list[str]:
    """Return what the last bits of a result depend on."""
    return [
        f"torch {torch.__version__}",
        f"{torch.get_num_threads()} threads, {device.type}",
        platform.machine(),
    ]


# ---- one shard -----------------------------------------------------------------------------------


def _explain(
    model: nn.Module, method: Explainer, images: Tensor, batch_size: int
) -> dict[str, Tensor]:
    """Return the logits, the predicted classes and their relevance."""
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
    try:
        tensors = tensors_from_bytes(data)
        header = read_json(data[8 : 8 + int.from_bytes(data[:8], "little")], "its header")
        items = read_json(header["__metadata__"]["about"], "its list of items")["items"]
        parts = [tensors[part] for part in ("relevance", "logits", "targets")]
        if not isinstance(items, list) or any(part.shape[:1] != (len(items),) for part in parts):
            raise ValueError("it has not one entry for each item")
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"folder: {folder / name} is no shard ({type(error).__name__}: {error}); delete it."
        ) from error
    return Shard(int(name.partition(".")[0]), items, *parts)


def _name(number: int) -> str:
    """Return the name of a shard's file."""
    return f"{number:05d}.safetensors"


def _file(folder: Path, number: int) -> Path:
    """Return the path of a shard's file."""
    return folder / _name(number)


def _put(path: Path, content: bytes) -> None:
    """Write a file as a whole; the caller holds its claim."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)  # its writer is dead, or the claim would not be ours
    atomic_write(path, content)


# ---- the manifest --------------------------------------------------------------------------------


def _begin(folder: Path, recipe: dict[str, Any], count: int) -> set[str]:
    """Write the manifest, or compare it with this recipe; return the names of what is done."""
    if not (folder / MANIFEST).exists():
        _save(folder, {"recipe": recipe, "count": count, "shards": {}})
    manifest = read_manifest(folder)
    differences = [
        f"{name}: {manifest['recipe'].get(name)!r} in the folder, {value!r} now"
        for name, value in recipe.items()
        if manifest["recipe"].get(name) != value
    ]
    if differences:
        raise ValueError(
            f"folder: got {folder}, which has another recipe ({'; '.join(differences)}); must be "
            "a new folder, or one with the same recipe."
        )
    return set(manifest["shards"])


def _record(folder: Path, number: int, *, is_new: bool) -> None:
    """List a shard: a new one, or one whose maker was killed before it could list it."""
    manifest = read_manifest(folder)
    file = _file(folder, number)
    if file.name in manifest["shards"] and not is_new:
        return
    try:
        with safe_open(file, framework="pt") as opened:
            about = (opened.metadata() or {}).get("about", "{}")
        key = read_json(about, str(file)).get("recipe")
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"folder: got {file}, which is not a shard: {error}") from None
    if key != _key(manifest["recipe"]):
        raise ValueError(f"folder: got {file}, which has another recipe; must be of this recipe.")
    manifest["shards"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest["shards"] = dict(sorted(manifest["shards"].items()))
    _save(folder, manifest)


def _save(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest; the caller holds its claim."""
    _put(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _key(recipe: dict[str, Any]) -> str:
    """Return a short hash of a recipe, by which a shard is known to be of it."""
    return _hash(json.dumps(recipe))[:16]


def _hash(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _names(items: Sequence[Any]) -> list[Any]:
    """Return plain values for JSON, one for each item."""
    return [_item(item) for item in items]


def _item(item: Any) -> Any:
    """Return a scene by species and seed, numbers and texts as they are, anything else as text."""
    if isinstance(item, Scene):
        plain = {"species": item.species, "seed": int(item.seed)}
        return plain if item == Scene(item.species, item.seed) else {**plain, "changed": repr(item)}
    return item if isinstance(item, str | int | float) else repr(item)


def _describe_tensor(tensor: Tensor) -> str:
    """Describe an option that is a tensor by the hash of its values."""
    return f"tensor {hash_tensors({'': tensor})[:16]}"


def _check(
    folder: Path,
    model: nn.Module,
    items: Sequence[Any],
    per_shard: int,
    batch_size: int,
    dtype: torch.dtype,
) -> None:
    """Raise ValueError for arguments that cannot be used."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if folder.is_file() or (names and {CLAIMS, MANIFEST}.isdisjoint(names)):
        raise ValueError(
            f"folder: got {folder}, which holds something else; must be a new or empty folder, or "
            "one that explain_shards has written to."
        )
    if any(module.training for module in model.modules()):
        raise ValueError("model: got training mode; must be in evaluation mode: model.eval().")
    if not len(items):
        raise ValueError("items: got none; must be at least one.")
    check_count("per_shard", per_shard)
    check_count("batch_size", batch_size)
    if math.ceil(len(items) / per_shard) > 100_000:
        raise ValueError(
            f"per_shard: got {per_shard} for {len(items)} items; must give at most 100,000 shards."
        )
    check_choice("dtype", dtype, DTYPES)


# ---- claims --------------------------------------------------------------------------------------


@contextmanager
def _claim(folder: Path, name: str, wait: bool = False) -> Iterator[bool]:
    """Lock a name: True if it is ours, False if another process has it and we do not wait."""
    lock = FileLock(folder / CLAIMS / f"{name}.lock")
    is_ours = _lock(lock, WARN_AFTER if wait else 0)
    if wait and not is_ours:
        warnings.warn(f"waiting for {lock.lock_file}, which another process holds", stacklevel=3)
        is_ours = _lock(lock, GIVE_UP_AFTER)
        if not is_ours:
            raise TimeoutError(
                f"folder: {lock.lock_file} is held by another process, which may be suspended; end "
                "it and call again."
            )
    try:
        yield is_ours
    finally:
        lock.release()  # does nothing if it is not ours


def _lock(lock: BaseFileLock, timeout: float) -> bool:
    """Try to lock for some seconds; raise OSError where the file system cannot."""
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    except NotImplementedError as error:
        raise OSError(f"folder: its file system cannot lock {lock.lock_file}") from error
    # filelock's replacement where the system has no locks would outlive a process that is killed.
    if isinstance(lock, SoftFileLock):
        lock.release()
        raise OSError(f"folder: its file system cannot lock {lock.lock_file}")
    return True
