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
from typing import Any

try:
    from xai_course.core.translation import message
    from xai_course.core.translation import translate as translate
except ImportError:  # nothing is installed yet; then this check says so in English

    def translate(text: str, /, **values: Any) -> str:
        """Put the values into the text."""
        return text.format(**values)

    def message(text: str) -> str:
        """Return the text."""
        return text


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


INSTALL = message(
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
        (translate("device"), _device),
        (translate("data folder"), _data_folder),
        (translate("disk"), _disk),
        (translate("memory"), _memory),
        *((name, lambda name=name: _checkpoint(name)) for name in CHECKPOINTS),
        (translate("ImageNet network"), _photo_network),
        (translate("photographs"), _photographs),
    ]
    lines: list[str] = []
    misses = 0
    for name, check in checks:
        try:
            lines.append(translate("✓ {name}: {state}", name=name, state=check()))
        except Miss as miss:
            problem, remedy = miss.args
            lines.append(_miss(name, problem, remedy))
            misses += 1
        except Exception as error:  # a half-installed package can raise anything
            first = (str(error).splitlines() or [""])[0]
            lines.append(_miss(name, f"{type(error).__name__}: {first}", translate(INSTALL)))
            misses += 1
    lines.append(_summary(misses))
    return lines


def _miss(name: str, problem: str, remedy: str) -> str:
    return translate("✗ {name}: {problem} → {remedy}", name=name, problem=problem, remedy=remedy)


def _summary(misses: int) -> str:
    if misses == 0:
        return translate("everything is here")
    if misses == 1:
        return translate("one thing needs your attention, see ✗")
    return translate("{count} things need your attention, see ✗", count=misses)


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        wanted = ".".join(map(str, PYTHON))
        raise Miss(
            translate("{version} is too old", version=version),
            translate(
                "install Python {wanted} or newer, delete .venv, run make lab", wanted=wanted
            ),
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
        what = translate("installed but broken ({first})", first=first)
        if absent:
            what = translate("not installed")
        raise Miss(what, translate(INSTALL)) from error
    if _numbers(version) < _numbers(oldest):
        raise Miss(
            translate("{version} is older than {oldest}", version=version, oldest=oldest),
            translate(INSTALL),
        )
    return version


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return translate(
            "{name}; every lesson also runs on the CPU", name=torch.cuda.get_device_name()
        )
    if torch.backends.mps.is_available():
        return translate("Apple's GPU (MPS); every lesson also runs on the CPU")
    return translate("the CPU, which is enough for every lesson")


def _folder() -> Path:
    from xai_course.core.paths import data_folder

    try:
        return data_folder()
    except ValueError as error:
        raise Miss(translate("not known"), str(error)) from error


def _data_folder() -> str:
    folder = _folder()
    remedy = translate(
        "copy it to a folder you may write to, and set the environment variable "
        "XAI_COURSE_DATA to that folder"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if (folder / "beetlebox" / "beetlebox.json").is_file():  # as on a server for a class
            return translate(
                "{folder} is read-only, which is enough since BeetleBox is drawn", folder=folder
            )
        raise Miss(
            translate(
                "{folder} cannot be written to ({reason})", folder=folder, reason=error.strerror
            ),
            remedy,
        ) from error
    return translate("{folder} can be written to", folder=folder)


def _disk() -> str:
    folder = _folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < DISK:
        raise Miss(
            translate(
                "{free:.1f} GB free for the data folder, {needed} GB are needed",
                free=free,
                needed=DISK,
            ),
            translate("make room, or set XAI_COURSE_DATA to a folder on another disk"),
        )
    return translate("enough, more than {needed} GB free", needed=DISK)


def _memory() -> str:
    """Read the memory that is available; without another package, only Linux tells."""
    match = re.search(r"MemAvailable:\s+(\d+) kB", _meminfo())
    if not match:
        return translate("not measured on this system")
    free = int(match[1]) * 1024 / 1e9
    if free < MEMORY:
        raise Miss(
            translate("{free:.1f} GB free, {needed} GB are needed", free=free, needed=MEMORY),
            translate("shut down other notebooks (Kernel → Shut Down All Kernels) and programs"),
        )
    return translate("enough, more than {needed} GB free", needed=MEMORY)


def _meminfo() -> str:
    path = Path("/proc/meminfo")
    return path.read_text() if os.access(path, os.R_OK) else ""


def _checkpoint(name: str) -> str:
    from xai_course.storage.checkpoints import load_checkpoint

    folder = _folder() / "checkpoints"
    remedy = translate(
        "`git checkout data/checkpoints` fetches it, or `make checkpoints` trains it (minutes)"
    )
    if os.environ.get("XAI_COURSE_DATA"):
        remedy = translate("copy the course's data/checkpoints to {folder}", folder=folder)
    if not (folder / f"{name}.json").exists():
        raise Miss(translate("missing in {folder}", folder=folder), remedy)
    try:
        _, card = load_checkpoint(folder / name)
    except ValueError as error:
        raise Miss(str(error), remedy) from error
    accuracy = card.get("accuracy")
    if not isinstance(accuracy, float):
        return translate("trained and whole")
    return translate(
        "trained and whole, right on {accuracy:.1%} of its test images", accuracy=accuracy
    )


def _photo_network() -> str:
    from xai_course.models.pretrained import PACKAGED, photo_network

    try:
        _, _, names = photo_network()
    except (ImportError, OSError, ValueError) as error:
        raise Miss(str(error), translate(INSTALL)) from error
    return translate("{network}, {count} classes", network=PACKAGED, count=len(names))


def _photographs() -> str:
    from xai_course.data.photographs import PHOTOGRAPHS, photograph

    for name in PHOTOGRAPHS:
        try:
            photograph(name)
        except Exception as error:  # a missing file makes scikit-image try a download
            remedy = "`python -m pip install --force-reinstall --no-deps scikit-image`"
            raise Miss(
                translate("{name} cannot be opened ({kind})", name=name, kind=type(error).__name__),
                remedy,
            ) from error
    return translate("all {count} of them", count=len(PHOTOGRAPHS))
