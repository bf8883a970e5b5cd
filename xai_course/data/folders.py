"""Folders of images on disk: how an image is read, and what can be wrong with a folder.

Everything works on torchvision's ImageFolder, `<folder>/<class>/<image>`: BeetleBox, or your own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder

__all__ = ["check_folder", "load_folder", "load_folders", "read_image"]


Transform = Callable[[Image.Image], Any]


HARMLESS = {"thumbs.db", "desktop.ini"}  # left by file managers; so are names that start with "."


def read_image(path: str | Path) -> Image.Image:
    """Read an image file as an upright RGB image with 8 bits a channel.

    Greyscale, palette, CMYK and two-colour images are converted. What is transparent becomes white.
    An image that the camera marked as lying on its side is turned upright. 16-bit greyscale is
    scaled from [0, 65535], and floating point from [0, 1] (Pillow's own conversion would clip
    them). Of an animation or a file with several pages, the first image is read.

    Args:
        path: the file.

    Returns:
        The RGB image.

    Raises:
        ValueError: naming the file, if it is missing, truncated or no image.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I") or image.mode == "F":
                image = _to_8_bits(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return image.convert("RGB")
    except Exception as error:  # damaged files make decoders raise almost anything
        reason = f"{type(error).__name__}: {error}".replace(f" {str(path)!r}", "")
        raise ValueError(f"{path} cannot be read as an image ({reason})") from error


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit or floating-point greyscale to 8 bits."""
    values = np.asarray(image).astype(np.float64)
    white = 1.0 if image.mode == "F" else 65535.0
    if not (values.min() >= 0 and values.max() <= white):
        raise ValueError(
            f"got values from {values.min():g} to {values.max():g}; must be from 0 to {white:g} in "
            f"mode {image.mode}"
        )
    return Image.fromarray(np.rint(values / white * 255).astype(np.uint8))


def load_folder(folder: str | Path, transform: Transform | None = None) -> ImageFolder:
    """Open a folder `<folder>/<class>/<image>` as torchvision's ImageFolder, read by `read_image`.

    Args:
        folder: holds a folder for each class.
        transform: a function of an RGB image; None leaves the images as they are.

    Returns:
        A data set of items (transform(image), class index), with classes in alphabetical order.

    Raises:
        ValueError: if the folder or its classes are missing, or a class has no images. An image
            that cannot be read raises its own ValueError when it is asked for; `check_folder` reads
            them all beforehand.
    """
    from torchvision.datasets import ImageFolder

    if problems := _class_problems(Path(folder)):
        raise ValueError(f"folder: {' '.join(problems)}")
    return ImageFolder(str(folder), transform=transform, loader=read_image)


def load_folders(
    root: str | Path,
    transform: Transform | None = None,
    *,
    train_transform: Transform | None = None,
    names: tuple[str, str] = ("train", "test"),
) -> tuple[ImageFolder, ImageFolder]:
    """Open `<root>/train` and `<root>/test` with `load_folder`.

    Args:
        root: holds the two folders.
        transform: a function of an RGB image; None leaves the images as they are.
        train_transform: for the training images in place of `transform`, such as an augmenting one.
        names: the names of the two folders.

    Returns:
        The data sets (train, test).

    Raises:
        ValueError: as `load_folder` does, and if the two have different classes.
    """
    train = load_folder(Path(root) / names[0], train_transform or transform)
    test = load_folder(Path(root) / names[1], transform)
    if problem := _different_classes(names, train.classes, test.classes):
        raise ValueError(f"root: {problem}")
    return train, test


def check_folder(folder: str | Path) -> list[str]:
    """Read every image of a folder of your own, and return what is wrong with it.

    Problems are: classes without images, files and folders that would be passed over or mistaken
    for a class, images that cannot be read, classes that only one of train and test has, and images
    that both have (a network must not be tested on images that it was trained on).

    Args:
        folder: holds a folder for each class, or `train` and `test` that do.

    Returns:
        One sentence for each problem; [] if there is none.
    """
    folder = Path(folder)
    splits = [folder / name for name in ("train", "test") if (folder / name).is_dir()]
    if len(splits) < 2:
        return _class_problems(folder) + list(_file_problems(folder, {}))
    problems = []
    seen: dict[str, Path] = {}
    for split in splits:
        problems += _class_problems(split)
        problems += _file_problems(split, seen)
    classes = [[entry.name for entry in _subfolders(split)] for split in splits]
    if different := _different_classes(("train", "test"), *classes):
        problems.append(different)
    return problems


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir())


def _is_image(path: Path) -> bool:
    """Return whether torchvision reads files with this ending."""
    from torchvision.datasets.folder import is_image_file

    return bool(is_image_file(path.name))


def _class_problems(folder: Path) -> list[str]:
    """Name what keeps a folder from being one of classes with images."""
    if not folder.is_dir():
        return [f"{folder} is not a folder."]
    classes = _subfolders(folder)
    if not classes:
        return [f"{folder} has no folders in it; one for each class is needed."]
    if {"train", "test"} <= {entry.name for entry in classes}:
        return [f"{folder} holds train and test; use load_folders, or one of the two."]
    problems = []
    for entry in classes:
        if entry.name.startswith("."):
            problems.append(f"{entry} would be taken for a class; delete it.")
        elif not any(_is_image(path) for path in entry.rglob("*")):
            problems.append(f"The class {entry.name} has no images in {entry}.")
    return problems


def _file_problems(folder: Path, seen: dict[str, Path]) -> Iterable[str]:
    """Name files that are no readable images, or the same as an image of another split.

    `seen`: the first file of each content, which is added to.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith(".") or path.name.lower() in HARMLESS:
            continue
        if path.parent == folder:
            yield f"{path} lies outside the class folders and would be passed over."
        elif not _is_image(path):
            kind = path.suffix or "a name without ending"
            yield f"{path} would be passed over: {kind} is not read as an image."
        else:
            try:
                read_image(path)
            except ValueError as error:
                yield f"{error}."
                continue
            first = seen.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
            if not first.is_relative_to(folder):
                yield f"{path} is the same image as {first}."


def _different_classes(
    names: tuple[str, str], train: Sequence[str], test: Sequence[str]
) -> str | None:
    """Name the classes that only one of two folders has; None if there is no such class."""
    only = [sorted(set(train) - set(test)), sorted(set(test) - set(train))]
    if not any(only):
        return None
    parts = [
        f"only {name} has {', '.join(classes)}"
        for name, classes in zip(names, only, strict=True)
        if classes
    ]
    return f"{names[0]} and {names[1]} have different classes: {'; '.join(parts)}."
