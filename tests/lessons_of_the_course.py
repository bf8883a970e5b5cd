"""The lessons of the course, read once a process for all tests."""

import pytest

from tools.lessons.build import read_lessons
from tools.lessons.outputs import ROOT

LESSONS = read_lessons(ROOT / "lessons")
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.name for lesson in LESSONS])
