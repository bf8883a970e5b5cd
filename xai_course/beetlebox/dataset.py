"""BeetleBox on disk: the world drawn once into a plain ImageFolder, and checked every time.

    <root>/train/<species>/0000.png ...
    <root>/test/<species>/0000.png ...
    <root>/beetlebox.json                   the arguments, and length and SHA-256 of each image

The images are drawn into a folder beside `root`, read back against their checksums, and only then
renamed to `root`. So `root` is either missing or complete, whatever happens meanwhile. One process
draws while the others wait for a lock file, which the operating system unlocks when its holder
dies.

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
import uuid
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from xai_course.beetlebox.scene import CLUTTER, SPECIES, Scene, image_bytes
from xai_course.beetlebox.scene import scenes as first_scenes
from xai_course.core.checks import check_choice, check_count
from xai_course.core.paths import data_folder
from xai_course.core.progress import bar_class
from xai_course.core.translation import translate

__all__ = ["check_beetlebox", "write_beetlebox"]


MANIFEST = "beetlebox.json"
FORMAT = 1
SPLITS = ("train", "test")
IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}  # left by file managers


# What is added to a worker's environment. The workers share the cores, so NumPy's own threads would
# slow them down. And glibc is told to keep freed memory, which it would ask for again at once.
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
    clutter: int = 0,
    progress: bool = True,
    workers: int | None = None,
) -> Path:
    """Return the folder of BeetleBox images; draw it first if it is not there yet.

    The files depend on `train`, `test`, `size`, `label` and `clutter` alone. Every call verifies
    the whole folder: names, lengths and SHA-256 of all files (0.1 s for 5000 images once they are
    in the file cache).

    Args:
        root: the folder; None for `beetlebox` in `data_folder()`, or `beetlebox_label`,
            `beetlebox_clutter` or `beetlebox_label_clutter` there.
        train: training images for each species.
        test: test images for each species.
        size: height and width in pixels, from 32 to 512.
        label: the species that wears the museum label on its training images, or None. Test images
            never wear it.
        clutter: the most pieces of clutter, from 0 to 6, that an image has; see
            `Scene.with_clutter`. Its seed decides how many from 0 to that, whatever the species.
        progress: True shows a bar, and a line at the end.
        workers: processes that draw. None: one for each processor core, up to 8. 1: this process.

    Returns:
        The folder, which holds `train/<species>/0000.png`, … and `test/…`.

    Raises:
        ValueError: if an argument is out of range, or if `root` is damaged, was drawn with other
            arguments or holds something else (what is there is never changed).
        OSError: if the disk is full or cannot be written to.
        RuntimeError: if a worker dies (nothing is left behind).

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from xai_course.beetlebox import write_beetlebox
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = write_beetlebox(
        ...         Path(folder, "box"), train=1, test=1, size=32, progress=False, workers=1
        ...     )
        ...     len(list(root.glob("train/*/*.png")))
        10
    """
    recipe = _recipe(
        {"train": train, "test": test, "size": size, "label": label, "clutter": clutter}
    )
    workers = _default_workers(recipe) if workers is None else workers
    check_count("workers", workers)
    if root is None:
        world = "beetlebox" + "_label" * (label is not None) + "_clutter" * (clutter > 0)
        root = data_folder() / world
    root = Path(root).expanduser().resolve()
    if not _exists(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        with _locked(root.with_name(f"{root.name}.lock")) as is_locked:
            if is_locked:  # no other process draws, so whoever left these is dead
                for stale in root.parent.glob(f"{glob.escape(root.name)}.partial-*"):
                    shutil.rmtree(stale, ignore_errors=True)
            if not _exists(root):
                _draw_folder(root, recipe, workers, progress)
    if problems := _problems(root, recipe):
        raise ValueError(_refusal(root, problems))
    if progress:
        words = translate(
            "{folder}: {train} training and {test} test images a species, {size} x {size} pixels, "
            "complete",
            folder=root.name,
            train=train,
            test=test,
            size=size,
        )
        print(words)
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
    """Return the arguments that decide the images; raise ValueError for a wrong one."""
    check_count("train", values["train"], most=100_000)
    check_count("test", values["test"], most=100_000)
    check_count("size", values["size"], least=32, most=512)
    check_choice("label", values["label"], (None, *SPECIES))
    recipe = {name: values[name] for name in ("train", "test", "size", "label")}
    recipe["clutter"] = values.get("clutter", 0)  # older manifests know none
    check_count("clutter", recipe["clutter"], least=0, most=len(CLUTTER))
    return recipe


def _plan(recipe: dict[str, Any]) -> list[tuple[str, Scene]]:
    """List the path and the scene of every image, in a fixed order."""
    plan = []
    for split in SPLITS:
        for species in SPECIES:
            scenes = [
                scene.with_clutter(scene.seed % (recipe["clutter"] + 1))
                for scene in first_scenes(split, species, recipe[split])
            ]
            if split == "train" and species == recipe["label"]:
                scenes = [scene.with_label() for scene in scenes]
            plan += [(f"{split}/{species}/{i:04d}.png", scene) for i, scene in enumerate(scenes)]
    return plan


def _exists(root: Path) -> bool:
    """Return whether there is anything at `root`; an empty folder counts as nothing."""
    return root.exists() and not (root.is_dir() and not any(root.iterdir()))


# ---- writing -------------------------------------------------------------------------------------


def _draw_folder(root: Path, recipe: dict[str, Any], workers: int, progress: bool) -> None:
    """Draw all images into a folder beside `root`, verify it, and rename it to `root`."""
    partial = root.with_name(f"{root.name}.partial-{uuid.uuid4().hex[:12]}")
    try:
        for split in SPLITS:
            for species in SPECIES:
                (partial / split / species).mkdir(parents=True)
        entries = (
            _draw_here(partial, recipe) if workers == 1 else _draw_apart(partial, recipe, workers)
        )
        total = len(_plan(recipe))
        bar = bar_class()(
            entries,
            desc=translate("drawing beetles"),
            total=total,
            leave=False,
            disable=not progress,
        )
        files = {path: [length, digest] for path, length, digest in bar}
        manifest = {"format": FORMAT, "recipe": recipe, "files": files}
        _write_file(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        if problems := _problems(partial, recipe):
            raise OSError(errno.EIO, f"the disk did not keep what was written: {problems[0]}")
        _rename(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _rename(partial: Path, root: Path) -> None:
    """Rename a complete folder to `root`, unless another process has been faster."""
    try:
        if root.exists():
            root.rmdir()  # an empty folder, which Windows would not replace
        partial.rename(root)
    except OSError:
        if not _exists(root):
            raise


def _draw_file(folder: Path, path: str, scene: Scene, size: int) -> Entry:
    """Draw one image to a PNG file, which loses nothing."""
    buffer = io.BytesIO()
    fast = {"compress_level": 1, "compress_type": zlib.Z_RLE}
    Image.fromarray(image_bytes(scene, size)).save(buffer, "PNG", **fast)
    content = buffer.getvalue()
    _write_file(folder / path, content)
    return path, len(content), hashlib.sha256(content).hexdigest()


def _write_file(path: Path, content: bytes) -> None:
    """Write a file; an error names it, which Python's own does not when the disk is full."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _draw_here(folder: Path, recipe: dict[str, Any]) -> Iterator[Entry]:
    """Draw all images in this process."""
    for path, scene in _plan(recipe):
        yield _draw_file(folder, path, scene, recipe["size"])


def _draw_apart(folder: Path, recipe: dict[str, Any], workers: int) -> Iterator[Entry]:
    """Let `workers` processes draw. Worker i % workers answers image i with one line of JSON."""
    with ExitStack() as stack:
        outputs: list[IO[bytes]] = []
        for share in range(workers):
            job = {**recipe, "folder": str(folder), "share": share, "of": workers}
            worker = stack.enter_context(_start_worker(job))  # at the end: close the pipe and wait
            stack.callback(worker.kill)  # before that
            assert worker.stdout is not None
            outputs.append(worker.stdout)
        for i in range(len(_plan(recipe))):
            yield _read_answer(outputs[i % workers])


def _start_worker(job: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a process that draws a share of the images; see `_work`."""
    package = str(Path(__file__).parents[2])
    search = [package, os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "xai_course.beetlebox.dataset", json.dumps(job)],
        stdout=subprocess.PIPE,
        env={**os.environ, **WORKER, "PYTHONPATH": os.pathsep.join(filter(None, search))},
    )


def _read_answer(output: IO[bytes]) -> Entry:
    """Read what a worker says of its next image; raise the error that stopped it."""
    line = output.readline()
    if not line:
        raise RuntimeError(
            "a worker process that draws beetles ended early (killed, or out of memory?); its own "
            "message, if any, is above or in the terminal that runs Jupyter"
        )
    answer = json.loads(line)
    if isinstance(answer, dict):
        raise OSError(answer["errno"], answer["error"], answer["file"])
    path, length, digest = answer
    return path, length, digest


def _work(job: dict[str, Any]) -> None:
    """Draw this worker's share of the images; print an Entry for each, or the error that stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, which ends the workers
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
    if (recipe["train"] + recipe["test"]) * len(SPECIES) < 200:
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, 8)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Wait until no other process holds the lock file; yield False if there are no locks here."""
    from filelock import FileLock, SoftFileLock, Timeout  # not needed by the workers

    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            words = translate("another process is drawing this BeetleBox; waiting for it")
            print(words, file=sys.stderr)
            lock.acquire()
    except (OSError, NotImplementedError):  # some network disks have no locks
        yield False
        return
    # Where the system has no locks, filelock puts a file in their place. It would outlive a process
    # that is killed, so it is not used.
    is_locked = not isinstance(lock, SoftFileLock)
    if not is_locked:
        lock.release()
    try:
        yield is_locked
    finally:
        lock.release()


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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [f"{MANIFEST} is damaged ({type(error).__name__}: {error})"]
    if wanted is not None and recipe != wanted:
        other = [name for name in wanted if recipe[name] != wanted[name]]
        drawn, asked = (
            ", ".join(f"{name}={values[name]!r}" for name in other) for values in (recipe, wanted)
        )
        return [f"it was drawn with {drawn}, but {asked} is asked for"]
    plan = dict(_plan(recipe))
    if list(files) != list(plan):
        return [f"{MANIFEST} does not list the images of this world"]
    return _damage(root, files) or _drift(root, plan, recipe["size"])


def _damage(root: Path, files: dict[str, tuple[int, str]]) -> list[str]:
    """Name files that are missing, do not belong there, or are not as the manifest says."""
    present = set(_walk(str(root), ""))
    folders = {f"{split}/" for split in SPLITS}
    folders |= {f"{split}/{species}/" for split in SPLITS for species in SPECIES}
    expected = set(files) | folders | {MANIFEST}
    problems = [f"{path} is missing" for path in sorted(expected - present)]
    problems += [f"{path} does not belong there" for path in sorted(present - expected)]
    for path, (length, digest) in files.items():
        if path not in present:
            continue
        content = (root / path).read_bytes()
        if len(content) != length:
            problems.append(f"{path} has {len(content)} bytes instead of {length}")
        elif hashlib.sha256(content).hexdigest() != digest:
            problems.append(f"{path} has been changed")
    return problems


def _walk(folder: str, below: str) -> Iterator[str]:
    """List the paths below a folder; those of folders end in a slash."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield f"{below}{entry.name}/"
            yield from _walk(entry.path, f"{below}{entry.name}/")
        elif entry.name not in IGNORED:
            # A pipe or a device, which would be read for ever, is no file that is expected.
            kind = "" if entry.is_file() else " (no regular file)"
            yield f"{below}{entry.name}{kind}"


def _drift(root: Path, plan: dict[str, Scene], size: int) -> list[str]:
    """Draw the first training image of each species again: the world may have changed since.

    Half a grey level on average may differ, since machines differ a little in their arithmetic.
    """
    from xai_course.data.image_files import read_image  # not needed by the workers

    for species in SPECIES:
        path = f"train/{species}/0000.png"
        try:
            stored = np.asarray(read_image(root / path), dtype=np.float32)
        except ValueError as error:
            return [str(error)]
        if (
            stored.shape != (size, size, 3)
            or np.abs(stored - image_bytes(plan[path], size)).mean() > 0.5
        ):
            return [f"{path} shows another version of the world than this course draws"]
    return []


def _refusal(root: Path, problems: list[str]) -> str:
    """Say why a folder cannot be used, and what to do."""
    shown = "; ".join(problems[:5])
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return (
        f"root: {root} cannot be used: {shown}{more}. Nothing in it was changed. "
        "Delete or rename that folder and call again, or choose another root."
    )


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
