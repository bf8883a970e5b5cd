"""The folder for a USB stick: it installs a course where there is no network."""

import subprocess
import sys
import tomllib
import zipfile

import pytest

from tools.classroom.wheelhouse import BUILD, main, make_wheelhouse, requirements
from tools.lessons.outputs import ROOT
from tools.lessons.source import LessonError


def write_wheel(folder, name, code, needs=()):
    """Write a wheel of one module by hand."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)


# Builds an editable install of any project: one line that leads to its folder.
BACKEND = """
import zipfile
def get_requires_for_build_editable(settings=None): return []
def build_editable(folder, settings=None, metadata=None):
    import os
    name, info = "course-1.0-py3-none-any.whl", "course-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("course.pth", os.getcwd())
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: course\\nVersion: 1.0\\n"
                       "Requires-Dist: outer\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n"
                       "Tag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_wheelhouse_installs_without_an_index(tmp_path, monkeypatch):
    """Two small wheels, one needing the other; a small course in place of ours; no index at all."""
    index = tmp_path / "index"
    index.mkdir()
    write_wheel(index, "inner", "what = 'inner'")
    write_wheel(index, "outer", "from inner import what", ["inner"])
    write_wheel(index, "backend", BACKEND)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr("tools.classroom.wheelhouse.BUILD", ("backend",))

    def small_course(kind, folder):
        folder.mkdir()
        (folder / "requirements.lock").write_text("outer==1.0\ninner==1.0\n")
        (folder / "pyproject.toml").write_text(
            "[build-system]\nrequires = ['backend']\nbuild-backend = 'backend'\n"
            "[project]\nname = 'course'\nversion = '1.0'\n"
        )

    monkeypatch.setattr("tools.classroom.wheelhouse.make_edition", small_course)
    stick = make_wheelhouse(tmp_path / "a stick", ["outer"])
    names = sorted(path.name.split("-")[0] for path in (stick / "wheels").iterdir())
    assert names == ["backend", "inner", "outer"]

    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/")  # whoever asked it would fail
    quick = tmp_path / "python"  # makes an environment without installing pip into it anew
    quick.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\n'
        f'exec "{sys.executable}" -m venv --without-pip --system-site-packages "$3"\n'
    )
    quick.chmod(0o755)
    monkeypatch.setenv("PYTHON", str(quick))
    desk = tmp_path / "a desk"
    done = subprocess.run(
        [str(stick / "install.sh"), str(desk)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = subprocess.run(
        [desk / ".venv/bin/python", "-c", "import outer; print(outer.what)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "inner\n", found.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_another_version_of_python_is_told_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.classroom.wheelhouse.download", lambda *_: None)
    monkeypatch.setattr("tools.classroom.wheelhouse.make_edition", lambda *_: None)
    stick = make_wheelhouse(tmp_path / "stick", [])
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"py -{here} -m venv" in (stick / "install.bat").read_text()
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 3.9\n")
    other.chmod(0o755)
    monkeypatch.setenv("PYTHON", str(other))
    desk = tmp_path / "desk"
    done = subprocess.run(
        [str(stick / "install.sh"), str(desk)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"These wheels are for Python {here}, and {other} is 3.9." in done.stderr
    assert f"PYTHON=python{here} sh install.sh" in done.stderr
    assert not desk.exists()


def test_a_wheelhouse_that_cannot_be_filled_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(LessonError, match="could not download"):
        make_wheelhouse(tmp_path / "stick", ["no-such-package"])
    assert not (tmp_path / "stick" / "course").exists()


def test_what_goes_on_the_stick_is_what_the_course_needs():
    wanted = requirements()
    assert any(line.startswith("torch>=") for line in wanted)
    assert not any(line.startswith(("pytest", "captum")) for line in wanted)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(project["build-system"]["requires"]) <= set(BUILD), "pip builds without a network"


def test_another_package_can_be_added_to_the_stick(tmp_path, monkeypatch):
    asked = list[list[str]]()
    monkeypatch.setattr("tools.classroom.wheelhouse.make_edition", lambda *_: None)
    monkeypatch.setattr(
        "tools.classroom.wheelhouse.download", lambda *given: asked.append([*given[3], *given[0]])
    )
    assert main(["--to", str(tmp_path / "stick"), "--", "keras"]) == 0  # as TEACHING.md says
    assert asked[0][0] == "keras"
    assert any(line.startswith("torch>=") for line in asked[0])
