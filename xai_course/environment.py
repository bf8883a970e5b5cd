"""Check whether this machine is ready for the course, and say what to do where it is not."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["check_machine"]


PYTHON = (3, 11)
# Oldest version that the course works with, as in pyproject.toml, and the name to import.
PACKAGES = {
    "torch": ("2.6", "torch"),
    "torchvision": ("0.21", "torchvision"),
    "numpy": ("2.0", "numpy"),
    "pillow": ("11.0", "PIL"),
    "safetensors": ("0.5", "safetensors"),
    "tqdm": ("4.67", "tqdm"),
    "scikit-image": ("0.25", "skimage"),
    "matplotlib": ("3.9", "matplotlib"),
    "ipywidgets": ("8.1.5", "ipywidgets"),
}
CHECKPOINTS = ("beetle_net", "article_net", "beetle_net_shortcut")
DISK = 0.5  # GB: two BeetleBox folders, with room for a checkpoint of your own
MEMORY = 1.5  # GB


INSTALL = (
    "run `make lab` in the course's folder; without make: "
    "`python -m pip install -c requirements.lock -e .`"
)


class Miss(Exception):
    """Something is missing or broken; the two arguments are what it is, and what to do."""


def check_machine() -> list[str]:
    """Check everything that the course needs; return one line for each thing, and a summary.

    Nothing is changed or downloaded. The course's networks are read and compared with their cards.

    Returns:
        One line for each thing that is needed: "✓ name: state", or "✗ name: problem → what to do".
        The last line is the summary.

    Cost:
        Reads the course's networks and photographs: a few seconds.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        *((name, lambda name=name: _package(name)) for name in PACKAGES),
        ("device", _device),
        ("data folder", _data_folder),
        ("disk", _disk),
        ("memory", _memory),
        *((name, lambda name=name: _checkpoint(name)) for name in CHECKPOINTS),
        ("ImageNet network", _photo_network),
        ("photographs", _photographs),
    ]
    lines: list[str] = []
    misses = 0
    for name, check in checks:
        try:
            lines.append(f"✓ {name}: {check()}")
        except Miss as miss:
            lines.append(f"✗ {name}: {miss.args[0]} → {miss.args[1]}")
            misses += 1
        except Exception as error:  # a half-installed package can raise anything
            first = (str(error).splitlines() or [""])[0]
            lines.append(f"✗ {name}: {type(error).__name__}: {first} → {INSTALL}")
            misses += 1
    many = "one thing needs" if misses == 1 else f"{misses} things need"
    lines.append(f"{many} your attention, see ✗" if misses else "everything is here")
    return lines


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        wanted = ".".join(map(str, PYTHON))
        raise Miss(
            f"{version} is too old", f"install Python {wanted} or newer, delete .venv, run make lab"
        )
    return version


def _package(name: str) -> str:
    """Import a package, since an installed one may be broken; compare its version."""
    oldest, module = PACKAGES[name]
    try:
        importlib.import_module(module)
        version = importlib.metadata.version(name).split("+")[0]
    except Exception as error:  # for example RuntimeError, from torchvision for another torch
        absent = isinstance(error, ImportError | importlib.metadata.PackageNotFoundError)
        first = (str(error).splitlines() or [""])[0]
        what = "not installed" if absent else f"installed but broken ({first})"
        raise Miss(what, INSTALL) from error
    if _numbers(version) < _numbers(oldest):
        raise Miss(f"{version} is older than {oldest}", INSTALL)
    return version


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}; every lesson also runs on the CPU"
    if torch.backends.mps.is_available():
        return "Apple's GPU (MPS); every lesson also runs on the CPU"
    return "the CPU, which is enough for every lesson"


def _folder() -> Path:
    from xai_course.core.paths import data_folder

    try:
        return data_folder()
    except ValueError as error:
        raise Miss("not known", str(error)) from error


def _data_folder() -> str:
    folder = _folder()
    remedy = (
        "copy it to a folder you may write to, and set the environment variable XAI_COURSE_DATA to "
        "that folder"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if (folder / "beetlebox" / "beetlebox.json").is_file():  # as on a server for a class
            return f"{folder} is read-only, which is enough since BeetleBox is drawn"
        raise Miss(f"{folder} cannot be written to ({error.strerror})", remedy) from error
    return f"{folder} can be written to"


def _disk() -> str:
    folder = _folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < DISK:
        raise Miss(
            f"{free:.1f} GB free for the data folder, {DISK} GB are needed",
            "make room, or set XAI_COURSE_DATA to a folder on another disk",
        )
    return f"enough, more than {DISK} GB free"


def _memory() -> str:
    """Read the memory that is available; without another package, only Linux tells."""
    match = re.search(r"MemAvailable:\s+(\d+) kB", _meminfo())
    if not match:
        return "not measured on this system"
    free = int(match[1]) * 1024 / 1e9
    if free < MEMORY:
        raise Miss(
            f"{free:.1f} GB free, {MEMORY} GB are needed",
            "shut down other notebooks (Kernel → Shut Down All Kernels) and programs",
        )
    return f"enough, more than {MEMORY} GB free"


def _meminfo() -> str:
    path = Path("/proc/meminfo")
    return path.read_text() if os.access(path, os.R_OK) else ""


def _checkpoint(name: str) -> str:
    from xai_course.storage.checkpoints import load_checkpoint

    folder = _folder() / "checkpoints"
    remedy = "`git checkout data/checkpoints` fetches it, or `make checkpoints` trains it (minutes)"
    if os.environ.get("XAI_COURSE_DATA"):
        remedy = f"copy the course's data/checkpoints to {folder}"
    if not (folder / f"{name}.json").exists():
        raise Miss(f"missing in {folder}", remedy)
    try:
        _, card = load_checkpoint(folder / name)
    except ValueError as error:
        raise Miss(str(error), remedy) from error
    accuracy = card.get("accuracy")
    words = f", right on {accuracy:.1%} of its test images" if isinstance(accuracy, float) else ""
    return f"trained and whole{words}"


def _photo_network() -> str:
    from xai_course.models.pretrained import PACKAGED, photo_network

    try:
        _, _, names = photo_network()
    except (ImportError, OSError, ValueError) as error:
        raise Miss(str(error), INSTALL) from error
    return f"{PACKAGED}, {len(names)} classes"


def _photographs() -> str:
    from xai_course.data.photographs import PHOTOGRAPHS, photograph

    for name in PHOTOGRAPHS:
        try:
            photograph(name)
        except Exception as error:  # a missing file makes scikit-image try a download
            remedy = "`python -m pip install --force-reinstall --no-deps scikit-image`"
            raise Miss(f"{name} cannot be opened ({type(error).__name__})", remedy) from error
    return f"all {len(PHOTOGRAPHS)} of them"
