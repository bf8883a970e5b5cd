"""Image files of others: which are looked at, how they are listed, and how one is read.

One policy for every reader of images in the package: the formats of `FORMATS`, at most
`MOST_PIXELS`, and regular files only. One way through a folder for all of them: `list_images`.

Run as a program, this file reads images for another process; see `read_in_processes` in
`parallel.py`. It therefore imports nothing of the package: NumPy and Pillow are loaded in a moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from xai_course.core.translation import message

__all__ = [
    "ENDINGS",
    "FORMATS",
    "MOST_PIXELS",
    "WRONG_ENDING",
    "answer",
    "decode",
    "is_residue",
    "list_images",
    "open_image",
    "printable",
    "read_image",
]


FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read. No other decoder sees a file, whatever its name."""

ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What the name of an image file ends with, in small letters."""

MOST_PIXELS = 89_478_485
"""The most pixels of an image: 256 MB as RGB. A small file can unpack to many gigabytes."""

WRONG_ENDING = message("its name does not end like an image's")
CANNOT_OPEN = message("it cannot be opened ({error})")
CANNOT_READ = message("{file} cannot be read as an image ({error})")

# Left by systems, archives and editors, in small letters; so are all names that begin with a dot.
RESIDUE = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("__macosx", "icon\r"),
    *("@eadir", "lost+found", "__pycache__"),
}


def is_residue(name: str) -> bool:
    """Return whether a file or folder was left there by a system and not put there by a person.

    Args:
        name: of the file or folder, without the folders above it.

    Returns:
        True for hidden names (`._0.png`, `.ipynb_checkpoints`), `__MACOSX`, `Thumbs.db` and others.

    Example:
        >>> from xai_course.data.image_files import is_residue
        >>> is_residue("._0.png"), is_residue("0.png")
        (True, False)
    """
    return name.startswith(".") or name.lower() in RESIDUE


def list_images(folder: str | Path) -> tuple[list[Path], dict[Path, str]]:
    """List the image files in a folder and the folders in it, by the endings of their names.

    Everything in the package that goes through a folder does it here, so that what is checked, read
    for training and explained are the same files. Links to folders are followed, but not in
    circles. What `is_residue` names is left out without a word.

    Args:
        folder: the folder; one that does not exist has no files.

    Returns:
        images: the files that can be read as images by their names, sorted.
        others: each other file or folder, with the reason why it is passed over.
    """
    images: list[Path] = []
    others: dict[Path, str] = {}
    _walk(Path(folder), (), images, others)
    return sorted(images), dict(sorted(others.items()))


def _walk(
    folder: Path, above: tuple[str, ...], images: list[Path], others: dict[Path, str]
) -> None:
    """Add the files of one folder, and of those in it, to the two collections."""
    here = os.path.realpath(folder)
    if here in above:
        others[folder] = message("it is a link to a folder above it")
        return
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        others[folder] = CANNOT_OPEN.format(error=error.strerror)
        return
    for name in names:
        if is_residue(name):
            continue
        path = folder / name
        if path.is_dir():
            _walk(path, (*above, here), images, others)
        elif path.suffix.lower() not in ENDINGS:
            others[path] = WRONG_ENDING
        elif not path.is_file():
            others[path] = message("it is no regular file")
        else:
            images.append(path)


def read_image(path: str | Path) -> Image.Image:
    """Read an image file as an upright RGB image with 8 bits a channel.

    Greyscale, palette, CMYK and two-colour images are converted. What is transparent becomes white.
    An image that the camera marked as lying on its side is turned upright. 16-bit greyscale is
    scaled from [0, 65535], and floating point from [0, 1] (Pillow's own conversion would clip
    them). Of an animation or a file with several pages, the first image is read.

    Args:
        path: the file, in one of `FORMATS` and of at most `MOST_PIXELS`.

    Returns:
        The RGB image.

    Raises:
        ValueError: naming the file, if it is missing, truncated, too large, no image or no regular
            file.
    """
    try:
        with open_image(path) as file:
            return decode(file)
    except Exception as error:  # damaged files make decoders raise almost anything
        reason = f"{type(error).__name__}: {error}".replace(f" {str(path)!r}", "")
        raise ValueError(CANNOT_READ.format(file=printable(path), error=reason)) from error


def open_image(
    path: str | Path, formats: Sequence[str] = FORMATS, most_pixels: int = MOST_PIXELS
) -> Image.Image:
    """Open an image file by the package's policy; nothing is decoded yet.

    Args:
        path: the file.
        formats: Pillow's names of the formats that are accepted.
        most_pixels: the largest image.

    Returns:
        The opened file, for a `with` statement.

    Raises:
        ValueError: if it is no regular file (a pipe would wait for ever), or its header promises
            more pixels.
        OSError: if it cannot be opened, or is no image of these formats.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
    file = Image.open(path, formats=list(formats))
    width, height = file.size
    if width * height > most_pixels:
        file.close()
        raise ValueError(
            f"its header promises {width:,} × {height:,} pixels; must be at most {most_pixels:,} "
            "in all"
        )
    return file


def decode(file: Image.Image) -> Image.Image:
    """Decode an image that `open_image` has opened, as `read_image` does.

    Args:
        file: the opened file.

    Returns:
        An upright RGB image with 8 bits a channel.

    Raises:
        Exception: whatever Pillow raises for a damaged file.
    """
    image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


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


def printable(name: str | Path) -> str:
    r"""Return a file's name as text that can be printed and saved.

    On Linux a name is bytes, which need not be UTF-8: an archive from a Chinese Windows holds names
    in GBK. Python marks such bytes by characters that no file and no screen takes.

    Args:
        name: a path, or a part of one.

    Returns:
        The same text, with such characters written as `\udcd0`.

    Example:
        >>> from xai_course.data.image_files import printable
        >>> printable("beetle.png")
        'beetle.png'
    """
    return str(name).encode("utf-8", "backslashreplace").decode()


# ---- the worker ----------------------------------------------------------------------------------


def answer(path: str, with_pixels: bool) -> tuple[dict[str, object], bytes]:
    """Read one image file for `read_in_processes`.

    Args:
        path: the file.
        with_pixels: True for the pixels, False for the SHA-256 of the file.

    Returns:
        facts: "size" and "sha256", or "problem", a sentence.
        pixels: (height, width, 3) as bytes; empty without pixels or with a problem.
    """
    try:
        image = read_image(path)
    except ValueError as error:
        return {"problem": str(error)}, b""
    if with_pixels:
        return {"size": image.size}, image.tobytes()
    with open(path, "rb") as file:
        return {"size": image.size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}, b""


def _work() -> None:
    """Read the files that another process names; write for each one line of JSON and its pixels."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, which ends the workers
    job = json.load(sys.stdin)
    try:
        for path in job["paths"]:
            facts, pixels = answer(path, job["with_pixels"])
            sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + pixels)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(1)  # the caller is gone


if __name__ == "__main__":
    _work()
