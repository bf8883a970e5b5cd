"""Folders of images: opened, checked, and parts of them."""

import os
import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import coloured, put
from PIL import Image
from torchvision import datasets

from xai_course.data import check_folder, load_folder, load_folders, subset
from xai_course.report import image_files


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
    (tmp_path / ".ipynb_checkpoints").mkdir()  # Jupyter leaves these; no class
    assert load_folder(tmp_path).classes == ["a", "b"]


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


NAMES = st.text("ab.-_ 1", min_size=1, max_size=3).filter(lambda name: name.strip(". ") == name)


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=8))
def test_the_order_is_that_of_torchvision(tmp_path_factory, places):
    """On which a training in progress depends."""
    root = tmp_path_factory.mktemp("images")
    for number, place in enumerate(places):
        put(root.joinpath("c", *place[:-1], f"{place[-1]}{number}.png"), b"x")
    theirs = datasets.ImageFolder(str(root))
    ours = load_folder(root)
    assert ours.samples == ours.imgs == theirs.samples
    assert (ours.classes, ours.targets) == (theirs.classes, theirs.targets)


PARTS = st.sampled_from(
    ["a", "b.png", "c.JPG", ".d.png", "._e.png", "__MACOSX", "Thumbs.db", "f.txt", "g.gif", "h"]
)


@given(st.lists(st.lists(PARTS, min_size=1, max_size=4), min_size=1, max_size=8))
def test_what_is_checked_is_what_is_read(tmp_path_factory, places):
    """Each file is no image, so that each one that is looked at has its sentence."""
    root = tmp_path_factory.mktemp("images")
    put(root / "class" / "0.png", b"x")
    for number, place in enumerate(places):  # folders never have the name of a file
        folder = root.joinpath("class", *(f"{part}{number}.d" for part in place[:-1]))
        if not any(part.startswith(("__", "Th")) for part in place[:-1]):
            put(folder / place[-1], b"x")
    read = [path for path, _ in load_folder(root).samples]
    cannot = [s for s in check_folder(root) if "cannot be read as an image" in s]
    assert [sentence.split(" cannot be")[0] for sentence in cannot] == sorted(read)
    assert image_files(root)[0] == sorted(map(Path, read))


def test_several_processes_find_the_same(tmp_path):
    for split in ("train", "test"):
        for number in range(7):
            put(tmp_path / split / "a" / f"{number}.png", coloured(number))
    put(tmp_path / "train" / "a" / "broken.png", b"x")
    found = check_folder(tmp_path, workers=1)
    assert len(found) == 8
    assert check_folder(tmp_path, workers=2) == found
    with pytest.raises(ValueError, match=r"^workers: got 0; must be"):
        check_folder(tmp_path, workers=0)


def test_a_subset_keeps_the_classes(tmp_path):
    for name in "abc":
        for number in range(3):
            put(tmp_path / name / f"{number}.png", coloured(number))
    folder = load_folder(tmp_path, transform=lambda image: image.getpixel((0, 0))[0])
    part = subset(folder, [8, 0, 1])
    assert isinstance(part, datasets.ImageFolder)
    assert part.classes == ["a", "b", "c"]
    assert part.class_to_idx == folder.class_to_idx
    assert [part[i] for i in range(len(part))] == [(2, 2), (0, 0), (1, 0)]
    assert part.targets == [2, 0, 0]
    assert len(folder) == 9
    assert len(subset(subset(folder, range(0, 9, 2)), [4])) == 1
    for wrong in ([9], [-1], [1.0], [True]):
        with pytest.raises(ValueError, match=r"^indices: got"):
            subset(folder, wrong)


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are Unicode")
def test_a_class_whose_name_cannot_be_saved_is_refused_before_training(tmp_path):
    name = os.fsdecode("甲虫".encode("gbk"))
    put(tmp_path / name / "1.png")
    put(tmp_path / "a" / "1.png", coloured(3))
    with pytest.raises(ValueError, match=r"a name that is no Unicode text .GBK") as caught:
        load_folder(tmp_path)
    assert str(caught.value).encode("utf-8")
    (problem,) = check_folder(tmp_path)
    assert problem in str(caught.value)
