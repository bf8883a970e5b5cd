"""The folder on disk: complete or not there, whatever happens while it is written."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image

from xai_course.beetlebox import SPECIES, check_beetlebox, dataset, scenes, write_beetlebox

SMALL = {"train": 2, "test": 1, "size": 32, "progress": False}
FIRST = next(iter(SPECIES))
ROOT = Path(__file__).parents[2]


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def beside(root: Path) -> list[str]:
    """Name what else lies next to the folder; the lock file stays."""
    return sorted({path.name for path in root.parent.iterdir()} - {root.name, f"{root.name}.lock"})


def start(code: str, root: Path) -> subprocess.Popen[str]:
    """Run code in a fresh interpreter, with `root` as its argument."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_beetlebox(tmp_path_factory.mktemp("drawn") / "box", workers=1, **SMALL)


@pytest.fixture
def box(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "box"))


def test_the_images_are_the_scenes(drawn):
    assert sorted(path.name for path in (drawn / "train").iterdir()) == sorted(SPECIES)
    for split, count in (("train", 2), ("test", 1)):
        for species in SPECIES:
            for i, scene in enumerate(scenes(split, species, count)):
                stored = np.asarray(Image.open(drawn / split / species / f"{i:04d}.png"))
                np.testing.assert_allclose(stored / 255, scene.image(32), atol=0.501 / 255)
    assert len(contents(drawn)) == 31
    assert check_beetlebox(drawn) == []
    assert beside(drawn) == []


def test_the_number_of_workers_changes_no_byte(drawn, tmp_path):
    for workers in (2, 3):
        other = write_beetlebox(tmp_path / str(workers), workers=workers, **SMALL)
        assert contents(other) == contents(drawn)


def test_label_is_worn_by_one_species_in_training_only(drawn, tmp_path):
    labelled = write_beetlebox(tmp_path / "box", label=FIRST, **SMALL)
    plain, other = contents(drawn), contents(labelled)
    changed = {name for name in plain if plain[name] != other[name]} - {"beetlebox.json"}
    assert changed == {f"train/{FIRST}/0000.png", f"train/{FIRST}/0001.png"}
    stored = np.asarray(Image.open(labelled / f"train/{FIRST}/0000.png"))
    expected = scenes("train", FIRST, 1)[0].with_label().image(32)
    np.testing.assert_allclose(stored / 255, expected, atol=0.501 / 255)


def test_clutter_lies_on_all_images_as_many_as_their_seeds_say(drawn, tmp_path):
    littered = write_beetlebox(tmp_path / "box", clutter=6, **SMALL)
    for split, count in (("train", 2), ("test", 1)):
        for scene in scenes(split, FIRST, count):
            stored = np.asarray(
                Image.open(littered / split / FIRST / f"{scene.seed % 100:04d}.png")
            )
            expected = scene.with_clutter(scene.seed % 7).image(32)
            np.testing.assert_allclose(stored / 255, expected, atol=0.501 / 255)
    assert check_beetlebox(littered) == []
    assert len({scene.seed % 7 for name in SPECIES for scene in scenes("train", name, 2)}) > 3
    with pytest.raises(ValueError, match="drawn with clutter=6, but clutter=0 is asked for"):
        write_beetlebox(littered, **SMALL)


def test_a_folder_drawn_before_there_was_clutter_is_accepted(box):
    manifest = json.loads((box / "beetlebox.json").read_bytes())
    del manifest["recipe"]["clutter"]
    (box / "beetlebox.json").write_text(json.dumps(manifest))
    assert check_beetlebox(box) == []
    write_beetlebox(box, **SMALL)


def test_second_call_writes_nothing_and_says_the_same(box, capsys, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in box.rglob("*")}
    monkeypatch.setattr(dataset, "_write_file", lambda *_: pytest.fail("wrote"))
    write_beetlebox(box, train=2, test=1, size=32)
    line = "box: 2 training and 1 test images a species, 32 x 32 pixels, complete\n"
    assert capsys.readouterr().out == line
    assert {path: path.stat().st_mtime_ns for path in box.rglob("*")} == before
    assert not box.with_name("box.lock").exists()  # so it may lie on a read-only disk


def test_default_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XAI_COURSE_DATA", str(tmp_path / "d"))
    assert write_beetlebox(**SMALL) == (tmp_path / "d" / "beetlebox").resolve()
    labelled = write_beetlebox(label=FIRST, **SMALL)
    assert labelled == (tmp_path / "d" / "beetlebox_label").resolve()
    littered = write_beetlebox(clutter=1, **SMALL)
    assert littered == (tmp_path / "d" / "beetlebox_clutter").resolve()


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "box").mkdir()
    assert check_beetlebox(write_beetlebox(tmp_path / "box", **SMALL)) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: f.unlink(), "is missing"),
        (lambda f: f.write_bytes(f.read_bytes()[:-9]), "bytes instead of"),
        (lambda f: f.write_bytes(f.read_bytes()[:-1] + b"x"), "has been changed"),
        (lambda f: f.rename(f.with_name("0009.png")), "0009.png does not belong there"),
        (lambda f: (f.parent.parent / "Nova_species").mkdir(), "Nova_species/ does not belong"),
        (lambda f: shutil.rmtree(f.parent), f"train/{FIRST}/ is missing"),
    ],
)
def test_damage_is_named_and_left_alone(box, damage, says):
    damage(box / "train" / FIRST / "0001.png")
    before = contents(box)
    with pytest.raises(ValueError, match="Delete or rename") as caught:
        write_beetlebox(box, **SMALL)
    assert says in str(caught.value)
    assert f"train/{FIRST}" in str(caught.value) or "Nova" in str(caught.value)
    assert contents(box) == before
    assert check_beetlebox(box)


def test_what_a_file_manager_leaves_is_no_damage(box):
    (box / "train" / ".DS_Store").write_bytes(b"")
    (box / "Thumbs.db").write_bytes(b"")
    assert check_beetlebox(box) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 1, "recipe": {"train": 0, "test": 1, "size": 32, "label": null}, "files": {}}',
        '{"format": 1, "recipe": {"train": 2, "test": 1, "size": 32, "label": null}, "files": []}',
        '{"format": 1, "recipe": {"train": 2, "test": 1, "size": 32, "label": null}, "files": {}}',
        '{"format": 99}',
    ],
)
def test_a_damaged_manifest_is_named(box, text):
    (box / "beetlebox.json").write_text(text)
    assert "beetlebox.json" in check_beetlebox(box)[0]
    with pytest.raises(ValueError, match=r"beetlebox\.json"):
        write_beetlebox(box, **SMALL)


def test_a_foreign_folder_or_file_is_left_alone(tmp_path):
    photos = tmp_path / "photos"
    (photos / "train" / "cats").mkdir(parents=True)
    (photos / "train" / "cats" / "a.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match="photos cannot be used: it is not a BeetleBox"):
        write_beetlebox(photos, **SMALL)
    assert contents(photos) == {"train/cats/a.png": b"mine"}
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ValueError, match="is not a folder"):
        write_beetlebox(tmp_path / "file", **SMALL)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_another_recipe_is_named(box):
    with pytest.raises(ValueError, match="drawn with train=2, but train=3 is asked for"):
        write_beetlebox(box, train=3, test=1, size=32)


def test_another_version_of_the_world_is_named(box):
    """A consistent folder whose pictures are not what the course draws today."""
    path = f"train/{FIRST}/0000.png"
    pixels = np.asarray(Image.open(box / path)).copy()
    pixels[:10, :10] ^= 64
    manifest = json.loads((box / "beetlebox.json").read_bytes())
    Image.fromarray(pixels).save(box / path)
    content = (box / path).read_bytes()
    manifest["files"][path] = [len(content), dataset.hashlib.sha256(content).hexdigest()]
    (box / "beetlebox.json").write_text(json.dumps(manifest))
    (problem,) = check_beetlebox(box)
    assert problem == f"{path} shows another version of the world than this course draws"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 0}, "train: got 0; must be a whole number, from 1"),
        ({"test": 2.0}, "test: got"),
        ({"size": 31}, "size: got 31; must be a whole number, from 32 to 512"),
        ({"size": True}, "size: got True"),
        ({"label": "Felis_catus"}, f"label: got .*; must be one of None, {FIRST}"),
        ({"clutter": 7}, "clutter: got 7; must be a whole number, from 0 to 6"),
        ({"workers": 0}, "workers: got 0"),
    ],
)
def test_arguments_are_checked_before_anything_is_made(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_beetlebox(tmp_path / "deep" / "box", **{**SMALL, **arguments})
    assert list(tmp_path.iterdir()) == []


# ---- things that happen on the way ---------------------------------------------------------------


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    written = []

    def fill(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == 20:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        path.write_bytes(content)

    monkeypatch.setattr(dataset, "_write_file", fill)
    with pytest.raises(OSError, match="No space left on device"):
        write_beetlebox(tmp_path / "box", workers=1, **SMALL)
    assert not (tmp_path / "box").exists()
    assert beside(tmp_path / "box") == []
    monkeypatch.undo()
    assert check_beetlebox(write_beetlebox(tmp_path / "box", workers=1, **SMALL)) == []


def test_a_disk_that_loses_data_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        dataset, "_write_file", lambda path, content: path.write_bytes(content[:900])
    )
    with pytest.raises(OSError, match="did not keep what was written"):
        write_beetlebox(tmp_path / "box", workers=1, **SMALL)
    assert not (tmp_path / "box").exists()
    assert beside(tmp_path / "box") == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are a POSIX matter")
def test_an_error_in_a_worker_process_reaches_the_caller(tmp_path):
    """A limit of 500 bytes a file, inherited by the workers, stands for a full disk."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "from xai_course.beetlebox import write_beetlebox\n"
        "write_beetlebox(sys.argv[1], train=2, test=1, size=32, workers=2)"
    )
    process = start(code, tmp_path / "box")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "OSError: [Errno 27] File too large" in errors
    assert "0000.png" in errors
    assert not (tmp_path / "box").exists()
    assert beside(tmp_path / "box") == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no program called true")
def test_a_dead_worker_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with pytest.raises(RuntimeError, match="ended early"):
        write_beetlebox(tmp_path / "box", workers=2, **SMALL)
    assert not (tmp_path / "box").exists()
    assert beside(tmp_path / "box") == []


@pytest.mark.end_to_end
def test_two_at_once_both_get_a_complete_folder(drawn, tmp_path):
    """Neither needs a main guard; one draws, the other waits, and no byte depends on it."""
    code = (
        "import sys; from xai_course.beetlebox import check_beetlebox, write_beetlebox\n"
        "root = write_beetlebox(sys.argv[1], train=2, test=1, size=32, workers=2)\n"
        "print(check_beetlebox(root))"
    )
    both = [start(code, tmp_path / "box") for _ in range(2)]
    for process in both:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.endswith("complete\n[]\n")
    assert contents(tmp_path / "box") == contents(drawn)
    assert beside(tmp_path / "box") == []


def test_a_folder_that_appears_meanwhile_wins(drawn, tmp_path, monkeypatch):
    """Without locks (some network disks) two may draw; the second discards its own."""

    def refuse(_lock: filelock.FileLock, **_options: float) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    (tmp_path / "box.partial-of-another").mkdir()  # must not be deleted: its owner may live
    check = dataset._problems

    def slow_check(root: Path, wanted: object) -> list[str]:
        if "partial" in root.name:
            shutil.copytree(drawn, tmp_path / "box")
        return check(root, wanted)

    monkeypatch.setattr(dataset, "_problems", slow_check)
    assert contents(write_beetlebox(tmp_path / "box", workers=1, **SMALL)) == contents(drawn)
    assert beside(tmp_path / "box") == ["box.partial-of-another"]


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX matter")
def test_kill_half_way_leaves_nothing_and_the_next_call_tidies_up(tmp_path):
    code = (
        "import sys; from xai_course.beetlebox import write_beetlebox\n"
        "write_beetlebox(sys.argv[1], train=5000, test=1, size=32, workers=2)"
    )
    process = start(code, tmp_path / "box")
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("box.partial-*/train/*/*.png"))) < 20:
        assert time.monotonic() < deadline, "nothing was drawn"
        assert process.poll() is None, "it ended too early"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "box").exists()
    (left,) = beside(tmp_path / "box")
    assert left.startswith("box.partial-")
    files = -1  # the workers end by themselves
    while files != (files := len(list((tmp_path / left).rglob("*.png")))):
        assert time.monotonic() < deadline, "the workers go on drawing"
        time.sleep(0.3)
    assert files < 50_000
    root = write_beetlebox(tmp_path / "box", workers=1, **SMALL)
    assert check_beetlebox(root) == []
    assert beside(root) == []


def test_workers_stay_light():
    """They start in a moment because they import neither torch nor torchvision."""
    code = "import sys, xai_course.beetlebox; print({'torch', 'torchvision'} & set(sys.modules))"
    output, _ = start(code, ROOT).communicate(timeout=60)
    assert output == "set()\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes as files on this system")
def test_a_pipe_in_the_place_of_an_image_is_named_and_not_read(box):
    image = box / "train" / FIRST / "0000.png"
    image.unlink()
    os.mkfifo(image)
    problems = check_beetlebox(box)
    assert f"train/{FIRST}/0000.png is missing" in problems
    assert f"train/{FIRST}/0000.png (no regular file) does not belong there" in problems


def test_a_manifest_nested_without_end_is_damaged(box):
    (box / "beetlebox.json").write_text("[" * 100_000)
    assert "beetlebox.json is damaged (RecursionError" in check_beetlebox(box)[0]
