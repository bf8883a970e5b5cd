"""The door: what a program that takes files from strangers checks before it opens one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from xai_course.data.folders import read_image

__all__ = ["load_untrusted_image"]


def load_untrusted_image(
    path: str | Path,
    *,
    formats: Sequence[str] = ("PNG", "JPEG"),
    most_bytes: int = 10_000_000,
    most_pixels: int = 25_000_000,
    least_side: int = 32,
) -> Image.Image:
    """Read an image file that a stranger sent; the checks that are cheap come first.

    In this order: it is a file of at most `most_bytes`; its first bytes are those of one of
    `formats` (Pillow's names; what the file is called says nothing), so no other decoder sees it;
    its header promises at most `most_pixels` (a small file can unpack to gigabytes) and sides of at
    least `least_side`. Only then is it decoded, by `folders.read_image`: an upright RGB picture.

    Raises ValueError that names the file, what came, and what is allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"path: {path} is not a file.")
    if (size := path.stat().st_size) > most_bytes:
        raise ValueError(f"path: {path} has {size:,} bytes; allowed are {most_bytes:,}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is below
            with Image.open(path, formats=list(formats)) as file:
                wide, high = file.size
    except Exception as error:  # damaged files make decoders raise almost anything
        raise ValueError(
            f"path: {path} cannot be opened ({type(error).__name__}); allowed is "
            f"{' or '.join(formats)} of at most {most_pixels:,} pixels."
        ) from error
    if wide * high > most_pixels:
        raise ValueError(
            f"path: {path} says that it has {wide:,} × {high:,} pixels; allowed are "
            f"{most_pixels:,} in all."
        )
    if min(wide, high) < least_side:
        raise ValueError(
            f"path: {path} has {wide} × {high} pixels; allowed are sides from {least_side}."
        )
    return read_image(path)
