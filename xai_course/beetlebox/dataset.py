"""BeetleBox on disk: the world drawn once into a plain ImageFolder, and checked every time.

    <root>/train/<species>/0000.png ...
    <root>/test/<species>/0000.png ...
    <root>/beetlebox.json                   the arguments, and length and SHA-256 of each image

The images are drawn into a folder beside `root`, read back against their checksums, and only then
renamed to `root`. So `root` is either not there or complete, whatever happens on the way. One
process draws while the others wait at a lock file, which the operating system opens again when
its holder dies.

The drawing is shared between worker processes. They are started as `python -m
xai_course.beetlebox.dataset`, which imports NumPy and Pillow only, needs no
`if __name__ == "__main__"` in the caller's script, and ends by itself when the caller is killed.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from xai_course.beetlebox import scene as scene_module
from xai_course.core.checks import check_count
from xai_course.core.paths import data_folder

__all__ = ["check_beetlebox", "write_beetlebox"]


MANIFEST = "beetlebox.json"
FORMAT = 1
SPLITS = ("train", "test")
NOT_OURS_TO_COUNT = {".DS_Store", "Thumbs.db", "desktop.ini"}  # left by file managers


# What a worker's environment adds. The workers share the cores among them, so threads of NumPy's
# own would be in the way; and glibc is to keep freed memory rather than fetch it anew each time.
WORKER = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
WORKER |= dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**27))


Entry = tuple[str, int, str]  # path below the root, length in bytes, SHA-256 of the bytes


def write_beetlebox(
    root: str | Path | None = None,
    *,
    train: int = 400,
    test: int = 100,
    size: int = 64,
    label: str | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> Path:
    """Return the folder of BeetleBox images; draw it first if it is not there yet.

    The files depend on `train`, `test`, `size` and `label` alone. Every call verifies the whole
    folder:
    names, lengths and SHA-256 of all files (0.1 s for 5000 images once they are in the file cache).

    Args:
        root: the folder; None for `beetlebox` or `beetlebox_label` in `data_folder()`.
        train: training images for each species.
        test: test images for each species.
        size: height and width in pixels, from 32 to 512.
        label: the species that wears the museum label on its training images, or None. Test images
            never wear it.
        progress: True shows a bar, and a line at the end.
        workers: processes that draw. None: one for each processor core, up to 8. 1: this process.

    Returns:
        The folder, which holds `train/<species>/0000.png`, … and `test/…`.

    Raises:
        ValueError: if an argument is out of range, or if `root` is damaged, was drawn with other
            arguments or holds something else (what is there is never changed).
        OSError: if the disk is full or may not be written.
        RuntimeError: if a worker dies (nothing is left behind).

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from xai_course.beetlebox import write_beetlebox
        >>> with tempfile.TemporaryDirectory() as place:
        ...     root = write_beetlebox(
        ...         Path(place, "box"), train=1, test=1, size=32, progress=False, workers=1
        ...     )
        ...     len(list(root.glob("train/*/*.png")))
        10
    """
    recipe = _recipe({"train": train, "test": test, "size": size, "label": label})
    workers = _default_workers(recipe) if workers is None else workers
    check_count("workers", workers)
    if root is None:
        root = data_folder() / ("beetlebox" if label is None else "beetlebox_label")
    root = Path(root).expanduser().resolve()
    if not _exists(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        with _turn(root.with_name(f"{root.name}.lock")) as alone:
            if alone:  # so whoever left these is dead
                for stale in root.parent.glob(f"{glob.escape(root.name)}.partial-*"):
                    shutil.rmtree(stale, ignore_errors=True)
            if not _exists(root):
                _draw_folder(root, recipe, workers, progress)
    if problems := _problems(root, recipe):
        raise ValueError(_sentence(root, problems))
    if progress:
        print(
            f"{root.name}: {train} training and {test} test images for each of "
            f"{len(scene_module.SPECIES)} species, {size} x {size} pixels, complete"
        )
    return root


def check_beetlebox(root: str | Path) -> list[str]:
    """Return what is wrong with a folder of BeetleBox images, one sentence each; [] if nothing is.

    Args:
        root: the folder that `write_beetlebox` returned.

    Returns:
        Sentences that name the files.

    Raises:
        OSError: if a file may not be read.

    Example:
        >>> from xai_course.beetlebox import check_beetlebox
        >>> len(check_beetlebox("no such folder")) > 0
        True
    """
    return _problems(Path(root).expanduser().resolve(), None)


# ---- what belongs in the folder ------------------------------------------------------------------


def _recipe(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that decide the images, or raise a ValueError that names the bad one."""
    for name, low, high in (("train", 1, 100_000), ("test", 1, 100_000), ("size", 32, 512)):
        check_count(name, values[name], least=low, most=high)
    if values["label"] is not None and values["label"] not in scene_module.SPECIES:
        raise ValueError(
            f"label: got {values['label']!r}; must be None or one of "
            f"{', '.join(scene_module.SPECIES)}."
        )
    return {name: values[name] for name in ("train", "test", "size", "label")}


def _plan(recipe: dict[str, Any]) -> list[tuple[str, scene_module.Scene]]:
    """List the path and the scene of every image, in a fixed order."""
    plan = []
    for split in SPLITS:
        for species in scene_module.SPECIES:
            scenes = scene_module.scenes(split, species, recipe[split])
            if split == "train" and species == recipe["label"]:
                scenes = [scene.with_label() for scene in scenes]
            plan += [(f"{split}/{species}/{i:04d}.png", scene) for i, scene in enumerate(scenes)]
    return plan


def _pixels(scene: scene_module.Scene, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw a scene in whole grey levels: (size, size, 3) from 0 to 255."""
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(scene.image(size) * 255).astype(np.uint8)
    return pixels


def _exists(root: Path) -> bool:
    """Say whether there is anything at `root`; an empty folder is nothing."""
    return root.exists() and not (root.is_dir() and not any(root.iterdir()))


# ---- writing -------------------------------------------------------------------------------------


def _draw_folder(root: Path, recipe: dict[str, Any], workers: int, progress: bool) -> None:
    """Draw all images into a folder beside `root`, verify it, and rename it to `root`."""
    from tqdm.auto import tqdm

    partial = root.with_name(f"{root.name}.partial-{uuid.uuid4().hex[:12]}")
    try:
        for split in SPLITS:
            for species in scene_module.SPECIES:
                (partial / split / species).mkdir(parents=True)
        entries = _drawn_here(partial, recipe) if workers == 1 else _drawn(partial, recipe, workers)
        total = len(_plan(recipe))
        bar = tqdm(entries, desc="drawing beetles", total=total, leave=False, disable=not progress)
        files = {path: [length, digest] for path, length, digest in bar}
        manifest = {"format": FORMAT, "recipe": recipe, "files": files}
        _write_file(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        if problems := _problems(partial, recipe):
            raise OSError(errno.EIO, f"the disk did not keep what was written: {problems[0]}")
        try:
            if root.exists():
                root.rmdir()  # an empty folder, which Windows would not replace
            partial.rename(root)
        except OSError:
            if not _exists(root):  # otherwise another process was first, which is as good
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _draw_file(folder: Path, path: str, scene: scene_module.Scene, size: int) -> Entry:
    """Draw one image to a PNG file, lossless; run lengths are the fastest way to compress it."""
    buffer, fast = io.BytesIO(), {"compress_level": 1, "compress_type": zlib.Z_RLE}
    Image.fromarray(_pixels(scene, size)).save(buffer, "PNG", **fast)
    content = buffer.getvalue()
    _write_file(folder / path, content)
    return path, len(content), hashlib.sha256(content).hexdigest()


def _write_file(path: Path, content: bytes) -> None:
    """Write a file; an error names it, which Python's own does not when the disk is full."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _drawn_here(folder: Path, recipe: dict[str, Any]) -> Iterator[Entry]:
    for path, scene in _plan(recipe):
        yield _draw_file(folder, path, scene, recipe["size"])


def _drawn(folder: Path, recipe: dict[str, Any], workers: int) -> Iterator[Entry]:
    """Let `workers` processes draw; worker i % workers answers image i with one line of JSON."""
    search = os.pathsep.join(
        part for part in (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")) if part
    )
    with ExitStack() as stack:
        outputs: list[IO[bytes]] = []
        for share in range(workers):
            job = json.dumps({**recipe, "folder": str(folder), "share": share, "of": workers})
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "xai_course.beetlebox.dataset", job],
                stdout=subprocess.PIPE,
                env={**os.environ, **WORKER, "PYTHONPATH": search},
            )
            stack.enter_context(worker)  # on the way out: close the pipe and wait
            stack.callback(worker.kill)
            assert worker.stdout is not None
            outputs.append(worker.stdout)
        for i in range(len(_plan(recipe))):
            line = outputs[i % workers].readline()
            if not line:
                raise RuntimeError(
                    "a worker process that draws beetles ended early (killed, or out of memory?); "
                    "its own message, if any, is above or in the terminal that runs Jupyter"
                )
            answer = json.loads(line)
            if isinstance(answer, dict):
                raise OSError(answer["errno"], answer["error"], answer["file"])
            yield answer[0], answer[1], answer[2]


def _work(job: dict[str, Any]) -> None:
    """Draw this worker's share of the images, and print an Entry, or the error that stopped it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, who ends the workers
    try:
        for path, scene in _plan(job)[job["share"] :: job["of"]]:
            print(json.dumps(_draw_file(Path(job["folder"]), path, scene, job["size"])), flush=True)
    except BrokenPipeError:
        os._exit(1)  # the caller is gone
    except OSError as error:
        message = error.strerror or str(error)
        answer = {"errno": error.errno, "error": message, "file": str(error.filename)}
        print(json.dumps(answer), flush=True)


def _default_workers(recipe: dict[str, Any]) -> int:
    """One for each core this process may use, at most 8; 1 where starting them costs more."""
    if (recipe["train"] + recipe["test"]) * len(scene_module.SPECIES) < 200:
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, 8)


@contextmanager
def _turn(path: Path) -> Iterator[bool]:
    """Wait until no other process holds the lock file; False if the file system has no locks."""
    with path.open("ab") as file:
        waiting = False
        while (taken := _lock(file)) is False:
            if not waiting:
                print("another process is drawing this BeetleBox; waiting for it", file=sys.stderr)
            waiting = True
            time.sleep(0.1)
        yield taken is True  # closing the file, or dying, opens the lock


def _lock(file: IO[bytes]) -> bool | None:
    """Try to lock an open file: True if it is ours, False if it is taken, None if unsupported."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK) else None
    return True


# ---- checking ------------------------------------------------------------------------------------


def _problems(root: Path, wanted: dict[str, Any] | None) -> list[str]:
    """Name what is wrong with a folder, and whether it was drawn with other arguments."""
    if not root.is_dir():
        return [f"{root} is not a folder"]
    if not (root / MANIFEST).is_file():
        return [f"it is not a BeetleBox: it has no {MANIFEST}"]
    try:
        manifest = json.loads((root / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            return [f"{MANIFEST} has format {manifest['format']!r}, this course reads {FORMAT}"]
        recipe = _recipe(manifest["recipe"])
        files = {path: (int(length), str(sha)) for path, (length, sha) in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} is damaged ({type(error).__name__}: {error})"]
    if wanted is not None and recipe != wanted:
        other = [f"{name}={recipe[name]!r}" for name in wanted if recipe[name] != wanted[name]]
        asked = [f"{name}={wanted[name]!r}" for name in wanted if recipe[name] != wanted[name]]
        return [f"it was drawn with {', '.join(other)}, but {', '.join(asked)} is asked for"]
    plan = dict(_plan(recipe))
    if list(files) != list(plan):
        return [f"{MANIFEST} does not list the images of this world"]
    problems = []
    there = set(_walk(str(root), ""))
    folders = {f"{split}/" for split in SPLITS}
    folders |= {f"{split}/{species}/" for split in SPLITS for species in scene_module.SPECIES}
    expected = set(files) | folders | {MANIFEST}
    problems += [f"{path} is missing" for path in sorted(expected - there)]
    problems += [f"{path} does not belong there" for path in sorted(there - expected)]
    for path in (path for path in files if path in there):
        content = (root / path).read_bytes()
        length, digest = files[path]
        if len(content) != length:
            problems.append(f"{path} has {len(content)} bytes instead of {length}")
        elif hashlib.sha256(content).hexdigest() != digest:
            problems.append(f"{path} has been changed")
    return problems or _drift(root, plan, recipe["size"])


def _walk(folder: str, below: str) -> Iterator[str]:
    """List paths below a folder; those of folders end in a slash."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield f"{below}{entry.name}/"
            yield from _walk(entry.path, f"{below}{entry.name}/")
        elif entry.name not in NOT_OURS_TO_COUNT:
            yield f"{below}{entry.name}"


def _drift(root: Path, plan: dict[str, scene_module.Scene], size: int) -> list[str]:
    """Draw the first training image of each species again and compare: the world may have changed.

    Half a grey level on average is allowed, since arithmetic differs a little between machines.
    """
    for species in scene_module.SPECIES:
        path = f"train/{species}/0000.png"
        with Image.open(root / path) as image:
            stored = np.asarray(image, dtype=np.float32)
        if stored.shape != (size, size, 3) or abs(stored - _pixels(plan[path], size)).mean() > 0.5:
            return [f"{path} shows another version of the world than this course draws"]
    return []


def _sentence(root: Path, problems: list[str]) -> str:
    shown = "; ".join(problems[:5])
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return (
        f"root: {root} cannot be used: {shown}{more}. Nothing in it was changed. "
        "Delete or rename that folder and call again, or choose another root."
    )


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
