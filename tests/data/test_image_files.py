"""Image files: each kind is read, or refused with a sentence; one way through folders."""

import os
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import BLUE, RED, WHITE, coloured, put
from PIL import Image

from xai_course.data import check_folder, load_folder, read_image
from xai_course.data.image_files import MOST_PIXELS, list_images, printable
from xai_course.report import image_files
from xai_course.robustness import load_untrusted_image


def corner(path: Path) -> tuple[int, ...]:
    image = read_image(path)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


# ---- one image -----------------------------------------------------------------------------------


def test_rgb_comes_back_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    read = read_image(put(tmp_path / "a.png", Image.fromarray(pixels)))
    np.testing.assert_array_equal(np.asarray(read), pixels)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_greyscale_is_scaled_not_clipped(tmp_path, ending):
    values = np.array([[0, 255, 256, 257], [771, 32768, 65000, 65535]], dtype=np.uint16)
    read = np.asarray(read_image(put(tmp_path / f"a.{ending}", Image.fromarray(values))))
    by_hand = [[0, 1, 1, 1], [3, 128, 253, 255]]
    np.testing.assert_array_equal(read, np.repeat(np.array(by_hand)[:, :, None], 3, axis=2))


def test_big_endian_16_bit_tiff(tmp_path):
    """A TIFF file with Motorola byte order, written by hand: one row, 257 and 65535."""
    entries = [
        (256, 3, 1, 2 << 16),  # width
        (257, 3, 1, 1 << 16),  # height
        (258, 3, 1, 16 << 16),  # bits
        (259, 3, 1, 1 << 16),  # no compression
        (262, 3, 1, 1 << 16),  # black is zero
        (273, 4, 1, 8),  # where the pixels are
        (277, 3, 1, 1 << 16),  # channels
        (278, 3, 1, 1 << 16),  # rows in the strip
        (279, 4, 1, 4),  # its bytes
    ]
    content = b"MM\0*" + struct.pack(">I2HH", 12, 257, 65535, len(entries))
    content += b"".join(struct.pack(">2H2I", *entry) for entry in entries) + bytes(4)
    read = np.asarray(read_image(put(tmp_path / "a.tif", content)))
    assert read[0, :, 1].tolist() == [1, 255]


def test_floating_point_from_0_to_1(tmp_path):
    values = np.array([[0, 0.5, 1]], dtype=np.float32)
    read = np.asarray(read_image(put(tmp_path / "a.tif", Image.fromarray(values))))
    assert read[0, :, 0].tolist() == [0, 128, 255]
    for bad in (1.5, -0.1, float("nan")):
        put(tmp_path / "b.tif", Image.fromarray(np.full((2, 2), bad, dtype=np.float32)))
        with pytest.raises(ValueError, match=r"b\.tif .* must be from 0 to 1 in mode F"):
            read_image(tmp_path / "b.tif")


def test_32_bit_integers_are_refused_where_their_scale_is_unknown(tmp_path):
    put(tmp_path / "a.tif", Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))
    with pytest.raises(ValueError, match="from 0 to 70000; must be from 0 to 65535 in mode I"):
        read_image(tmp_path / "a.tif")


def test_greyscale_two_colour_and_palette(tmp_path):
    assert corner(put(tmp_path / "l.png", Image.new("L", (2, 2), 77))) == (77, 77, 77)
    assert corner(put(tmp_path / "1.png", Image.new("1", (2, 2), 1))) == WHITE
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([*BLUE, *RED])
    assert corner(put(tmp_path / "p.png", palette)) == RED


def test_what_is_transparent_shows_white(tmp_path):
    """Dropping the alpha channel, as convert("RGB") does, would show the colour hidden there."""
    assert corner(put(tmp_path / "a.png", Image.new("RGBA", (2, 2), (*RED, 0)))) == WHITE
    assert corner(put(tmp_path / "b.png", Image.new("RGBA", (2, 2), (*RED, 51)))) == (255, 204, 204)
    assert corner(put(tmp_path / "c.png", Image.new("LA", (2, 2), (0, 0)))) == WHITE
    palette = Image.new("P", (2, 1))
    palette.putpalette([*BLUE, *RED])
    palette.putpixel((1, 0), 1)
    read = read_image(put(tmp_path / "d.png", palette, transparency=0))
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]
    keyed = put(tmp_path / "e.png", Image.new("RGB", (2, 2), RED), transparency=RED)
    assert corner(keyed) == WHITE


def test_cmyk(tmp_path):
    path = put(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95)
    assert Image.open(path).mode == "CMYK"
    np.testing.assert_allclose(corner(path), RED, atol=4)


@pytest.mark.parametrize(
    ("tag", "corner"), [(1, (0, 0)), (3, (39, 19)), (6, (19, 0)), (8, (0, 39))]
)
def test_a_picture_on_its_side_is_turned_upright(tmp_path, tag, corner):
    """The bright corner at the top left of the file goes where the EXIF tag says."""
    pixels = np.zeros((20, 40), dtype=np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = tag
    read = read_image(put(tmp_path / "a.jpg", Image.fromarray(pixels), exif=exif))
    assert read.size == ((20, 40) if tag in (6, 8) else (40, 20))
    assert read.getpixel(corner)[0] > 200
    assert np.asarray(read).mean() < 40


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
def test_a_truncated_image_is_named(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = put(tmp_path / f"a.{ending}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=rf"a\.{ending} cannot be read as an image \("):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_no_image_is_named_once(tmp_path, content):
    path = put(tmp_path / "a.png", content)
    with pytest.raises(ValueError, match="cannot be read") as caught:
        read_image(path)
    assert str(caught.value).count("a.png") == 1


def test_a_missing_or_giant_image_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"none\.png cannot be read as an image \(FileNotFound"):
        read_image(tmp_path / "none.png")
    path = put(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"big\.png cannot be read .*DecompressionBomb"):
        read_image(path)


# ---- the policy ----------------------------------------------------------------------------------


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG of some dozens of bytes that promises many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return put(path, b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


READERS = [read_image, load_untrusted_image, lambda path: load_folder(path.parents[1])[0]]


@pytest.mark.parametrize("reader", READERS)
def test_too_many_pixels_are_refused_by_the_header(tmp_path, reader):
    """160 million pixels are below Pillow's own limit."""
    path = png_header(tmp_path / "a" / "bomb.png", 16_000, 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ValueError, match=r"bomb\.png.* header promises 16,000 × 10,000 pixels"):
            reader(path)


def test_the_limit_itself_is_allowed(tmp_path):
    """Opened, so that the missing pixels are the only reason."""
    side = 9459
    assert side**2 <= MOST_PIXELS < (side + 1) ** 2
    with pytest.raises(ValueError, match=r"cannot be read as an image \((?!.*promises)"):
        read_image(png_header(tmp_path / "large.png", side, side))


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes as files on this system")
@pytest.mark.parametrize("reader", [read_image, load_untrusted_image])
def test_a_pipe_is_refused_and_does_not_wait(tmp_path, reader):
    pipe = tmp_path / "a" / "pipe.png"
    put(tmp_path / "a" / "1.png")
    os.mkfifo(pipe)
    raised = []

    def read():
        try:
            reader(pipe)
        except ValueError as error:
            raised.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(60)
    assert len(raised) == 1
    assert "pipe.png" in raised[0]


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes as files on this system")
def test_a_pipe_is_passed_over_everywhere(tmp_path):
    put(tmp_path / "a" / "1.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert [path.name for path in image_files(tmp_path)[0]] == ["1.png"]
    assert len(load_folder(tmp_path)) == 1
    problems = check_folder(tmp_path)
    assert len(problems) == 2
    assert all("passed over: it is no regular file" in problem for problem in problems)


def test_other_formats_are_refused_whatever_their_names(tmp_path, monkeypatch):
    """An EPS would start Ghostscript."""
    import subprocess

    def started(*words, **options):
        raise AssertionError(f"started {words}")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(subprocess, "check_call", started)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.eps")
    disguised = put(tmp_path / "b.png", (tmp_path / "a.eps").read_bytes())
    for path in (tmp_path / "a.eps", disguised):
        with pytest.raises(ValueError, match=r"cannot be read as an image .UnidentifiedImage"):
            read_image(path)
    assert list_images(tmp_path) == (
        [disguised],
        {tmp_path / "a.eps": "its name does not end like an image's"},
    )


@pytest.mark.parametrize("ending", ["gif", "jfif", "PBM", "webp", "Tiff"])
def test_a_format_that_one_reader_takes_all_take(tmp_path, ending):
    kinds = {"gif": "GIF", "jfif": "JPEG", "PBM": "PPM", "webp": "WEBP", "Tiff": "TIFF"}
    image = coloured(9).convert("L") if ending == "PBM" else coloured(9)
    path = tmp_path / "a" / f"1.{ending}"
    path.parent.mkdir()
    image.save(path, format=kinds[ending])
    assert read_image(path).size == (8, 6)
    assert image_files(tmp_path)[0] == [path]
    assert load_folder(tmp_path)[0][0].size == (8, 6)
    assert check_folder(tmp_path) == []


# ---- one way through a folder --------------------------------------------------------------------

RESIDUE = (
    *("__MACOSX/a/._0.png", "a/._0.png", "a/.ipynb_checkpoints/0-checkpoint.png", ".hidden/0.png"),
    *("a/.DS_Store", "a/Thumbs.db", "desktop.ini", "$RECYCLE.BIN/0.png", "@eaDir/0.png"),
    *("__pycache__/x.pyc", "a/THUMBS.DB", "a/Desktop.ini", "a/__MACOSX/0.png"),
)


def test_what_systems_leave_is_nowhere(tmp_path):
    wanted = [put(tmp_path / "a" / "0.png", coloured(1)), put(tmp_path / "b" / "0.png")]
    for name in RESIDUE:
        put(tmp_path / name, b"no image")
    assert list_images(tmp_path) == (wanted, {})
    assert image_files(tmp_path) == (wanted, [])
    assert check_folder(tmp_path) == []
    folder = load_folder(tmp_path)
    assert folder.classes == ["a", "b"]
    assert [path for path, _ in folder.samples] == [str(path) for path in wanted]


def test_links_are_followed_but_not_in_circles(tmp_path):
    elsewhere = put(tmp_path / "elsewhere" / "1.png").parent
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "round").symlink_to(root, target_is_directory=True)
    images, others = list_images(root)
    assert images == [root / "a" / "1.png"]
    assert list(others.values()) == ["it is a link to a folder above it"]
    assert len(load_folder(root)) == 1


def test_a_folder_that_is_missing_has_no_files(tmp_path):
    images, others = list_images(tmp_path / "nowhere")
    assert images == []
    assert list(others) == [tmp_path / "nowhere"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are Unicode")
def test_names_in_another_encoding_are_printable(tmp_path):
    name = os.fsdecode("甲虫".encode("gbk"))
    broken = put(tmp_path / "a" / f"{name}.png", b"no image")
    put(tmp_path / "a" / "1.png")
    with pytest.raises(ValueError, match=r"\\udcbc.*cannot be read") as caught:
        read_image(broken)
    sentences = [str(caught.value), *check_folder(tmp_path), printable(broken)]
    assert all(sentence.encode("utf-8") for sentence in sentences)
    assert len(sentences) == 3
