"""Folders of images: each kind of file is read, or refused with a sentence; public data sets."""

import hashlib
import pickle
import struct
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from xai_course.core.paths import data_folder
from xai_course.data import check_folder, download, load_folder, load_folders, read_image

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
    return Image.new("RGB", (8, 6), (number, 2 * number, 3 * number))


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
        with pytest.raises(ValueError, match=r"b\.tif .* allowed is 0 to 1 in mode F"):
            read_image(tmp_path / "b.tif")


def test_32_bit_integers_are_refused_where_their_scale_is_unknown(tmp_path):
    put(tmp_path / "a.tif", Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))
    with pytest.raises(ValueError, match="from 0 to 70000, allowed is 0 to 65535 in mode I"):
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


@pytest.mark.parametrize(("tag", "place"), [(1, (0, 0)), (3, (39, 19)), (6, (19, 0)), (8, (0, 39))])
def test_a_picture_on_its_side_is_turned_upright(tmp_path, tag, place):
    """The bright corner at the top left of the file goes where the EXIF tag says."""
    pixels = np.zeros((20, 40), dtype=np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = tag
    read = read_image(put(tmp_path / "a.jpg", Image.fromarray(pixels), exif=exif))
    assert read.size == ((20, 40) if tag in (6, 8) else (40, 20))
    assert read.getpixel(place)[0] > 200
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
    found = "\n".join(check_folder(tmp_path))
    assert found.count("\n") == 6
    for part in (
        "The class empty has no images",
        "phone.heic would be passed over: .heic is not read as an image.",
        "noending would be passed over: a name without ending",
        "loose.png lies outside the class folders",
        "broken.jpg cannot be read as an image",
        "different classes: only train has empty.",
    ):
        assert part in found
    one, two = tmp_path / "train" / "a" / "1.png", tmp_path / "test" / "a" / "2.png"
    assert f"{two} is the same image as {one}." in found


def test_check_folder_of_one_split_or_none(tmp_path):
    assert check_folder(tmp_path / "nowhere") == [f"{tmp_path / 'nowhere'} is not a folder."]
    assert "has no folders" in check_folder(tmp_path)[0]
    put(tmp_path / "a" / "1.png", b"x")
    assert "1.png cannot be read" in check_folder(tmp_path)[0]


def test_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("XAI_COURSE_DATA", raising=False)
    assert data_folder() == Path(__file__).resolve().parents[2] / "data"
    monkeypatch.setenv("XAI_COURSE_DATA", str(tmp_path / "new"))
    assert data_folder() == (tmp_path / "new").resolve()
    (tmp_path / "new").write_bytes(b"")
    with pytest.raises(ValueError, match="XAI_COURSE_DATA must name a folder"):
        data_folder()
    monkeypatch.delenv("XAI_COURSE_DATA")
    monkeypatch.chdir(tmp_path)  # not where the course's networks are
    monkeypatch.setattr("xai_course.core.paths.__file__", str(tmp_path / "site" / "x" / "core" / "paths.py"))
    with pytest.raises(ValueError, match="set the environment variable XAI_COURSE_DATA"):
        data_folder()


# ---- public data sets, in torchvision's own layout -----------------------------------------------


def write_imagenette(root: Path) -> None:
    for split, count in (("train", 3), ("val", 1)):
        for wnid in ("n01440764", "n03888257"):
            for i in range(count):
                put(root / "imagenette2-160" / split / wnid / f"{wnid}_{i}.JPEG", coloured(i))


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write tiny batches as pickles of dicts, and let torchvision expect their checksums."""
    random = np.random.default_rng(0)
    contents = {"batches.meta": {"label_names": [f"thing {i}" for i in range(10)]}}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        contents[name] = {
            "data": random.integers(0, 256, (2, 3072), dtype=np.uint8),
            "labels": [3, 7],
        }
    sums = {}
    for name, value in contents.items():
        content = pickle.dumps(value)
        put(root / "cifar-10-batches-py" / name, content)
        sums[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    cifar = datasets.CIFAR10
    trains = [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)]
    monkeypatch.setattr(cifar, "train_list", trains)
    monkeypatch.setattr(cifar, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": sums["batches.meta"]})


def write_pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    for split, numbers in (("trainval", (1, 2)), ("test", (3,))):
        lines = []
        for number in numbers:
            for label, name in ((1, "Abyssinian"), (2, "american_bulldog")):
                put(base / "images" / f"{name}_{number}.jpg")
                put(
                    base / "annotations" / "trimaps" / f"{name}_{number}.png",
                    Image.new("L", (8, 6)),
                )
                lines.append(f"{name}_{number} {label} {label} 1\n")
        put(base / "annotations" / f"{split}.txt", "".join(lines).encode())


def test_imagenette(tmp_path):
    write_imagenette(tmp_path / "Imagenette")
    train = download("Imagenette", tmp_path)
    assert isinstance(train, datasets.Imagenette)
    assert len(train) == 6
    assert [names[0] for names in train.classes] == ["tench", "parachute"]
    test = download("Imagenette", tmp_path, split="test", transform=lambda image: image.size)
    assert [test[i] for i in range(2)] == [((8, 6), 0), ((8, 6), 1)]


def test_cifar10(tmp_path, monkeypatch):
    write_cifar10(tmp_path / "CIFAR10", monkeypatch)
    train, test = (download("CIFAR10", tmp_path, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (10, 2)
    assert train.classes[3] == "thing 3"
    image, label = test[1]
    assert (image.size, image.mode, label) == ((32, 32), "RGB", 7)
    (tmp_path / "CIFAR10" / "cifar-10-batches-py" / "test_batch").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"does not hold a complete CIFAR10 .* Delete it"):
        download("CIFAR10", tmp_path)


def test_pets(tmp_path):
    write_pets(tmp_path / "OxfordIIITPet")
    train = download("OxfordIIITPet", tmp_path)
    assert len(train) == 4
    assert train.classes == ["Abyssinian", "American Bulldog"]
    assert [train[i][1] for i in range(4)] == [0, 1, 0, 1]
    assert len(download("OxfordIIITPet", tmp_path, split="test")) == 2
    (tmp_path / "OxfordIIITPet" / "oxford-iiit-pet" / "annotations" / "test.txt").unlink()
    with pytest.raises(ValueError, match="does not hold a complete OxfordIIITPet"):
        download("OxfordIIITPet", tmp_path, split="test")


@pytest.mark.parametrize("name", ["Imagenette", "CIFAR10", "OxfordIIITPet"])
def test_without_a_network(tmp_path, monkeypatch, name):
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(ConnectionError, match=f"{name} could not be downloaded") as caught:
        download(name, tmp_path / "new")
    assert "no route to host" in str(caught.value)
    assert "copy" in str(caught.value)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_appears_complete_or_not_at_all(tmp_path, monkeypatch):
    def extract(url: str, root: str, **_: object) -> None:
        assert url.endswith("imagenette2-160.tgz")
        write_imagenette(Path(root))
        if breaks:
            raise OSError("No space left on device")

    monkeypatch.setattr("torchvision.datasets.imagenette.download_and_extract_archive", extract)
    breaks = True
    with pytest.raises(ConnectionError, match="No space left"):
        download("Imagenette", tmp_path)
    assert list(tmp_path.iterdir()) == []
    breaks = False
    assert len(download("Imagenette", tmp_path)) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["Imagenette"]
    breaks = True  # not downloaded again
    assert len(download("Imagenette", tmp_path, split="test")) == 2


def test_download_names_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="name must be Imagenette, CIFAR10 or OxfordIIITPet"):
        download("MNIST", tmp_path)
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        download("CIFAR10", tmp_path, split="val")
