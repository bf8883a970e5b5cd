"""Folders of images on disk: how an image is read, and what can be wrong with a folder.

Everything works on torchvision's ImageFolder, `<folder>/<class>/<image>`: BeetleBox, or your own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from xai_course.core.checks import check_count
from xai_course.data.image_files import (
    ENDINGS,
    WRONG_ENDING,
    is_residue,
    list_images,
    printable,
    read_image,
)
from xai_course.data.parallel import read_in_processes

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder

__all__ = ["check_folder", "load_folder", "load_folders", "subset"]


Transform = Callable[[Image.Image], Any]


def load_folder(folder: str | Path, transform: Transform | None = None) -> ImageFolder:
    """Open a folder `<folder>/<class>/<image>` as torchvision's ImageFolder, read by `read_image`.

    What systems and archives leave (`__MACOSX`, `._0.png`, `.ipynb_checkpoints`, `Thumbs.db`) is
    left out, as `check_folder` leaves it out.

    Args:
        folder: holds a folder for each class.
        transform: a function of an RGB image; None leaves the images as they are.

    Returns:
        A data set of items (transform(image), class index), with classes in alphabetical order.

    Raises:
        ValueError: if the folder or its classes are missing, or a class has no images or a name
            that is no Unicode text. An image that cannot be read raises its own ValueError when it
            is asked for; `check_folder` reads them all beforehand.
    """
    from torchvision.datasets import ImageFolder, VisionDataset

    root = Path(folder).expanduser()
    images, _ = list_images(root)
    if problems := _class_problems(root, images):
        raise ValueError(f"folder: {' '.join(problems)}")
    # ImageFolder's own constructor would walk through the folder by other rules than `list_images`.
    data: ImageFolder = ImageFolder.__new__(ImageFolder)
    VisionDataset.__init__(data, str(root), transform=transform)
    data.classes = [entry.name for entry in _subfolders(root)]
    data.class_to_idx = {name: index for index, name in enumerate(data.classes)}
    data.loader, data.extensions = read_image, ENDINGS
    _set_samples(
        data,
        [
            (str(path), data.class_to_idx[path.relative_to(root).parts[0]])
            # in ImageFolder's order: class by class, folder by folder
            for path in sorted(images, key=lambda path: _place(root, path))
            if path.parent != root
        ],
    )
    return data


def _place(root: Path, path: Path) -> tuple[str, str, str]:
    """Return what ImageFolder sorts files by."""
    return path.relative_to(root).parts[0], str(path.parent), path.name


def _set_samples(data: ImageFolder, samples: list[tuple[str, int]]) -> None:
    """Set a folder's files and classes, in all places where it keeps them."""
    data.samples = data.imgs = samples
    data.targets = [label for _, label in samples]


def subset(dataset: ImageFolder, indices: Iterable[int]) -> ImageFolder:
    """Return some images of a folder as a folder of the same classes.

    PyTorch's own `Subset` has no `classes`, which naming and saving need.

    Args:
        dataset: from `load_folder`. It stays as it is.
        indices: of the images, in the order that the subset shall have.

    Returns:
        A data set of these images, with all classes of the whole folder, its transform and its
        reader.

    Raises:
        ValueError: if an index is no whole number or there is no such image.

    Example:
        Every other image: `subset(folder, range(0, len(folder), 2))`.
    """
    chosen = list(indices)
    for index in chosen:
        check_count("indices", index, least=0, most=len(dataset) - 1)
    part: ImageFolder = copy.copy(dataset)
    _set_samples(part, [dataset.samples[index] for index in chosen])
    return part


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


def check_folder(
    folder: str | Path, *, workers: int | None = None, progress: bool = True
) -> list[str]:
    """Read every image of a folder of your own, and return what is wrong with it.

    Problems are: classes without images, files and folders that would be passed over or mistaken
    for a class, images that cannot be read, classes that only one of train and test has, and images
    that both have (a network must not be tested on images that it was trained on). The files are
    those that `load_folder` reads, found in the same way.

    Args:
        folder: holds a folder for each class, or `train` and `test` that do.
        workers: processes that read the images. None: one for each core, up to 8, or this one alone
            for few images. 1: this process.
        progress: True shows a bar if it takes longer than a second.

    Returns:
        One sentence for each problem; [] if there is none.

    Raises:
        ValueError: if `workers` is no whole number from 1.
        RuntimeError: naming the file, if a process dies that reads it.

    Cost:
        60,000 images of 64 pixels take half a minute on one core. Ctrl-C stops it.
    """
    folder = Path(folder).expanduser()
    splits = [folder / name for name in ("train", "test") if (folder / name).is_dir()]
    splits = splits if len(splits) == 2 else [folder]
    problems = []
    seen: dict[str, Path] = {}
    for split in splits:
        images, others = list_images(split)
        problems += _class_problems(split, images)
        if split.is_dir():
            found = _passed_over(split, images, others)
            found |= _unreadable(split, found, images, seen, workers, progress)
            problems += [found[path] for path in sorted(found)]
    if len(splits) == 2:
        classes = [[entry.name for entry in _subfolders(split)] for split in splits]
        if different := _different_classes(("train", "test"), *classes):
            problems.append(different)
    return problems


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name, without what systems leave there."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_residue(path.name))


def _class_problems(folder: Path, images: Sequence[Path]) -> list[str]:
    """Name what keeps a folder from being one of classes with images."""
    if not folder.is_dir():
        return [f"{printable(folder)} is not a folder."]
    classes = _subfolders(folder)
    if not classes:
        return [f"{printable(folder)} has no folders in it; one for each class is needed."]
    if {"train", "test"} <= {entry.name for entry in classes}:
        return [f"{printable(folder)} holds train and test; use load_folders, or one of the two."]
    problems = []
    filled = {path.relative_to(folder).parts[0] for path in images if path.parent != folder}
    for entry in classes:
        shown = printable(entry.name)
        if shown != entry.name:
            problems.append(
                f"The class {shown} in {printable(folder)} has a name that is no Unicode text "
                "(GBK, perhaps); rename its folder."
            )
        if entry.name not in filled:
            problems.append(f"The class {shown} has no images in {printable(entry)}.")
    return problems


def _passed_over(folder: Path, images: Sequence[Path], others: dict[Path, str]) -> dict[Path, str]:
    """Return a sentence for each file that reading the classes of a folder passes over."""
    found = {}
    for path, why in others.items():
        if why == WRONG_ENDING:
            why = f"{path.suffix or 'a name without ending'} is not read as an image"
        found[path] = f"{printable(path)} would be passed over: {why}."
    for path in (*images, *others):
        if path.parent == folder and not path.is_dir():
            found[path] = (
                f"{printable(path)} lies outside the class folders and would be passed over."
            )
    return found


def _unreadable(
    folder: Path,
    passed_over: dict[Path, str],
    images: Sequence[Path],
    seen: dict[str, Path],
    workers: int | None,
    progress: bool,
) -> dict[Path, str]:
    """Return a sentence for each image that cannot be read or that another split has, too.

    `seen`: the first file of each content, which is added to.
    """
    found = {}
    paths = [path for path in images if path not in passed_over]
    label = f"reading {printable(folder.name)}"
    with closing(read_in_processes(paths, label, workers=workers, progress=progress)) as answers:
        for path, (facts, _) in zip(paths, answers, strict=True):
            if "problem" in facts:
                found[path] = f"{facts['problem']}."
                continue
            first = seen.setdefault(facts["sha256"], path)
            if not first.is_relative_to(folder):
                found[path] = f"{printable(path)} is the same image as {printable(first)}."
    return found


def _different_classes(
    names: tuple[str, str], train: Sequence[str], test: Sequence[str]
) -> str | None:
    """Name the classes that only one of two folders has; None if there is no such class."""
    only = [sorted(set(train) - set(test)), sorted(set(test) - set(train))]
    if not any(only):
        return None
    parts = [
        f"only {name} has {', '.join(map(printable, classes))}"
        for name, classes in zip(names, only, strict=True)
        if classes
    ]
    return f"{names[0]} and {names[1]} have different classes: {'; '.join(parts)}."
