"""Image files for tests."""

from pathlib import Path

from PIL import Image

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def put(path: Path, image: Image.Image | bytes | None = None, **options: object) -> Path:
    """Save an image, or bytes, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        (image or Image.new("RGB", (8, 6), RED)).save(path, **options)
    return path


def coloured(number: int) -> Image.Image:
    """Return a small image of one colour."""
    return Image.new("RGB", (8, 6), (number, 2 * number, 3 * number))
