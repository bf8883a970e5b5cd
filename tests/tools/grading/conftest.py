"""An empty folder for submissions to the tiny course."""

import sys

import pytest
from tiny_course import CHECKS, TINY


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for submissions to the tiny course."""
    (tmp_path / "checks").mkdir()
    for name in ("tiny_checks", "other_checks"):
        (tmp_path / "checks" / f"{name}.py").write_text(CHECKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "checks"))
    monkeypatch.syspath_prepend(tmp_path / "checks")
    monkeypatch.setattr("tools.grading.grade.course_exercises", lambda: TINY)
    (tmp_path / "submissions").mkdir()
    yield tmp_path / "submissions"
    for name in ("tiny_checks", "other_checks"):
        sys.modules.pop(name, None)
