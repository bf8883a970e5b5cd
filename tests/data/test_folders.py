"""Folders of images: each kind of file is read, or refused with a sentence."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import BLUE, RED, WHITE, coloured, put
from PIL import Image
from torchvision import datasets

from xai_course.data import check_folder, load_folder, load_folders, read_image


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


# ---- a folder ------------------------------------------------------------------------------------


def test_load_folder(tmp_path):
    put(tmp_path / "b" / "1.png", coloured(10))
    put(tmp_path / "b" / "deeper" / "2.jpg", coloured(20))
    put(tmp_path / "a" / "3.png", Image.new("L", (8, 6), 7))
    folder = load_folder(tmp_path)
    assert isinstance(folder, datasets.ImageFolder)
    assert folder.classes == ["a", "b"]
    assert folder.targets == [0, 1, 1]
    assert folder[0][0].getpixel((0, 0)) == (7, 7, 7)
    assert load_folder(tmp_path, transform=lambda image: image.size)[1] == ((8, 6), 1)
    again = pickle.loads(pickle.dumps(load_folder(tmp_path)))  # as workers on Windows need it
    assert again[1][0].getpixel((0, 0)) == (10, 20, 30)


def test_an_unreadable_image_is_named_when_it_is_asked_for(tmp_path):
    put(tmp_path / "a" / "1.png")
    put(tmp_path / "a" / "broken.png", b"x")
    folder = load_folder(tmp_path)
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        folder[1]


def test_load_folder_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no folders in it; one for each class"):
        load_folder(tmp_path)
    put(tmp_path / "a" / "1.png")
    put(tmp_path / "b" / "notes.txt", b"")
    with pytest.raises(ValueError, match="The class b has no images"):
        load_folder(tmp_path)
    put(tmp_path / "b" / "1.png")
    (tmp_path / ".ipynb_checkpoints").mkdir()  # Jupyter leaves these; ImageFolder sees a class
    with pytest.raises(ValueError, match=r"\.ipynb_checkpoints would be taken for a class"):
        load_folder(tmp_path)


def test_load_folders(tmp_path):
    for split in ("train", "test"):
        for kind in ("a", "b"):
            put(tmp_path / split / kind / "1.png")
    train, test = load_folders(tmp_path, lambda _: "plain", train_transform=lambda _: "varied")
    assert (train[0][0], test[0][0]) == ("varied", "plain")
    train, test = load_folders(tmp_path, lambda _: "plain")
    assert (train[0][0], test[0][0]) == ("plain", "plain")
    with pytest.raises(ValueError, match="holds train and test; use load_folders"):
        load_folder(tmp_path)
    (tmp_path / "test").rename(tmp_path / "val")
    with pytest.raises(ValueError, match="test is not a folder"):
        load_folders(tmp_path)
    assert load_folders(tmp_path, names=("train", "val"))[1].root.endswith("val")
    put(tmp_path / "train" / "c" / "1.png")
    put(tmp_path / "val" / "d" / "1.png")
    message = "train and val have different classes: only train has c; only val has d"
    with pytest.raises(ValueError, match=message):
        load_folders(tmp_path, names=("train", "val"))


def test_check_folder_finds_nothing_in_a_good_one(tmp_path):
    for number, split in enumerate(("train", "test")):
        put(tmp_path / split / "a" / "1.png", coloured(number))
        put(tmp_path / split / "b" / "1.jpg", coloured(50 + number))
    put(tmp_path / "train" / "a" / ".DS_Store", b"")
    put(tmp_path / "train" / "Thumbs.db", b"")
    assert check_folder(tmp_path) == []
    assert check_folder(tmp_path / "train") == []


def test_check_folder_names_everything(tmp_path):
    put(tmp_path / "train" / "a" / "1.png", coloured(1))
    put(tmp_path / "train" / "a" / "twin.png", coloured(1))  # within a split: no leak
    put(tmp_path / "train" / "a" / "phone.heic", b"")
    put(tmp_path / "train" / "a" / "noending", b"")
    put(tmp_path / "train" / "loose.png", coloured(2))
    (tmp_path / "train" / "empty").mkdir()
    put(tmp_path / "test" / "a" / "2.png", coloured(1))
    put(tmp_path / "test" / "a" / "broken.jpg", b"\xff\xd8\xff")
    problems = "\n".join(check_folder(tmp_path))
    assert problems.count("\n") == 6
    for part in (
        "The class empty has no images",
        "phone.heic would be passed over: .heic is not read as an image.",
        "noending would be passed over: a name without ending",
        "loose.png lies outside the class folders",
        "broken.jpg cannot be read as an image",
        "different classes: only train has empty.",
    ):
        assert part in problems
    one, two = tmp_path / "train" / "a" / "1.png", tmp_path / "test" / "a" / "2.png"
    assert f"{two} is the same image as {one}." in problems


def test_check_folder_of_one_split_or_none(tmp_path):
    assert check_folder(tmp_path / "nowhere") == [f"{tmp_path / 'nowhere'} is not a folder."]
    assert "has no folders" in check_folder(tmp_path)[0]
    put(tmp_path / "a" / "1.png", b"x")
    assert "1.png cannot be read" in check_folder(tmp_path)[0]
