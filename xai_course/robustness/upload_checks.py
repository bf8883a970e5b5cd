"""What a program that takes image files from strangers checks before it decodes one."""

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
    """Read an image file from a stranger; cheap checks come first.

    In this order: the path is a file of at most `most_bytes`; its first bytes are those of one of
    the formats, so that no other decoder sees it (the name of the file does not matter); its header
    promises at most `most_pixels` (a small file can unpack to gigabytes), and sides of at least
    `least_side`. Only then is it decoded.

    Args:
        path: the file.
        formats: Pillow's names of the formats that are accepted.
        most_bytes: the largest file, in bytes.
        most_pixels: the largest image, in pixels.
        least_side: the shortest side, in pixels.

    Returns:
        An upright RGB image with 8 bits a channel, as `read_image` in `xai_course.data` gives it.

    Raises:
        ValueError: naming the file, if it fails a check or cannot be decoded.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from xai_course.robustness import load_untrusted_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "upload.png"
        ...     Image.new("L", (48, 40)).save(path)
        ...     image = load_untrusted_image(path)
        >>> image.mode, image.size
        ('RGB', (48, 40))
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"path: got {path}; must be a file.")
    if (size := path.stat().st_size) > most_bytes:
        raise ValueError(f"path: got {path} with {size:,} bytes; must be at most {most_bytes:,}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is below
            with Image.open(path, formats=list(formats)) as file:
                width, height = file.size
    except Exception as error:  # damaged files make decoders raise almost anything
        raise ValueError(
            f"path: got {path}, which cannot be opened ({type(error).__name__}); must be "
            f"{' or '.join(formats)} of at most {most_pixels:,} pixels."
        ) from error
    if width * height > most_pixels:
        raise ValueError(
            f"path: got {path}, whose header promises {width:,} × {height:,} pixels; must be at "
            f"most {most_pixels:,} in all."
        )
    if min(width, height) < least_side:
        raise ValueError(
            f"path: got {path} with {width} × {height} pixels; must have sides from {least_side}."
        )
    return read_image(path)
