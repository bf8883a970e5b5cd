"""Image files from strangers: which are read, and which are refused before they are decoded."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from xai_course.robustness import load_untrusted_image


def picture(path, size=(48, 40), kind=None):
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).save(path, format=kind)
    return path


def bomb(path, wide=100_000, high=100_000):
    """A PNG of some dozens of bytes whose header promises ten thousand million pixels."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def test_a_picture_comes_in_as_it_is(tmp_path):
    path = picture(tmp_path / "a.png")
    admitted = load_untrusted_image(path)
    assert (admitted.mode, admitted.size) == ("RGB", (48, 40))
    assert np.array_equal(np.asarray(admitted), np.asarray(Image.open(path)))
    assert load_untrusted_image(picture(tmp_path / "a.jpg")).size == (48, 40)


def test_the_content_decides_and_not_the_name(tmp_path):
    disguised = picture(tmp_path / "a.png", kind="GIF")
    with pytest.raises(ValueError, match=r"cannot be opened.*PNG or JPEG"):
        load_untrusted_image(disguised)
    assert load_untrusted_image(disguised, formats=("GIF",)).size == (48, 40)
    assert load_untrusted_image(picture(tmp_path / "a.gif", kind="PNG")).size == (48, 40)


@pytest.mark.parametrize("sides", [(100_000, 100_000), (8_000, 8_000), (12_000, 12_000)])
def test_a_bomb_is_refused_by_its_header(tmp_path, sides):
    """Beyond Pillow's own limit, below it, and where Pillow only warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"header promises|cannot be opened \(Decompression"):
            load_untrusted_image(bomb(tmp_path / "bomb.png", *sides))


def test_a_limit_that_is_met_is_no_limit(tmp_path):
    path = picture(tmp_path / "a.png")
    size = path.stat().st_size
    load_untrusted_image(path, most_bytes=size, most_pixels=48 * 40, least_side=40)
    with pytest.raises(ValueError, match=rf"with {size:,} bytes"):
        load_untrusted_image(path, most_bytes=size - 1)
    with pytest.raises(ValueError, match="header promises 48 × 40 pixels"):
        load_untrusted_image(path, most_pixels=48 * 40 - 1)
    with pytest.raises(ValueError, match="with 48 × 40 pixels; must have sides from 41"):
        load_untrusted_image(path, least_side=41)


def test_what_is_no_picture(tmp_path):
    text = tmp_path / "a.png"
    text.write_text("I am a picture")
    half = picture(tmp_path / "half.png")
    half.write_bytes(half.read_bytes()[:-400])
    for path in (text, half, tmp_path, tmp_path / "nothing.png"):
        with pytest.raises(ValueError, match=path.name):
            load_untrusted_image(path)
