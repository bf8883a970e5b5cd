"""Public data sets, in torchvision's own layout and without the internet."""

import hashlib
import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from image_files import coloured, put
from PIL import Image
from torchvision import datasets

from xai_course.data import download


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
    with pytest.raises(
        ValueError, match="name: got 'MNIST'; must be one of Imagenette, CIFAR10, OxfordIIITPet"
    ):
        download("MNIST", tmp_path)
    with pytest.raises(ValueError, match="split: got 'val'; must be one of train, test"):
        download("CIFAR10", tmp_path, split="val")
