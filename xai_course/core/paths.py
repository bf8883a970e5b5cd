"""Where the course keeps its data: in a checkout, in a folder of lessons, or for this user."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["copy_course", "data_folder"]

CHECKOUT = Path(__file__).resolve().parents[2]
IN_WHEEL = Path(__file__).resolve().parents[1] / "_course"  # what the wheel carries beside the code


def data_folder() -> Path:
    """Return the folder of the course's data: trained networks, grades, results, BeetleBox images.

    It is the first of these that exists or can be made:

    - the folder that the environment variable XAI_COURSE_DATA names;
    - `data/` in the course's checkout;
    - `data/` beside the current folder, or in it, if it holds the course's networks, as it does
      where lessons were copied (`python -m xai_course lessons FOLDER`);
    - a folder of this user. The data that the wheel carries are copied there on first use.

    Returns:
        The folder. It may be read-only once BeetleBox has been drawn.

    Raises:
        ValueError: if XAI_COURSE_DATA names a file, or the course was installed without its data.
    """
    if chosen := os.environ.get("XAI_COURSE_DATA"):
        folder = Path(chosen).expanduser().resolve()
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"XAI_COURSE_DATA: got the file {folder}; must be a folder.")
        if not (CHECKOUT / "pyproject.toml").is_file() and IN_WHEEL.is_dir():
            _copy_missing(IN_WHEEL / "data", folder)
        return folder
    if (CHECKOUT / "pyproject.toml").is_file():
        return CHECKOUT / "data"
    for folder in (Path.cwd().parent, Path.cwd()):
        if (folder / "data" / "checkpoints" / "beetle_net.json").is_file():
            return folder / "data"
    if not IN_WHEEL.is_dir():
        raise ValueError(
            "data_folder: the course was installed without its data; set the environment variable "
            "XAI_COURSE_DATA to a folder that holds them and that may be written to."
        )
    from platformdirs import user_data_path

    from xai_course import __version__

    folder = user_data_path("beetle-in-a-box", appauthor=False, version=__version__)
    _copy_missing(IN_WHEEL / "data", folder)
    return folder


def copy_course(folder: str | Path) -> Path:
    """Copy the lessons with their data and scripts out of the installed course.

    Args:
        folder: where they go; must not exist, or be empty.

    Returns:
        The folder, resolved. `notebooks/00_start_here.ipynb` in it is the first lesson.

    Raises:
        ValueError: if the folder has something in it.
    """
    target = Path(folder).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"folder: got {target}, which has something in it; must be new or empty.")
    wheel = IN_WHEEL.is_dir()
    source = IN_WHEEL if wheel else CHECKOUT
    for name in (
        "notebooks",
        "benchmarks",
        "scripts",
        "data/checkpoints",
        "data/grades",
        "data/experiments",
        "data/specification",
    ):
        if (source / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(source / name, target / name, ignore=skip)
    return target


def _copy_missing(source: Path, target: Path) -> None:
    """Copy each folder of `source` that `target` lacks; it appears whole or not at all."""
    for folder in source.iterdir():
        copied = target / folder.name
        if not folder.is_dir() or copied.exists():
            continue
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=f".{folder.name}.") as aside:
            copy = Path(shutil.copytree(folder, Path(aside) / folder.name))
            if not copied.exists():  # another process may have been faster
                copy.rename(copied)
