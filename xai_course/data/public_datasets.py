"""Public data sets through torchvision, downloaded on first need."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from xai_course.core.checks import check_choice
from xai_course.core.locks import locked
from xai_course.core.paths import data_folder
from xai_course.data.folders import Transform
from xai_course.data.image_files import read_image

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

__all__ = ["download"]


def download(
    name: str,
    root: str | Path | None = None,
    *,
    split: str = "train",
    transform: Transform | None = None,
) -> VisionDataset:
    """Open a public data set through torchvision, and download it on first need.

    It is kept in `<root>/<name>`, in torchvision's own layout, and appears there complete or not at
    all.

    Args:
        name: "Imagenette" (10 classes, 160 pixels, 99 MB), "CIFAR10" (10 classes, 32 pixels,
            170 MB) or "OxfordIIITPet" (37 breeds, 790 MB).
        root: the folder of the data sets; None for `downloads` in `data_folder()`.
        split: "train" or "test".
        transform: a function of an RGB image; None leaves the images as they are.

    Returns:
        A data set of items (transform(image), class index).

    Raises:
        ValueError: if the name or the split is unknown, or the data set on disk is incomplete.
        ConnectionError: if it cannot be downloaded.
    """
    check_choice("split", split, ("train", "test"))
    check_choice("name", name, ("Imagenette", "CIFAR10", "OxfordIIITPet"))
    folder = (data_folder() / "downloads" if root is None else Path(root).expanduser()) / name
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                _download_once(name, folder, split)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"{name} could not be downloaded to {folder} ({error}). Connect to the network and "
                "call again, or copy that folder from a machine that has it."
            ) from error
    try:
        return _open_public(name, folder, split, transform, download=False)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{folder} does not hold a complete {name} ({error}). Delete it and call again."
        ) from error


def _download_once(name: str, folder: Path, split: str) -> None:
    """Download a data set beside its folder and rename it, unless another process was faster.

    The caller holds the folder's lock, so whoever left an unfinished download there is dead.
    """
    if folder.exists():  # while this process waited for the lock
        return
    for stale in folder.parent.glob(f"{name}.partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    partial = folder.with_name(f"{name}.partial-{uuid.uuid4().hex[:12]}")
    try:
        partial.mkdir()
        _open_public(name, partial, split, None, download=True)
        if not folder.exists():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _open_public(
    name: str, folder: Path, split: str, transform: Transform | None, download: bool
) -> VisionDataset:
    """Call torchvision's class, which has its own name for each split."""
    from torchvision import datasets

    common = {"root": str(folder), "transform": transform, "download": download}
    if name == "CIFAR10":
        return datasets.CIFAR10(train=split == "train", **common)
    if name == "OxfordIIITPet":
        return datasets.OxfordIIITPet(split="trainval" if split == "train" else "test", **common)
    own_split = "train" if split == "train" else "val"
    return datasets.Imagenette(split=own_split, size="160px", loader=read_image, **common)
