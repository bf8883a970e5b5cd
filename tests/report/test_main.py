"""The command: it writes the page, or says in a sentence what is wrong."""

import hashlib
import re
import runpy
import shutil
import subprocess
import sys

import pytest
import torch
from interruptions import stop_at_rename
from own_network import NETWORK_FILE, photo_folder

from tools.lessons.outputs import ROOT
from xai_course.report import __main__ as command
from xai_course.report import load_model
from xai_course.report.__main__ import main


@pytest.fixture
def photos(tmp_path):
    return photo_folder(tmp_path)


@pytest.mark.end_to_end
def test_the_page_has_every_image_and_no_address(photos, tmp_path, monkeypatch, capsys):
    pytest.importorskip("papermill")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the process that runs the notebook
    (photos / "a.png").rename(photos / "<b>&.png")  # a name that would be code on a page
    out = tmp_path / "out"
    words = ["--images", str(photos), "--out", str(out)]
    words += ["--methods", "gradient, Grad-CAM, last block"]
    assert main(["--model", f"{NETWORK_FILE}:with_all", *words]) == 0
    assert "report.html" in capsys.readouterr().out
    page = (out / "report.html").read_text("utf-8")
    text = re.sub(r"data:image/(png|jpeg);base64,[\w+/=]+", "", page)
    assert not re.search(r"(https?:)?//[a-z]|<script|<link|@import|url\(", text, re.IGNORECASE)
    assert page.count("data:image/png;base64,") == 2  # agreement, randomisation
    # of each picture a thumbnail, the input, and two methods and two nulls in three views
    assert page.count("data:image/jpeg;base64,") == 3 * (1 + 1 + 4 * 3)
    assert "<h1" in page
    assert "How a network&#39;s answers depend" in page or "How a network's answers depend" in page
    assert "looked at" not in text
    for name in ("&lt;b&gt;&amp;.png", "bright/b.png", "bright/c.jpg"):
        assert f"<summary>{name}: " in page, name
    assert "<b>&" not in page
    assert page.count('alt="') == page.count("<img ")
    assert "broken.png cannot be read as an image" in page
    assert "notes.txt is passed over" in page
    assert "got no residual sum" in page  # why the last block's map does not apply
    own = load_model(f"{NETWORK_FILE}:with_all")
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in photos.rglob("*.png")]
    for made in (own.about["weights"], str(torch.__version__), *digests):
        assert made in page
    assert "Nothing about the methods: with 3 images" in page
    assert "<title>Report: own_network.py:with_all, photos</title>" in page
    assert str(tmp_path) not in page  # no path of this machine
    assert re.search(r"Made on \d{4}-\d\d-\d\d at \d\d:\d\d UTC\.", page)
    assert "those that came with the network" in page
    assert "Not tried, as they were not asked for: SmoothGrad, guided" in page
    others = re.sub(r"Not tried, as they were not asked for: [^.]*\.", "", page)
    for absent in ("SmoothGrad", "Integrated Gradients", "DeepLIFT", "Occlusion"):
        assert absent not in others  # they are not in this report


@pytest.mark.parametrize(
    ("model", "folder", "words"),
    [
        ("torchvision:resnet-18", "photos", "model: got 'resnet-18'"),
        (f"{NETWORK_FILE}:with_all", "empty", "which holds no image"),
        (f"{NETWORK_FILE}:with_all", "nowhere", "must be a folder of images"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(photos, tmp_path, capsys, model, folder, words):
    pytest.importorskip("papermill")
    (tmp_path / "empty").mkdir()
    where = ["--images", str(tmp_path / folder), "--out", str(tmp_path / "out")]
    assert main(["--model", model, *where]) == 1
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_stopped_says_how_to_resume_it(monkeypatch, capsys):
    pytest.importorskip("papermill")

    def stopped(**_asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_report", stopped)
    assert main(["--model", "a", "--images", "b"]) == 130
    assert "same command resumes this run" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_report_hands_its_words_on():
    words = [
        "make",
        "-n",
        "report",
        "MODEL=a:b",
        "IMAGES=my photos",
        "METHODS=LRP",
        "VENV=/nowhere",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '-m xai_course.report --model "a:b" --images "my photos"' in done.stdout
    assert '--methods "LRP"' in done.stdout
    assert "--labels" not in done.stdout
    bare = subprocess.run(["make", "report"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert bare.returncode != 0
    assert "make report MODEL=torchvision:resnet50 IMAGES=photos" in bare.stdout + bare.stderr


def test_without_its_packages_it_says_how_to_install_them(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "papermill" else name)
    monkeypatch.setattr(command, "run_report", lambda **_: pytest.fail("nothing is computed"))
    assert main(["--model", "a", "--images", "b"]) == 1
    message = capsys.readouterr().err
    assert "papermill not installed" in message
    assert "pip install 'beetle-in-a-box[report]'" in message


@pytest.mark.parametrize("stops_at", [1, 2])
def test_page_and_notebook_are_there_whole_or_as_before(tmp_path, monkeypatch, stops_at):
    """The process is stopped at each of the two renames."""
    papermill = pytest.importorskip("papermill")
    import nbformat.v4

    old = {"report.ipynb": b"old notebook", "report.html": b"old page"}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    empty = nbformat.v4.new_notebook()
    monkeypatch.setattr(papermill, "execute_notebook", lambda *words, **options: empty)
    stop_at_rename(monkeypatch, stops_at)
    options = {"model": "a", "images": "b", "out": str(tmp_path)}
    with pytest.raises(KeyboardInterrupt):
        command.write_page(options)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left.keys() == old.keys()
    assert left["report.html"] == b"old page"
    assert (left["report.ipynb"] == b"old notebook") == (stops_at == 1)


def test_it_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["report", "--help"])
    monkeypatch.delitem(sys.modules, "xai_course.report.__main__")
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_module("xai_course.report", run_name="__main__")
    assert "usage: beetle-report" in capsys.readouterr().out


def test_what_it_needs_is_in_the_package():
    for name in ("template.ipynb", "page.html"):
        assert (command.HERE / name).is_file()
    assert command.HERE == ROOT / "xai_course" / "report"
