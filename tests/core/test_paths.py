"""Where data are kept: in a checkout, beside copied lessons, or for a user who has a wheel only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.lessons.outputs import ROOT
from xai_course.core import paths
from xai_course.core.paths import copy_course, data_folder


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """An installation without a checkout, whose wheel carries two folders of data."""
    carried = tmp_path / "site" / "_course"
    (carried / "data" / "checkpoints").mkdir(parents=True)
    (carried / "data" / "checkpoints" / "beetle_net.json").write_text("{}")
    (carried / "data" / "grades").mkdir()
    (carried / "notebooks" / ".ipynb_checkpoints").mkdir(parents=True)
    (carried / "notebooks" / "00_start_here.ipynb").write_text("{}")
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path / "site")
    monkeypatch.setattr(paths, "IN_WHEEL", carried)
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "user")
    monkeypatch.delenv("XAI_COURSE_DATA", raising=False)
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path


def test_in_a_checkout_and_by_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("XAI_COURSE_DATA", raising=False)
    assert data_folder() == Path(__file__).resolve().parents[2] / "data"
    monkeypatch.setenv("XAI_COURSE_DATA", str(tmp_path / "new"))
    assert data_folder() == (tmp_path / "new").resolve()
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").write_bytes(b"")
    with pytest.raises(ValueError, match=r"XAI_COURSE_DATA: got the file .*; must be a folder"):
        data_folder()


def test_without_checkout_and_wheel_the_reader_is_told_what_to_set(wheel, monkeypatch):
    monkeypatch.setattr(paths, "IN_WHEEL", wheel / "nowhere")
    with pytest.raises(ValueError, match="set the environment variable XAI_COURSE_DATA"):
        data_folder()


def test_the_data_of_a_wheel_are_copied_once_for_the_user(wheel):
    assert data_folder() == wheel / "user"
    card = wheel / "user" / "checkpoints" / "beetle_net.json"
    assert card.read_text() == "{}"
    card.write_text("mine")
    assert data_folder() == wheel / "user"
    assert card.read_text() == "mine"
    assert sorted(p.name for p in (wheel / "user").iterdir()) == ["checkpoints", "grades"]


def test_a_chosen_folder_gets_the_data_of_the_wheel(wheel, monkeypatch):
    monkeypatch.setenv("XAI_COURSE_DATA", str(wheel / "mine"))
    assert data_folder() == wheel / "mine"
    assert (wheel / "mine" / "checkpoints" / "beetle_net.json").exists()


def test_copied_lessons_have_their_data_beside_them(wheel, monkeypatch):
    folder = copy_course(wheel / "course")
    assert (folder / "notebooks" / "00_start_here.ipynb").exists()
    assert not (folder / "notebooks" / ".ipynb_checkpoints").exists()
    monkeypatch.chdir(folder / "notebooks")
    assert data_folder() == folder / "data"
    with pytest.raises(ValueError, match="has something in it; must be new or empty"):
        copy_course(folder)


def test_the_command_copies_the_lessons_of_this_checkout(tmp_path):
    command = [sys.executable, "-m", "xai_course", "lessons", str(tmp_path / "course")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for status, word in ((0, "00_start_here.ipynb"), (1, "must be new or empty")):
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert result.returncode == status
        assert word in result.stdout + result.stderr
    assert (tmp_path / "course" / "data" / "checkpoints" / "beetle_net.safetensors").exists()
    assert not (tmp_path / "course" / "data" / "beetlebox").exists()
