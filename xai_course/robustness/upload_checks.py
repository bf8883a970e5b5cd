"""What a program that takes image files from strangers checks before it decodes one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from xai_course.data.image_files import decode, open_image, printable

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
        raise ValueError(f"path: got {printable(path)}; must be a file.")
    if (size := path.stat().st_size) > most_bytes:
        raise ValueError(
            f"path: got {printable(path)} with {size:,} bytes; must be at most {most_bytes:,}."
        )
    try:
        with open_image(path, formats, most_pixels) as file:
            width, height = file.size
            if min(width, height) >= least_side:
                return decode(file)
    except Exception as error:  # damaged files make decoders raise almost anything
        reason = error if isinstance(error, ValueError) else type(error).__name__
        raise ValueError(
            f"path: got {printable(path)}, which cannot be opened ({reason}); must be "
            f"{' or '.join(formats)} of at most {most_pixels:,} pixels."
        ) from error
    raise ValueError(
        f"path: got {printable(path)} with {width} × {height} pixels; must have sides from "
        f"{least_side}."
    )
