"""Where the course keeps its data."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["data_folder"]


def data_folder() -> Path:
    """Return where data is kept: $XAI_COURSE_DATA if set, else `data/` in the course's checkout.

    If the course is installed without its checkout: `data/` beside the folder that one works in, or
    in it, if it holds the course's networks, as a copied student edition does. It may be read-only
    once BeetleBox has been drawn. Raises ValueError, saying what to set, if there is none.
    """
    if chosen := os.environ.get("XAI_COURSE_DATA"):
        folder = Path(chosen).expanduser().resolve()
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"XAI_COURSE_DATA must name a folder, got the file {folder}")
        return folder
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    for place in (Path.cwd().parent, Path.cwd()):
        if (place / "data" / "checkpoints" / "beetle_net.json").is_file():
            return place / "data"
    raise ValueError(
        "data_folder: the course was installed without its data folder; set the environment "
        "variable XAI_COURSE_DATA to a folder that may be written to"
    )
